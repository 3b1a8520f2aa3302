from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from whenwhere.features.backbone import Backbone, BackboneOptions, WeightsError, _identity

RESNET = "weights/resnet50_caffe_imagenet_fp16.safetensors"
SMALL = BackboneOptions(name="test_resnet", weights="random", size=64)


@pytest.fixture(scope="module")
def resnet(shared: Path) -> Backbone:
    return Backbone(BackboneOptions(weights=str(shared / RESNET))).eval()


@pytest.mark.parametrize("picture, index, probability", [("coffee", 967, 0.97), ("chelsea", 285, 0.49)])
def test_local_weights_recognise_real_pictures(
    shared: Path, resnet: Backbone, picture: str, index: int, probability: float
) -> None:
    """Mean, deviation and stride placement come from the file; with any of them wrong the answer changes."""
    data = pytest.importorskip("skimage.data")
    pixels = torch.from_numpy(getattr(data, picture)()).permute(2, 0, 1).unsqueeze(0)
    state = load_file(str(shared / RESNET))
    preprocessing = replace(resnet.preprocessing, resize="crop")
    with torch.inference_mode():
        pooled = resnet(preprocessing(pixels)).mean(dim=(2, 3))
        answer = nn.functional.linear(pooled, state["fc.weight"].float(), state["fc.bias"].float()).softmax(1)[0]
    assert int(answer.argmax()) == index
    assert float(answer[index]) == pytest.approx(probability, abs=0.05)


def test_default_gives_the_last_map_of_resnet50(resnet: Backbone) -> None:
    assert resnet.channels == 2048
    with torch.inference_mode():
        assert resnet(torch.zeros(1, 3, 224, 224)).shape == (1, 2048, 7, 7)
    assert not any(parameter.requires_grad for parameter in resnet.parameters())


def test_frozen_backbone_keeps_its_batch_statistics_in_training_mode() -> None:
    backbone = Backbone(SMALL)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.train()(torch.rand(4, 3, 64, 64))
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    trainable = Backbone(replace(SMALL, trainable=True)).train()
    assert trainable.model.training
    assert all(parameter.requires_grad for parameter in trainable.parameters())


def test_fresh_frozen_backbone_sees_each_frame_alone() -> None:
    """As it is when features are extracted: nobody has called train() or eval()."""
    frames = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    backbone = Backbone(SMALL)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    together = backbone(frames)
    alone = torch.cat([backbone(frame) for frame in frames.split(1)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    torch.testing.assert_close(together, backbone.eval()(frames))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_round_trip_through_a_file(tmp_path: Path, suffix: str) -> None:
    source = Backbone(SMALL)
    path = tmp_path / f"weights{suffix}"
    state = {name: value.contiguous() + 0.01 for name, value in source.model.state_dict().items()}
    source.model.load_state_dict(state)
    changed = _identity(source.model, source.preprocessing)
    assert changed != source.identity
    if suffix == ".pt":
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    else:
        save_file(state, str(path))
    assert Backbone(replace(SMALL, weights=str(path))).identity == changed


def test_preprocessing_belongs_to_the_weights(tmp_path: Path) -> None:
    source = Backbone(SMALL)
    path = tmp_path / "weights.safetensors"
    metadata = {"mean": json.dumps([0.1, 0.2, 0.3]), "std": json.dumps([1, 2, 3]), "input_size": "96"}
    save_file({name: value.contiguous() for name, value in source.model.state_dict().items()}, str(path), metadata)
    loaded = Backbone(BackboneOptions(name="test_resnet", weights=str(path)))
    assert (loaded.preprocessing.mean, loaded.preprocessing.std) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert loaded.preprocessing.size == 96
    assert loaded.identity != source.identity


def test_errors_name_the_file_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        Backbone(BackboneOptions(weights=str(tmp_path / "nowhere.safetensors")))
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"cannot read weights from .*broken"):
        Backbone(BackboneOptions(weights=str(tmp_path / "broken.safetensors")))
    save_file({"conv1.weight": torch.zeros(1)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(WeightsError, match=r"does not fit resnet50.*conv1\.weight"):
        Backbone(BackboneOptions(weights=str(tmp_path / "other.safetensors")))
    with pytest.raises(WeightsError, match="timm cannot build 'no_such_net'"):
        Backbone(BackboneOptions(name="no_such_net", weights="random"))


def test_without_network_the_error_says_which_file_to_supply(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"--backbone\.weights test_resnet\.safetensors"):
        Backbone(BackboneOptions(name="test_resnet"))


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    """A state dict is read with weights_only: a pickle that would call something is refused."""

    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "called",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match=r"evil\.pt"):
        Backbone(BackboneOptions(weights=str(tmp_path / "evil.pt")))
    assert not (tmp_path / "called").exists()


def test_average_makes_a_map_coarser_by_means() -> None:
    frames = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    fine = Backbone(replace(SMALL, feature=1))
    coarse = Backbone(replace(SMALL, feature=1, average=2))
    wanted = fine(frames).unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).mean((-3, -1))
    torch.testing.assert_close(coarse(frames), wanted)
    assert coarse.identity != fine.identity
    assert coarse.channels == fine.channels
    with pytest.raises(ValueError, match=r"backbone.average must divide the map's 16 x 16 cells, got 3"):
        Backbone(replace(SMALL, feature=1, average=3))(frames)
    with pytest.raises(ValueError, match=r"backbone.average must be at least 1, got 0"):
        Backbone(replace(SMALL, average=0))
