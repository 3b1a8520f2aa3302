from __future__ import annotations

import numpy as np
import pytest
import torch

from whenwhere.localization import LocalizationOptions, find_boxes
from whenwhere.structures import Segment

AREA, SIZE = (20.0, 0.0, 100.0, 80.0), (120, 80)
PARTS = LocalizationOptions(rule="parts", upsample=1)


def test_boxes_are_in_pixels_of_the_original_frame_for_important_frames_only() -> None:
    masks = torch.zeros(3, 4, 4)
    masks[:, 0, 3] = 1.0
    importance, times = torch.tensor([0.0, 1.0, 0.0]), np.array([0.0, 1.0, 2.0])
    boxes = find_boxes(masks, importance, times, AREA, SIZE, "x", LocalizationOptions(upsample=1))
    assert [(box.time, *box.xyxy, box.tube) for box in boxes] == [(1.0, 80.0, 0.0, 100.0, 20.0, None)]


def two_blobs() -> torch.Tensor:
    masks = torch.zeros(8, 4, 4)
    masks[:, 0:2, 0:2] = 1.0
    masks[:, 3, 3] = 1.0
    return masks


def test_tubes_have_a_when_and_a_where() -> None:
    """One cell is 20 x 20 pixels; two things are seen all the time, and matter in frames 1-2 and 5-7."""
    importance = np.array([0, 1, 1, 0, 0, 1, 1, 1]) / 5
    boxes = find_boxes(two_blobs(), importance, np.arange(8) / 2, AREA, SIZE, "x", PARTS)
    tubes: dict[int | None, list[float]] = {}
    for box in boxes:
        tubes.setdefault(box.tube, []).append(box.time)
    assert sorted(tubes.values()) == [[0.5, 1.0], [0.5, 1.0], [2.5, 3.0, 3.5], [2.5, 3.0, 3.5]]
    assert {box.xyxy for box in boxes} == {(20, 0, 60, 40), (80, 60, 100, 80)}
    assert all(len({box.xyxy for box in boxes if box.tube == tube}) == 1 for tube in tubes)
    assert [box.time for box in boxes] == sorted(box.time for box in boxes)
    assert sorted({box.score for box in boxes}) == pytest.approx([1 / 5, 4 / 5])


def test_given_segments_say_when_and_what() -> None:
    segments = [Segment(0, 1.2, "run", 0.4), Segment(2.3, 4, "jump", 0.9)]
    arguments = (two_blobs(), np.full(8, 1 / 8), np.arange(8) / 2, AREA, SIZE, "unused")
    tubes = find_boxes(*arguments, PARTS, segments, {"run": 0.5})
    run, jump = ([box for box in tubes if box.label == name] for name in ("run", "jump"))
    assert sorted({box.time for box in run}) == [0.0, 0.5, 1.0]
    assert sorted({box.time for box in jump}) == [2.5, 3.0, 3.5]
    assert {box.tube for box in run}.isdisjoint({box.tube for box in jump})
    assert max(box.score for box in run) == pytest.approx(0.5 * 4 / 5)
    assert max(box.score for box in jump) == pytest.approx(4 / 5)
    single = find_boxes(*arguments, LocalizationOptions(), segments)
    assert [(box.time, box.label) for box in single] == [
        (0.0, "run"), (0.5, "run"), (1.0, "run"), (2.5, "jump"), (3.0, "jump"), (3.5, "jump")
    ]  # fmt: skip


def test_of_overlapping_segments_the_best_has_the_moment() -> None:
    segments = [Segment(0, 4, "a", 0.3), Segment(1, 2, "a", 0.9)]
    arguments = (two_blobs(), np.full(8, 1 / 8), np.arange(8) / 2, AREA, SIZE, "a")
    assert {box.time for box in find_boxes(*arguments, PARTS, segments)} == {1.0, 1.5, 2.0}
    other = [segments[0], Segment(1, 2, "b", 0.9)]
    single = find_boxes(*arguments, LocalizationOptions(), other)
    assert [box.label for box in single] == ["a", "a", "b", "b", "b", "a", "a", "a"]


def test_what_lies_outside_the_frame_is_cut_off() -> None:
    masks = torch.zeros(2, 4, 4)
    masks[0, 0, 0:2] = 1.0
    masks[1, 0, 0] = 1.0
    area = (-20.0, -20.0, 60.0, 60.0)  # the first row and column are outside
    for options in (LocalizationOptions(upsample=1), PARTS):
        assert find_boxes(masks, np.ones(2), np.arange(2), area, (60, 60), "x", options) == ()
    masks[:, 1, 0:2] = 1.0
    boxes = find_boxes(masks, np.ones(2), np.arange(2), area, (60, 60), "x", LocalizationOptions(upsample=1))
    assert [box.xyxy for box in boxes] == [(0, 0, 20, 20)] * 2


@pytest.mark.parametrize("rule", ["peak", "parts", "paper", "scripts"])
def test_dark_masks_and_wrong_ones(rule: str) -> None:
    options = LocalizationOptions(rule=rule)  # type: ignore[arg-type]
    boxes = find_boxes(torch.zeros(2, 4, 4), np.ones(2), np.arange(2), AREA, SIZE, "x", options)
    if rule == "peak":
        assert [(box.xyxy, box.score) for box in boxes] == [((20, 0, 100, 80), 0)] * 2
    else:
        assert boxes == ()
    (single,) = find_boxes(torch.ones(1, 4, 4), np.ones(1), np.zeros(1), AREA, SIZE, "x", LocalizationOptions())
    assert single.xyxy == (20, 0, 100, 80)
    with pytest.raises(ValueError, match="got 2 masks, 3 importances, 2 times"):
        find_boxes(torch.zeros(2, 4, 4), np.ones(3), np.arange(2), AREA, SIZE, "x", options)
    with pytest.raises(ValueError, match="got 0 masks"):
        find_boxes(torch.zeros(0, 4, 4), np.ones(0), np.arange(0), AREA, SIZE, "x", options)
    with pytest.raises(ValueError, match="not finite"):
        find_boxes(torch.full((2, 4, 4), np.nan), np.ones(2), np.arange(2), AREA, SIZE, "x", options)
