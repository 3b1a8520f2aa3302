"""From videos over flow and dynamic images to a training step."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from damaged import overwrite_packets
from moving import write_moving
from tiny_runs import quiet

from whenwhere.cli import main
from whenwhere.datasets.flow import compute_flows
from whenwhere.datasets.loader import Views
from whenwhere.datasets.manifest import ManifestError, read_clips, write_clips
from whenwhere.datasets.mosaic import MosaicOptions
from whenwhere.evaluate import evaluate
from whenwhere.evaluation.class_scores import read_class_scores, scores_file
from whenwhere.evaluation.predictions import read_boxes
from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.features.extract import StoredFeatures, extract
from whenwhere.recognizer import Recognizer, load
from whenwhere.structures import Clip
from whenwhere.training.checkpoint import CheckpointError, build_head, load_model
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.training.loop import train
from whenwhere.video import FlowOptions, InputReader, Preprocessing, Uniform, read_flow

pytest.importorskip("cv2", reason="OpenCV is not installed")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight videos to train on and four to test; a class for each direction, and a broken file."""
    folder = tmp_path_factory.mktemp("moving")
    clips = []
    for number in range(12):
        label, motion = (("left", (-1, 1)), ("right", (2, -1)))[number % 2]
        path = write_moving(folder / f"{number}.mp4", count=8 + number // 2, motion=motion)
        clips.append(Clip(str(path), label, "train" if number < 8 else "test"))
    (folder / "broken.mp4").write_bytes(b"no video")
    clips.append(Clip(str(folder / "broken.mp4"), "left", "train"))
    return compute_flows(clips, folder / "flow", FlowOptions(method="dis")).manifest


def config_for(manifest: Path, modality: str, trainable: bool = False, **data: object) -> TrainConfig:
    return TrainConfig(
        method="frame_average",
        data=DataOptions(path=str(manifest), modality=modality, frames=3, val_share=0.0, **data),  # type: ignore[arg-type]
        backbone=BackboneOptions(name="test_resnet", weights="random", size=32, trainable=trainable),
        fit=FitOptions(epochs=1, batch_size=4),
    )


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("modality", ["flow", "dynamic"])
def test_a_run_trains_and_is_loaded_again(manifest: Path, tmp_path: Path, modality: str, trainable: bool) -> None:
    config = config_for(manifest, modality, trainable)
    data = build_data(config, quiet)
    assert (len(data.train), len(data.test)) == (8, 4)
    assert [Path(path).name for path, _ in data.broken] == ["broken.mp4"]
    channels = 10 if modality == "flow" else 3
    if trainable:
        assert data.train[0]["frames"].shape == (3, channels, 32, 32)
    train(config, data, tmp_path, quiet=True)
    network, record = load_model(tmp_path)
    assert record.config.backbone.in_channels == channels
    kind = "frames" if trainable else "features"
    seen = data.test[0][kind][None]
    logits = network({kind: seen}).logits
    assert logits.shape == (1, 2)
    assert logits.isfinite().all()
    frames = build_data(config_for(manifest, "rgb", trainable), quiet).test[0][kind][None]
    if trainable and modality == "flow":
        assert (seen.shape[2], frames.shape[2]) == (10, 3)
    else:
        assert not torch.allclose(logits, network({kind: frames}).logits, atol=1e-4), "what is looked at matters"
    if modality == "flow":
        with pytest.raises(CheckpointError, match="trained on optical flow, which a video alone does not have"):
            load(tmp_path)
    else:
        assert Recognizer(network, record).explain(str(read_clips(manifest)[0].path)).label in ("left", "right")


def test_features_of_flow_are_those_of_its_stacks_and_are_not_mirrored(manifest: Path) -> None:
    data = build_data(config_for(manifest, "flow"), quiet)
    assert not data.train.mirror
    assert build_data(config_for(manifest, "dynamic"), quiet).train.mirror
    clip = data.clips["test"][0]
    stacks = read_flow(str(clip.flow), Uniform(3)).pixels
    with torch.inference_mode():
        expected = data.backbone(data.backbone.preprocessing(stacks))
    torch.testing.assert_close(data.test[0]["features"], expected, atol=2e-3, rtol=2e-3)


def test_what_is_read_is_part_of_the_key_of_a_store(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for modality in ("rgb", "flow", "dynamic"):
        build_data(config_for(manifest, modality, cache=str(tmp_path)), quiet)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 3
    monkeypatch.setattr(Backbone, "forward", lambda *_: pytest.fail("computed again"))
    for modality in ("rgb", "flow", "dynamic"):
        data = build_data(config_for(manifest, modality, cache=str(tmp_path)), quiet)
        assert isinstance(data.train.features, StoredFeatures)


def test_flow_made_otherwise_has_other_features(manifest: Path, tmp_path: Path) -> None:
    """The key of a clip is the hash of its flow's file, not of its video."""
    clips = read_clips(manifest)[:2]
    other = read_clips(compute_flows(clips, tmp_path / "flow", FlowOptions(method="dis", stride=2)).manifest)
    backbone = Backbone(BackboneOptions(name="test_resnet", weights="random", size=32, in_channels=10)).eval()
    first, second = (
        extract(some, backbone, None, 3, tmp_path / "store", reader=InputReader("flow")).load()
        for some in (clips, other)
    )
    assert not torch.equal(first, second)


def test_mosaics_of_flow(manifest: Path) -> None:
    config = config_for(manifest, "flow", background="left", stored_frames=4)
    mosaic = MosaicOptions(frames=6, action_frames=(2, 3), clips=4, eval_clips=4)
    data = build_data(replace(config, data=replace(config.data, source="mosaic", mosaic=mosaic)), quiet)
    assert data.backbone.preprocessing.channels == 10
    assert data.test[0]["features"].shape[0] == 6


def test_several_views_of_flow(manifest: Path) -> None:
    config = config_for(manifest, "flow", trainable=True)
    dataset = build_data(replace(config, backbone=replace(config.backbone, resize="crop")), quiet).test
    dataset.views = Views(2, 10)
    assert dataset[0]["frames"].shape == (20, 3, 10, 32, 32)
    dataset.preprocessing = Preprocessing(size=32, resize="crop", mean=(0.5,) * 10, std=(1.0,) * 10, flow=True)
    centre, mirrored = dataset[0]["frames"][0], dataset[0]["frames"][5]
    torch.testing.assert_close(mirrored[:, 0::2].flip(-1), -centre[:, 0::2])
    torch.testing.assert_close(mirrored[:, 1::2].flip(-1), centre[:, 1::2])


def test_an_evaluation_goes_on_past_damaged_flow(manifest: Path, tmp_path: Path) -> None:
    clips = [clip for clip in read_clips(manifest) if clip.flow]
    tested = [clip for clip in clips if clip.split == "test"]
    damaged = Path(shutil.copy(str(tested[1].flow), tmp_path))
    overwrite_packets(damaged, range(2, 30), header=8)
    clips[clips.index(tested[1])] = replace(tested[1], flow=str(damaged))
    config = config_for(write_clips(clips, tmp_path / "clips.csv"), "flow", trainable=True)
    data, said, out = build_data(config, quiet), [], tmp_path / "run"
    train(config, data, out, quiet=True)
    network, record = load_model(out)
    metrics = evaluate(out, network, record, data, "test", log=said.append).metrics
    assert metrics["broken"] == 1
    assert any(damaged.name in line for line in said)
    names = [Path(clip.path).stem for clip in tested if clip is not tested[1]]
    assert list(read_class_scores(scores_file(out, "test")).clips) == names
    assert list(read_boxes(out / "boxes_test.json")) == names


def test_a_manifest_without_flow_says_which_command_makes_it(manifest: Path, tmp_path: Path) -> None:
    clips = [replace(clip, flow=None) for clip in read_clips(manifest)]
    plain = write_clips(clips, tmp_path / "plain.csv")
    with pytest.raises(ManifestError, match=r"plain\.csv names no optical flow.*whenwhere flow --data .*clips\.csv"):
        build_data(config_for(plain, "flow"), quiet)


def test_the_features_command_takes_a_modality(manifest: Path, tmp_path: Path) -> None:
    arguments = ["features", "--data", str(manifest), "--out", str(tmp_path), "--frames", "3", "--modality", "flow"]
    arguments += ["--backbone.name", "test_resnet", "--backbone.weights", "random", "--backbone.size", "32"]
    assert main(arguments) == 0
    config = config_for(manifest, "flow", cache=str(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backbone, "forward", lambda *_: pytest.fail("computed again"))
        build_data(config, quiet)


@pytest.mark.parametrize("trainable", [False, True])
def test_a_real_clip_through_flow_and_features_to_a_training_step(
    shared: Path, tmp_path: Path, trainable: bool
) -> None:
    folder = shared / "data/surveillance_fight"
    clips = [
        Clip(str(sorted((folder / label).iterdir())[number]), label, split)
        for label in ("fight", "noFight")
        for number, split in enumerate(("train", "test"))
    ]
    result = compute_flows(clips, tmp_path / "flow", FlowOptions(method="dis", size="120"))
    assert (result.computed, result.broken) == (4, ())
    config = config_for(result.manifest, "flow", trainable)
    data = build_data(config, quiet)
    assert data.train[0]["frames" if trainable else "features"].std() > 0
    torch.manual_seed(config.fit.seed)  # as training does, so that the weights it starts from are known
    start = build_head(config, data.channels, 2).state_dict()
    network = train(config, data, tmp_path, quiet=True)
    assert not [name for name, value in network.head.state_dict().items() if torch.equal(value, start[name])]
    weights = [next(iter(some.state_dict().values())) for some in (Backbone(config.backbone), network.backbone)]
    assert torch.equal(*weights) != trainable
