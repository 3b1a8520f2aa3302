from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from whenwhere.datasets.scenes import SyntheticOptions
from whenwhere.datasets.synthetic import render_clip
from whenwhere.features.backbone import Backbone, BackboneOptions, WeightsError

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


def test_partial_batch_norm_learns_the_first_and_keeps_all_others() -> None:
    torch.manual_seed(0)
    backbone = Backbone(replace(SMALL, trainable=True, partial_bn=True)).train()
    norms = [name for name, module in backbone.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) > 2
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        backbone(torch.rand(4, 3, 64, 64)).square().mean().backward()
        optimizer.step()
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    first = {f"{norms[0]}.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
    assert first <= changed
    assert not {name for name in changed - first if name.startswith(tuple(f"{norm}." for norm in norms[1:]))}
    assert changed - first == {name for name, p in backbone.named_parameters() if p.requires_grad} - first
    assert not any(module.training for module in backbone.eval().modules())


def test_partial_batch_norm_without_batch_norm_is_an_error() -> None:
    with pytest.raises(WeightsError, match="partial_bn is for networks with batch norm; test_convnext has none"):
        Backbone(BackboneOptions(name="test_convnext", weights="random", size=64, trainable=True, partial_bn=True))


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


@pytest.mark.parametrize("name, feature", [("resnet18d", 2), ("resnet18", -1), ("resnet26", 3), ("test_resnet", -1)])
def test_dilated_map_is_the_coarse_maps_of_moved_frames_interlaced(name: str, feature: int) -> None:
    """Basic and bottleneck blocks, shortcuts with and without pooling; cells away from what a move brings in."""
    options = BackboneOptions(name=name, feature=feature, weights="random", size=96)
    coarse, fine = Backbone(options), Backbone(replace(options, dilated=True))
    frames = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    cells = coarse(frames).shape[-1]
    map_, quarter = fine(frames), 96 // cells // 4
    assert map_.shape == (2, coarse.channels, 2 * cells, 2 * cells)
    right_down = torch.from_numpy(np.pad(frames, ((0, 0), (0, 0), (quarter, 0), (quarter, 0)), mode="edge"))
    torch.testing.assert_close(map_[..., ::2, ::2], coarse(right_down[..., :96, :96]), rtol=1e-3, atol=1e-4)
    assert fine.identity != coarse.identity


def test_fine_cells_average_to_the_coarse_cell_they_lie_in() -> None:
    """Nearly, and only if they lie there: a map half a fine cell off fits less well."""
    coarse, fine = (Backbone(BackboneOptions(weights="glyphs", dilated=dilated)) for dilated in (False, True))
    pixels = torch.from_numpy(render_clip(SyntheticOptions(tier="A", clips=1), 0).pixels)
    frames = coarse.preprocessing(pixels)

    def likeness(cells: Tensor) -> float:
        pairs = torch.stack([torch.nn.functional.avg_pool2d(cells, 2).flatten(), coarse(frames).flatten()])
        return float(torch.corrcoef(pairs)[0, 1])

    assert likeness(fine(frames)) > likeness(fine.model(frames)[-1]) + 0.02


def test_dilation_of_a_stage_without_stride_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"backbone.dilated.*'layer1', has none.*backbone.feature"):
        Backbone(BackboneOptions(name="resnet18", feature=1, weights="random", dilated=True))
    with pytest.raises(WeightsError, match=r"backbone.dilated.*mobilenetv3_small_050"):
        Backbone(BackboneOptions(name="mobilenetv3_small_050", weights="random", dilated=True))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_round_trip_through_a_file(tmp_path: Path, suffix: str) -> None:
    source = Backbone(SMALL)
    path = tmp_path / f"weights{suffix}"
    state = {name: value.contiguous() + 0.01 for name, value in source.model.state_dict().items()}
    before = source.identity
    source.model.load_state_dict(state)
    assert source.identity != before, "of the weights as they are now"
    if suffix == ".pt":
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    else:
        save_file(state, str(path))
    assert Backbone(replace(SMALL, weights=str(path))).identity == source.identity


def test_preprocessing_belongs_to_the_weights(tmp_path: Path) -> None:
    source = Backbone(SMALL)
    path = tmp_path / "weights.safetensors"
    metadata = {"mean": json.dumps([0.1, 0.2, 0.3]), "std": json.dumps([1, 2, 3]), "input_size": "96"}
    save_file({name: value.contiguous() for name, value in source.model.state_dict().items()}, str(path), metadata)
    loaded = Backbone(BackboneOptions(name="test_resnet", weights=str(path)))
    assert (loaded.preprocessing.mean, loaded.preprocessing.std) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert loaded.preprocessing.size == 96
    assert loaded.identity != source.identity


def test_a_file_that_says_nothing_is_resized_for_as_timm_says(tmp_path: Path) -> None:
    """timm: bicubic, 95 % of the short side. A file with a mean of its own, and random weights, keep the usual way."""
    options = BackboneOptions(name="test_convnext", weights="random", size=64, resize="crop")
    random = Backbone(options)
    assert (random.preprocessing.interpolation, random.preprocessing.resize_short) == ("bilinear", None)
    path = tmp_path / "silent.safetensors"
    save_file({name: value.contiguous() for name, value in random.model.state_dict().items()}, str(path))
    silent = Backbone(replace(options, weights=str(path)))
    assert (silent.preprocessing.interpolation, silent.preprocessing.resize_short) == ("bicubic", 67)
    assert Backbone(replace(options, weights=str(path), resize="squash")).preprocessing.resize_short is None
    again = Backbone(replace(options, weights=str(silent.save(tmp_path / "saved.safetensors"))))
    assert again.preprocessing == silent.preprocessing
    own = random.save(tmp_path / "own.safetensors")
    assert Backbone(replace(options, weights=str(own))).preprocessing == random.preprocessing


def test_the_map_is_part_of_the_identity() -> None:
    """Of networks too that keep all their stages wherever the map is taken; however it is counted."""
    maps = {n: Backbone(BackboneOptions("mobilenetv3_small_050", "random", n, size=32)) for n in (-2, -1, 4)}
    assert maps[-2].state_dict().keys() == maps[-1].state_dict().keys()
    assert maps[-2].channels != maps[-1].channels
    assert maps[-2].identity != maps[-1].identity
    assert maps[4].identity == maps[-1].identity
    before = maps[4].identity
    maps[4].metadata["architecture"] = "mobilenetv3_small_051"  # as of one with the same tensors that pads otherwise
    assert maps[4].identity != before


@pytest.mark.parametrize(
    "options, identity",
    [
        (BackboneOptions(weights="glyphs"), "045f533708bc806a"),
        (BackboneOptions(weights="glyphs", dilated=True), "fbdf5d695eeba77b"),
        (BackboneOptions(weights="glyphs", feature=0, average=2), "81d818445429f2db-2"),
    ],
)
def test_what_was_stored_of_plain_resnets_stays_valid(options: BackboneOptions, identity: str) -> None:
    assert Backbone(options).identity == identity


def test_a_name_that_is_not_that_of_the_weights_is_an_error(tmp_path: Path) -> None:
    path = Backbone(SMALL).save(tmp_path / "small.safetensors")
    with pytest.raises(WeightsError, match=r"small\.safetensors holds weights of 'test_resnet'.*name is 'resnet18'"):
        Backbone(BackboneOptions(name="resnet18", weights=str(path)))
    for name in (BackboneOptions.name, "test_resnet", "test_resnet.r160_in1k"):
        assert Backbone(BackboneOptions(name=name, weights=str(path))).channels == Backbone(SMALL).channels


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


FLOW = replace(SMALL, in_channels=10)


def first_convolution(backbone: Backbone) -> nn.Conv2d:
    return next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))


def test_flow_starts_from_the_averaged_kernels_of_rgb() -> None:
    """TSN's cross-modality initialisation: the mean over the three input channels, ten times."""
    rgb, flow = Backbone(SMALL).eval(), Backbone(FLOW).eval()
    kernels, widened = first_convolution(rgb).weight, first_convolution(flow).weight
    assert widened.shape == (kernels.shape[0], 10, *kernels.shape[2:])
    for channel in range(10):
        torch.testing.assert_close(widened[:, channel], (kernels[:, 0] + kernels[:, 1] + kernels[:, 2]) / 3)
    others = [name for name, value in rgb.model.state_dict().items() if value.shape != kernels.shape]
    assert all(torch.equal(rgb.model.state_dict()[name], flow.model.state_dict()[name]) for name in others)
    grey = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(rgb(grey.expand(-1, 3, -1, -1)), flow(0.3 * grey.expand(-1, 10, -1, -1)))


def test_flow_is_normalised_as_in_tsn() -> None:
    backbone = Backbone(FLOW)
    assert backbone.preprocessing.mean == (0.5,) * 10
    assert backbone.preprocessing.std == pytest.approx((sum(Backbone(SMALL).preprocessing.std) / 3,) * 10)
    assert backbone.preprocessing.flow
    assert backbone.identity != Backbone(SMALL).identity


def test_weights_trained_on_flow_round_trip_through_a_file(tmp_path: Path) -> None:
    source = Backbone(FLOW)
    with torch.no_grad():
        first_convolution(source).weight += torch.rand_like(first_convolution(source).weight)
    path = source.save(tmp_path / "flow.safetensors")
    loaded = Backbone(replace(FLOW, weights=str(path)))
    assert torch.equal(first_convolution(loaded).weight, first_convolution(source).weight)
    assert loaded.preprocessing == source.preprocessing
    rgb = Backbone(SMALL).save(tmp_path / "rgb.safetensors")
    started = first_convolution(Backbone(replace(FLOW, weights=str(rgb)))).weight
    torch.testing.assert_close(started[:, 7], first_convolution(Backbone(SMALL)).weight.mean(1))
    with pytest.raises(WeightsError, match=r"flow\.safetensors does not fit test_resnet"):
        Backbone(replace(SMALL, weights=str(path)))


@pytest.mark.parametrize("name, grid", [("inception_v3", 5), ("resnet50", 7)])
def test_the_networks_of_the_flow_baselines_take_ten_channels(name: str, grid: int) -> None:
    """inception_v3 stands in for BN-Inception, which timm does not have."""
    backbone = Backbone(BackboneOptions(name=name, weights="random", size=224, in_channels=10)).eval()
    with torch.inference_mode():
        assert backbone(torch.zeros(1, 10, 224, 224)).shape == (1, backbone.channels, grid, grid)


def test_odd_numbers_of_channels_are_errors() -> None:
    with pytest.raises(ValueError, match="in_channels must be 3, or even"):
        BackboneOptions(in_channels=5)


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
