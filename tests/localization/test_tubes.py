from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from whenwhere.localization import LocalizationOptions, Parts, Tube, find_tubes, link_parts, mask_parts

LINKED = LocalizationOptions(rule="parts", upsample=1)
VOLUME = replace(LINKED, tubes="volume")


def crossing(frames: int = 6) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Two blobs in rows of their own, one going right, one left, so that their order in a frame swaps midway."""
    masks = torch.zeros(frames, 8, 8)
    right = np.array([(t, 1, t + 2, 3) for t in range(frames)])
    left = np.array([(frames - t, 5, frames - t + 2, 8) for t in range(frames)])
    for mask, a, b in zip(masks, right, left, strict=True):
        for x0, y0, x1, y1 in (a, b):
            mask[y0:y1, x0:x1] = 1.0
    return masks, right, left


def parts_of(*rows: tuple[int, float, float, float, float]) -> Parts:
    table = np.array(sorted(rows), dtype=float)
    return Parts(table[:, 0].astype(int), table[:, 1:], np.ones(len(rows)))


def as_rows(tubes: list[Tube] | tuple[Tube, ...]) -> set[tuple[tuple[float, ...], ...]]:
    return {tuple(map(tuple, np.column_stack([t.frames, t.boxes, t.scores]).round(9).tolist())) for t in tubes}


@pytest.mark.parametrize("options", [LINKED, VOLUME, replace(LINKED, upsample=4)])
def test_two_blobs_are_two_tubes_that_keep_their_identity(options: LocalizationOptions) -> None:
    masks, right, left = crossing()
    tubes = find_tubes(masks, np.ones(6), options)
    assert len(tubes) == 2
    # The left-going blob is larger, so the better tube.
    np.testing.assert_allclose(tubes[0].boxes, left)
    np.testing.assert_allclose(tubes[1].boxes, right)
    assert all(tube.frames.tolist() == list(range(6)) for tube in tubes)
    assert tubes[0].score > tubes[1].score


def test_a_rectangle_in_some_frames_is_one_tube_of_those_frames() -> None:
    masks = torch.zeros(10, 8, 8)
    masks[3:7, 2:5, 1:6] = 1.0
    importance = np.zeros(10)
    importance[4:9] = 0.2
    (tube,) = find_tubes(masks, importance, LINKED)
    assert tube.frames.tolist() == [3, 4, 5, 6]
    assert tube.boxes.tolist() == [[1, 2, 6, 5]] * 4
    assert tube.score == pytest.approx(1)
    (cut,) = find_tubes(masks, importance, VOLUME)  # what is seen when it matters
    assert cut.frames.tolist() == [4, 5, 6]
    assert cut.boxes.tolist() == [[1, 2, 6, 5]] * 3
    assert tube.within(4, 5).frames.tolist() == [4, 5]
    assert len(tube.within(8, 9).frames) == 0


@pytest.mark.parametrize("options", [LINKED, replace(VOLUME, mask_threshold=0.2)])
@pytest.mark.parametrize("seed", range(5))
def test_reversed_time_gives_reversed_tubes(options: LocalizationOptions, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(12, 6, 6, generator=generator) ** 2
    importance = torch.rand(12, generator=generator).numpy()
    forward = find_tubes(masks, importance, options)
    backward = find_tubes(masks.flip(0), importance[::-1], options)
    turned = [Tube(11 - t.frames[::-1], t.boxes[::-1], t.scores[::-1]) for t in backward]
    assert as_rows(turned) == as_rows(forward)
    assert len(forward) > 1


@pytest.mark.parametrize("options", [LINKED, VOLUME])
def test_mirrored_masks_give_mirrored_tubes(options: LocalizationOptions) -> None:
    masks = torch.rand(12, 6, 6, generator=torch.Generator().manual_seed(0)) ** 2
    importance = np.linspace(0.5, 1, 12)
    mirrored = find_tubes(masks.flip(-1), importance, options)
    turned = [t._replace(boxes=np.array([6, 0, 6, 0]) + t.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1]) for t in mirrored]
    assert as_rows(turned) == as_rows(find_tubes(masks, importance, options))


def test_gaps_are_bridged_along_a_straight_line_up_to_the_limit() -> None:
    moving = [(t, 0.5 * t, 0.0, 0.5 * t + 4, 4.0) for t in (0, 1, 4, 5)]
    (tube,) = link_parts(parts_of(*moving), LINKED)
    assert tube.frames.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(tube.boxes, [(0.5 * t, 0, 0.5 * t + 4, 4) for t in range(6)])
    np.testing.assert_allclose(tube.scores, 1)
    apart = link_parts(parts_of(*moving), replace(LINKED, tube_gap=1))
    assert [tube.frames.tolist() for tube in apart] == [[0, 1], [4, 5]]


def test_across_a_gap_the_nearer_in_time_is_linked_first() -> None:
    here = [(0, 0.0, 0.0, 4.0, 4.0), (2, 1.0, 0.0, 5.0, 4.0), (3, 0.0, 0.0, 4.0, 4.0)]
    (tube,) = link_parts(parts_of(*here), LINKED)
    np.testing.assert_allclose(tube.boxes[:, 0], [0, 0.5, 1, 0])


def test_the_assignment_is_the_best_of_all_not_the_first_that_comes() -> None:
    """The first part likes both followers and the better one more, but the second part has only that one."""
    parts = parts_of((0, 0, 0, 4, 4), (0, 3, 0, 7, 4), (1, -2, 0, 2, 4), (1, 1, 0, 5, 4))
    tubes = link_parts(parts, LINKED)
    assert sorted(tube.boxes[:, 0].tolist() for tube in tubes) == [[0, -2], [3, 1]]


def test_boxes_that_hardly_overlap_are_not_linked() -> None:
    parts = parts_of((0, 0, 0, 2, 2), (1, 1.9, 0, 3.9, 2))
    assert len(link_parts(parts, LINKED)) == 2
    assert len(link_parts(parts, replace(LINKED, link_iou=0.01))) == 1
    touching = parts_of((0, 0, 0, 2, 2), (1, 2, 0, 4, 2))
    assert len(link_parts(touching, replace(LINKED, link_iou=0.0))) == 2


def test_every_part_belongs_to_one_tube() -> None:
    masks = torch.rand(20, 8, 8, generator=torch.Generator().manual_seed(0)) ** 3
    parts = mask_parts(masks, LINKED)
    tubes = link_parts(parts, LINKED)
    held = {(f, *box) for t in tubes for f, box in zip(t.frames.tolist(), t.boxes.tolist(), strict=True)}
    assert {(f, *box) for f, box in zip(parts.frames.tolist(), parts.boxes.tolist(), strict=True)} <= held
    alone = link_parts(parts, replace(LINKED, tube_gap=0))
    assert sum(len(tube.frames) for tube in alone) == len(parts.frames)


def test_short_and_faint_tubes_are_dropped() -> None:
    masks = torch.zeros(4, 8, 8)
    masks[:, :5, :5] = 1.0
    masks[2, 7, 7] = 1.0
    assert len(find_tubes(masks, np.ones(4), replace(LINKED, tube_frames=1, score_floor=0.0))) == 2
    assert len(find_tubes(masks, np.ones(4), replace(LINKED, tube_frames=2, score_floor=0.0))) == 1
    assert len(find_tubes(masks, np.ones(4), replace(LINKED, tube_frames=1, score_floor=0.1))) == 1


@pytest.mark.parametrize("options", [LINKED, VOLUME])
def test_degenerate_clips(options: LocalizationOptions) -> None:
    assert find_tubes(torch.zeros(0, 4, 4), np.zeros(0), options) == ()
    assert find_tubes(torch.zeros(5, 4, 4), np.ones(5), options) == ()
    (single,) = find_tubes(torch.ones(1, 4, 4), np.ones(1), options)
    assert single.frames.tolist() == [0]
    assert single.boxes.tolist() == [[0, 0, 4, 4]]
    with pytest.raises(ValueError, match="finite importance for each of 2 masks"):
        find_tubes(torch.ones(2, 4, 4), np.array([1.0, np.nan]), options)
    with pytest.raises(ValueError, match="finite importance for each of 2 masks"):
        find_tubes(torch.ones(2, 4, 4), np.ones(3), options)
    with pytest.raises(ValueError, match="not finite"):
        find_tubes(torch.full((2, 4, 4), float("nan")), np.ones(2), options)


def test_volume_keeps_apart_what_touches_only_in_different_frames_diagonally() -> None:
    masks = torch.zeros(4, 8, 8)
    masks[:2, 0:2, 0:2] = 1.0
    masks[2:, 4:6, 4:6] = 1.0
    tubes = find_tubes(masks, np.ones(4), VOLUME)
    assert sorted((t.frames.tolist(), t.boxes[0].tolist()) for t in tubes) == [
        ([0, 1], [0, 0, 2, 2]),
        ([2, 3], [4, 4, 6, 6]),
    ]
