"""Samples are the same for a seed whoever loads them, and views look where they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from whenwhere.datasets.loader import FeatureDataset, VideoDataset, Views
from whenwhere.structures import Clip
from whenwhere.video import Preprocessing, write_video


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
    with pytest.raises(ValueError, match="need resize: crop"):
        Preprocessing(size=8).crops(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 3)
