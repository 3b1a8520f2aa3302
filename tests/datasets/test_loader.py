"""Samples are the same for a seed whoever loads them, and views look where they should."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged import write_damaged
from torch.utils.data import DataLoader

from whenwhere.datasets.loader import FeatureDataset, VideoDataset, Views, epoch_order, readable, share_of_order
from whenwhere.structures import Box, Clip, Segment
from whenwhere.video import Preprocessing, VideoError, write_video


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Frame t of clip i has brightness 8 t + 2 i."""
    folder: Path = tmp_path_factory.mktemp("clips")
    for number in range(6):
        frames = (np.full((48, 64, 3), 8 * t + 2 * number, np.uint8) for t in range(24))
        write_video(folder / f"{number}.mp4", frames, 12.0, crf=0)
    return [Clip(str(folder / f"{number}.mp4"), "ab"[number % 2]) for number in range(6)]


def loaded(clips: list[Clip], workers: int, epoch: int = 0) -> torch.Tensor:
    dataset = VideoDataset(clips, ("a", "b"), 4, Preprocessing(size=32), seed=3)
    dataset.epoch = epoch
    return torch.cat([batch["frames"] for batch in DataLoader(dataset, 2, num_workers=workers)])


def test_same_draws_for_any_number_of_workers(clips: list[Clip]) -> None:
    alone = loaded(clips, 0)
    assert torch.equal(loaded(clips, 1), alone)
    assert torch.equal(loaded(clips, 3), alone)
    assert not torch.equal(loaded(clips, 0, epoch=1), alone)


def brightness(frames: torch.Tensor) -> torch.Tensor:
    preprocessing = Preprocessing(size=32)
    return (frames[..., 0, 16, 16] * preprocessing.std[0] + preprocessing.mean[0]) * 255


def test_views_are_moments_of_the_stretches(clips: list[Clip]) -> None:
    dataset = VideoDataset(clips, ("a", "b"), 4, Preprocessing(size=32))
    plain = dataset[1]["frames"]
    assert plain.shape == (4, 3, 32, 32)
    assert (brightness(plain) / 8).round().tolist() == [3, 9, 15, 21]
    dataset.views = Views(clips=3)
    assert dataset[1]["frames"].shape == (3, 4, 3, 32, 32)
    expected = [[1, 7, 13, 19], [3, 9, 15, 21], [5, 11, 17, 23]]
    assert (brightness(dataset[1]["frames"]) / 8).round().tolist() == expected
    assert torch.equal(dataset[1]["frames"][dataset.views.middle], plain)


def test_views_of_stored_features() -> None:
    features = torch.arange(12.0).view(1, 12, 1, 1, 1).half()
    dataset = FeatureDataset(features, torch.tensor([0]), 3, truth={"active": torch.arange(12)[None] > 5})
    assert dataset[0]["features"].flatten().tolist() == [2, 6, 10]
    dataset.views = Views(clips=2)
    assert dataset[0]["features"].flatten(1).tolist() == [[1, 5, 9], [3, 7, 11]]
    assert dataset[0]["active"].tolist() == [False, True, True]


def test_crops_of_a_wide_frame() -> None:
    """Columns of the picture carry their number: a 64 x 32 frame resized to 64 x 32, crops of 32."""
    picture = torch.arange(64).mul(4).to(torch.uint8).expand(1, 3, 32, 64)
    preprocessing = Preprocessing(size=32, resize="crop", resize_short=32, mean=(0, 0, 0), std=(1 / 255,) * 3)
    left = [int(crop[0, 0, 5, 0]) // 4 for crop in preprocessing.crops(picture, 3)]
    assert left == [16, 0, 32]
    ten = preprocessing.crops(picture, 10)
    assert ten.shape == (10, 1, 3, 32, 32)
    assert [int(crop[0, 0, 5, 0]) // 4 for crop in ten[:5]] == [16, 0, 32, 0, 32]
    assert torch.equal(ten[5:], ten[:5].flip(-1))
    assert torch.equal(ten[0], preprocessing(picture))
    assert preprocessing.crops(picture, 1).shape == (1, 1, 3, 32, 32)


def test_bad_views_are_errors() -> None:
    with pytest.raises(ValueError, match="crops 1, 3 or 10, got 1 and 2"):
        Views(crops=2)
    with pytest.raises(ValueError, match="average probabilities or logits, not 'scores'"):
        Views(average="scores")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="need resize: crop"):
        Preprocessing(size=8).crops(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 3)


@pytest.fixture
def some_damaged(clips: list[Clip], tmp_path: Path) -> list[Clip]:
    return [clips[0], Clip(str(write_damaged(tmp_path / "damaged.avi")), "b"), clips[2], clips[3]]


def test_in_training_the_next_clip_takes_the_place_of_one_that_does_not_decode(some_damaged: list[Clip]) -> None:
    dataset = VideoDataset(some_damaged, ("a", "b"), 6, Preprocessing(size=32), seed=3)
    sample = dataset[1]
    assert "damaged.avi" in sample["broken"]
    assert sample["label"] == 0  # of clip 2
    assert torch.equal(sample["frames"], dataset[1]["frames"])
    assert dataset[2]["broken"] == ""
    for workers in (0, 2):
        for batch in DataLoader(dataset, 4, num_workers=workers):
            whole, causes = readable(batch)
            assert (len(whole["frames"]), len(causes)) == (4, 1)


@pytest.mark.parametrize("views", [Views(), Views(clips=3)])
def test_in_an_evaluation_it_is_no_part_of_the_batch(some_damaged: list[Clip], views: Views) -> None:
    dataset = VideoDataset(some_damaged, ("a", "b"), 6, Preprocessing(size=32))
    dataset.views = views
    (batch,) = DataLoader(dataset, 4)
    whole, causes = readable(batch)
    assert whole["label"].tolist() == [0, 0, 1]
    assert len(whole["frames"]) == 3
    assert len(causes) == 1
    assert "broken" not in whole


def test_when_nothing_decodes_training_ends_in_a_sentence(tmp_path: Path) -> None:
    clips = [Clip(str(write_damaged(tmp_path / f"{number}.avi")), "a") for number in range(2)]
    with pytest.raises(VideoError, match=r"none of the 2 clips can be decoded; the first: .*1\.avi"):
        VideoDataset(clips, ("a",), 6, Preprocessing(size=32), seed=0)[1]


def test_frames_at_a_rate(clips: list[Clip]) -> None:
    """12 frames a second, brightness 8 t: at 6 fps every second frame, about the middle or from a drawn start."""
    dataset = VideoDataset(clips, ("a", "b"), 4, Preprocessing(size=32), fps=6)
    assert (brightness(dataset[0]["frames"]) / 8).round().tolist() == [8, 10, 12, 14]
    drawn = VideoDataset(clips, ("a", "b"), 4, Preprocessing(size=32), seed=0, fps=6)[0]["frames"]
    assert (brightness(drawn) / 8).round().diff().tolist() == [2, 2, 2]


def test_stored_frames_in_a_row() -> None:
    features = torch.arange(12.0).view(1, 12, 1, 1, 1).half()
    dataset = FeatureDataset(features, torch.tensor([0]), 4, consecutive=True)
    assert dataset[0]["features"].flatten().tolist() == [4, 5, 6, 7]
    dataset.views = Views(clips=3)
    assert dataset[0]["features"].flatten(1)[:, 0].tolist() == [1, 4, 7]
    training = FeatureDataset(features, torch.tensor([0]), 4, seed=0, consecutive=True)
    starts = set()
    for training.epoch in range(100):
        row = training[0]["features"].flatten()
        assert row.diff().tolist() == [1, 1, 1]
        starts.add(int(row[0]))
    assert starts == set(range(9))


def test_an_evaluation_of_decoded_clips_has_the_truth_of_the_frames_it_sees(
    clips: list[Clip], some_damaged: list[Clip]
) -> None:
    """12 frames a second; the frames seen are 3, 9, 15 and 21."""
    boxes = tuple(Box(time, 16, 12, 48, 36, "a", tube=0) for time in (0.75, 1.25))
    known = replace(clips[0], segments=(Segment(0.5, 1.5, "a"),), boxes=boxes)
    dataset = VideoDataset([known, some_damaged[1], clips[2]], ("a", "b"), 4, Preprocessing(size=32))
    for dataset.views in (Views(), Views(clips=3)):
        whole, causes = readable(next(iter(DataLoader(dataset, 3))))
        assert len(causes) == 1
        assert whole["times"].tolist() == [[0.25, 0.75, 1.25, 1.75]] * 2
        assert whole["active"].tolist() == [[False, True, True, False], [False] * 4]
        assert whole["boxes"][0, 1:3].tolist() == [[0.25, 0.25, 0.75, 0.75]] * 2
        assert whole["boxes"].isnan().any(-1).tolist() == [[True, False, False, True], [True] * 4]
        assert whole["extent"][0].tolist() == [[64, 48]] * 4
    training = VideoDataset([known], ("a", "b"), 4, Preprocessing(size=32), seed=0)
    assert training[0].keys() == {"frames", "label", "broken"}
    assert VideoDataset(clips, ("a", "b"), 4, Preprocessing(size=32))[0].keys() == {
        "frames",
        "label",
        "broken",
        "times",
    }


@pytest.mark.parametrize(("clips", "processes"), [(10, 1), (10, 2), (11, 2), (11, 4), (1, 3)])
def test_processes_share_an_epoch_evenly_and_in_its_order(clips: int, processes: int) -> None:
    order = epoch_order(clips, 3, 1)
    shares = [share_of_order(order, processes, rank) for rank in range(processes)]
    each = math.ceil(clips / processes)
    assert [len(share) for share in shares] == [each] * processes
    assert set(chain(*shares)) == set(order)
    for done in range(clips // processes + 1):
        assert sorted(chain(*(share[:done] for share in shares))) == sorted(order[: done * processes])
