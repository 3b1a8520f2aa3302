"""From options to data sets: broken clips are counted, and features come from the store the second time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import quiet

from whenwhere.datasets.manifest import ManifestError, read_clips, write_clips
from whenwhere.datasets.mosaic import MosaicDataset, MosaicOptions
from whenwhere.datasets.synthetic import SyntheticOptions
from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.features.extract import StoredFeatures
from whenwhere.models import SpatioTemporalAttentionOptions
from whenwhere.training.checkpoint import load_model
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.training.loop import train
from whenwhere.video import VideoError, write_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips of each of two classes, and two broken ones."""
    root: Path = tmp_path_factory.mktemp("videos")
    for split, count in (("train", 8), ("test", 4)):
        for label, shade in (("bright", 200), ("dark", 30)):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                frames = (np.full((32, 48, 3), shade + number, np.uint8) for _ in range(6))
                write_video(root / split / label / f"{number}.mp4", frames, 6.0, preset="ultrafast")
    (root / "train/dark/cut.mp4").write_bytes(b"cut")
    (root / "test/dark/empty.mp4").touch()
    return root


def config_for(folder: Path, **data: object) -> TrainConfig:
    backbone = BackboneOptions(name="test_resnet", weights="random", size=32)
    options = DataOptions(path=str(folder), frames=3, val_share=0.0, **data)  # type: ignore[arg-type]
    return TrainConfig(data=options, backbone=backbone)


@pytest.mark.parametrize("trainable", [False, True])
def test_broken_clips_are_skipped_and_counted(folder: Path, trainable: bool) -> None:
    config = config_for(folder)
    config = replace(config, backbone=replace(config.backbone, trainable=trainable))
    data = build_data(config, quiet)
    assert (len(data.train), len(data.test)) == (16, 8)
    assert sorted(Path(path).name for path, _ in data.broken) == ["cut.mp4", "empty.mp4"]
    with pytest.raises(VideoError, match=r"1 of 17 train clips cannot be read, more than .*max_broken = 0.05"):
        build_data(replace(config, data=replace(config.data, max_broken=0.05)), quiet)


def test_a_rate_of_its_own_has_features_of_its_own(folder: Path, tmp_path: Path) -> None:
    config = config_for(folder, cache=str(tmp_path / "store"))
    build_data(config, quiet)
    paced = build_data(replace(config, data=replace(config.data, fps=3.0)), quiet)
    assert paced.train.consecutive
    assert len([path for path in (tmp_path / "store").iterdir() if path.is_dir()]) == 2


def test_clips_with_several_labels_are_left_out_and_said_so(folder: Path, tmp_path: Path) -> None:
    clips = [clip for clip in read_clips(folder) if Path(clip.path).stem.isdigit()]
    both = replace(clips[0], label=None, labels=("bright", "dark"))
    write_clips([both, *clips[1:]], tmp_path / "clips.csv")
    said: list[str] = []
    data = build_data(config_for(tmp_path / "clips.csv"), said.append)
    assert len(data.train) + len(data.test) == len(clips) - 1
    assert said[0].startswith("1 clips with several labels are left out, the first ")
    assert Path(said[0].rpartition(" ")[2]).samefile(both.path)


def test_the_class_in_which_nothing_happens_has_no_map(folder: Path, tmp_path: Path) -> None:
    config = config_for(folder, background="dark")
    model = SpatioTemporalAttentionOptions(hidden=4, class_maps=True)
    config = replace(config, model=model, fit=FitOptions(epochs=1, batch_size=8))
    data = build_data(config, quiet)
    train(config, data, tmp_path, quiet=True)
    network, record = load_model(tmp_path)
    assert record.classes == ("bright", "dark")
    maps = network({"features": data.test[0]["features"][None]}).maps
    assert maps.shape[2] == 1
    with pytest.raises(ManifestError, match=r"data.background .* one of \['bright', 'dark'\]"):
        build_data(config_for(folder, background="gray"), quiet)


@pytest.mark.parametrize("components", [None, 4])
def test_features_are_made_once_and_are_the_same_from_the_store(
    folder: Path, tmp_path: Path, components: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_for(folder, cache=str(tmp_path / "store"), components=components)
    first = build_data(config, quiet)
    assert isinstance(first.train.features, StoredFeatures) == (components is None)
    monkeypatch.setattr(Backbone, "forward", lambda *_: pytest.fail("computed again"))
    second = build_data(config, quiet)
    assert all(torch.equal(a["features"], b["features"]) for a, b in zip(first.test, second.test, strict=True))
    monkeypatch.undo()
    if components is None:
        memory = build_data(replace(config, data=replace(config.data, cache=None)), quiet)
        assert all(torch.equal(a["features"], b["features"]) for a, b in zip(first.test, memory.test, strict=True))


@pytest.mark.parametrize("trainable", [False, True])
def test_more_frames_at_evaluation_than_in_training(folder: Path, trainable: bool) -> None:
    config = config_for(folder, eval_frames=5)
    config = replace(config, backbone=replace(config.backbone, trainable=trainable))
    data, kind = build_data(config, quiet), "frames" if trainable else "features"
    assert len(data.train[0][kind]) == 3
    sample = data.test[0]
    assert len(sample[kind]) == 5
    if not trainable:
        assert data.train.features.shape[1] == 5
        assert sample["times"].shape == (5,)


def test_fewer_frames_at_evaluation_than_in_training(folder: Path) -> None:
    data = build_data(config_for(folder, eval_frames=2), quiet)
    assert (len(data.train[0]["features"]), len(data.test[0]["features"])) == (3, 2)


@pytest.mark.parametrize("kind", ["videos", "decoded", "mosaic", "synthetic", "bank"])
def test_only_what_is_asked_for_is_built_and_it_is_the_same(folder: Path, tiny_bank: Path, kind: str) -> None:
    mosaic = MosaicOptions(frames=6, action_frames=(2, 3), clips=4, eval_clips=4)
    config = config_for(folder, background="dark", mosaic=mosaic, stored_frames=4, components=4)
    data = config.data
    if kind == "decoded":
        config = replace(config, backbone=replace(config.backbone, trainable=True))
        data = replace(data, stored_frames=None, components=None)
    elif kind == "bank":
        data = replace(data, source="feature_bank", path=str(tiny_bank), components=None)
    elif kind == "synthetic":
        data = replace(data, source="synthetic", synthetic=SyntheticOptions(clips=8), stored_frames=None)
    elif kind == "mosaic":
        data = replace(data, source="mosaic")
    config = replace(config, data=data)
    whole = build_data(config, quiet)
    said: list[str] = []
    part = build_data(config, said.append, whole.projection, ("test",))  # type: ignore[arg-type]
    assert part.train is part.val is None
    assert (part.classes, part.channels) == (whole.classes, whole.channels)
    assert not any("train" in line or "fitting" in line for line in said)
    assert len(part.test) == len(whole.test)
    for number in range(len(part.test)):
        one, other = part.test[number], whole.test[number]
        one.pop("broken", None), other.pop("broken", None)
        for name in one.keys() | other.keys():
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=0, equal_nan=True, msg=name)


def test_mosaics_from_a_store(folder: Path, tmp_path: Path) -> None:
    mosaic = MosaicOptions(frames=6, action_frames=(2, 3), clips=4, eval_clips=4, train_grid=(1, 1), absent=0.5)
    config = config_for(folder, cache=str(tmp_path), background="dark", mosaic=mosaic, stored_frames=4)
    data = build_data(replace(config, data=replace(config.data, source="mosaic")), quiet)
    assert isinstance(data.train, MosaicDataset)
    train, test = data.train[0]["features"], data.test[0]["features"]
    assert (test.shape[0], test.shape[2:]) == (6, (2 * train.shape[2], 2 * train.shape[3]))


def test_only_training_mosaics_are_mirrored(tiny_bank: Path) -> None:
    options = DataOptions(
        source="feature_bank", path=str(tiny_bank), mosaic=MosaicOptions(mirror=True, clips=4, eval_clips=4)
    )
    data = build_data(TrainConfig(data=options), quiet)
    assert data.train.options.mirror  # type: ignore[attr-defined]
    assert not data.test.options.mirror  # type: ignore[union-attr]


def test_features_of_rendered_clips_are_projected_when_asked_for() -> None:
    data = DataOptions(source="synthetic", synthetic=SyntheticOptions(clips=24), components=3)
    config = TrainConfig(data=data, backbone=BackboneOptions(name="test_resnet", weights="random", size=32))
    first = build_data(config, quiet)
    assert first.channels == first.train.features.shape[2] == first.test.features.shape[2] == 3
    variance = first.train.features.float().movedim(2, -1).flatten(0, -2).var(0)
    assert variance.min() > 0.8
    assert variance.max() < 1.25
    # A model that is loaded again brings its own.
    assert first.projection is not None
    first.projection.matrix *= 2
    again = build_data(config, quiet, first.projection)
    torch.testing.assert_close(again.test.features, first.test.features * 2, rtol=1e-2, atol=1e-2)
