"""Truth of a manifest lands on the right frames and in the right place of the model's grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from whenwhere.datasets.truth import clip_truth, split_truth
from whenwhere.structures import Box, Clip, Segment
from whenwhere.video import Preprocessing, write_video

TIMES = [0.25, 0.75, 1.25, 1.75, 2.25, 2.75]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """3 s of 160 x 80 pixels; the action lasts from 1 s to 2 s, and again from 2.5 s on."""
    path: Path = tmp_path_factory.mktemp("truth") / "clip.mp4"
    write_video(path, (np.zeros((80, 160, 3), np.uint8) for _ in range(30)), 10.0, preset="ultrafast")
    segments = (Segment(1.0, 2.0, "jump"), Segment(2.5, 3.0, "jump"), Segment(0.0, 1.0, "Ambiguous"))
    return Clip(str(path), "jump", segments=segments)


def box(time: float, x: float, label: str = "jump", tube: int | None = 0) -> Box:
    return Box(time, x, 20, x + 40, 60, label, tube=tube)


def test_frames_within_the_segments_of_its_own_class_are_active(clip: Clip) -> None:
    truth = clip_truth(clip, TIMES, Preprocessing())
    assert truth["active"].tolist() == [False, False, True, True, False, True]
    assert truth["boxes"].isnan().all()
    assert truth["extent"].isnan().all()


def test_boxes_are_those_nearest_in_time_in_parts_of_the_grid(clip: Clip) -> None:
    moving = replace(clip, boxes=tuple(box(0.5 * step, 20 * step) for step in range(6)))
    boxes = clip_truth(moving, [0.0, 1.05, 1.95, 2.6], Preprocessing())["boxes"]
    assert boxes[0].isnan().all()  # outside the segments
    torch.testing.assert_close(boxes[1], torch.tensor([40 / 160, 0.25, 80 / 160, 0.75]))
    torch.testing.assert_close(boxes[2], torch.tensor([80 / 160, 0.25, 120 / 160, 0.75]))
    torch.testing.assert_close(boxes[3], torch.tensor([100 / 160, 0.25, 140 / 160, 0.75]))


def test_a_cropped_grid_sees_its_part_of_the_picture(clip: Clip) -> None:
    """The centre crop covers x from 40 to 120."""
    centred = Preprocessing(size=80, resize="crop", resize_short=80)
    truth = clip_truth(replace(clip, boxes=(box(1.0, 60), box(1.5, 20))), [1.0, 1.5], centred)
    boxes = truth["boxes"]
    torch.testing.assert_close(boxes[0], torch.tensor([0.25, 0.25, 0.75, 0.75]))
    torch.testing.assert_close(boxes[1], torch.tensor([0.0, 0.25, 0.25, 0.75]))  # cut at the grid's border
    assert truth["extent"].tolist() == [[80, 80], [80, 80]]


def test_without_segments_frames_with_a_box_are_active(clip: Clip) -> None:
    boxed = replace(clip, segments=(), boxes=(box(1.0, 0),))
    truth = clip_truth(boxed, [0.2, 0.8, 1.4, 1.6], Preprocessing())
    assert truth["active"].tolist() == [False, True, True, False]
    assert truth["boxes"].isnan().any(1).tolist() == [True, False, False, True]
    assert truth["extent"].tolist() == [[160, 80]] * 4


def test_the_first_tube_of_its_own_class_counts(clip: Clip) -> None:
    several = (box(1.5, 0, label="other"), box(1.5, 40, tube=3), box(1.5, 80, tube=4))
    boxes = clip_truth(replace(clip, boxes=several), [1.5], Preprocessing())["boxes"]
    assert float(boxes[0, 0]) == 0.25


def test_a_split_without_any_truth_has_none(clip: Clip) -> None:
    plain = replace(clip, segments=())
    assert list(split_truth([plain, plain], [TIMES, TIMES], Preprocessing())) == ["times"]
    some = split_truth([plain, clip], [TIMES, TIMES], Preprocessing())
    assert list(some) == ["times", "active"]
    assert some["times"][1].tolist() == TIMES
    assert some["active"].any(1).tolist() == [False, True]
    boxed = split_truth([plain, replace(clip, boxes=(box(1.0, 0),))], [TIMES, TIMES], Preprocessing())
    assert list(boxed) == ["times", "active", "boxes", "extent"]
