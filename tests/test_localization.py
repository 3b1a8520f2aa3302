from __future__ import annotations

import numpy as np
import pytest
import torch

from whenwhere.localization import LocalizationOptions, find_boxes, find_segments, important_frames, mask_boxes


def test_important_frames_are_those_above_half_of_the_range() -> None:
    importance = torch.tensor([0.05, 0.05, 0.2, 0.3, 0.3, 0.1])
    assert important_frames(importance).tolist() == [False, False, True, True, True, False]


def test_important_frames_do_not_depend_on_scale_or_offset_of_a_clear_peak() -> None:
    importance = torch.rand(4, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(important_frames(importance), important_frames(importance * 7))


def test_flat_importance_gives_the_whole_clip_not_a_segment_of_noise() -> None:
    noise = 1 + 0.01 * torch.rand(16, generator=torch.Generator().manual_seed(0))
    assert important_frames(noise / noise.sum()).all()


def test_segments_end_halfway_between_frames() -> None:
    importance = torch.tensor([0.0, 0.5, 0.5, 0.0, 0.0])
    (segment,) = find_segments(importance, np.array([0.0, 1.0, 2.0, 3.0, 4.0]), 5.0, "jump")
    assert (segment.start, segment.end, segment.label) == (0.5, 2.5, "jump")
    assert segment.score == pytest.approx(1.0)


def test_two_peaks_give_two_segments_that_reach_the_ends() -> None:
    importance = torch.tensor([0.4, 0.0, 0.1, 0.0, 0.5])
    first, second = find_segments(importance, np.arange(5) + 0.5, 5.0, "x")
    assert (first.start, first.end) == (0.0, 1.0)
    assert (second.start, second.end) == (4.0, 5.0)
    assert (first.score, second.score) == (pytest.approx(0.4), pytest.approx(0.5))


def test_one_frame_is_the_whole_video() -> None:
    (segment,) = find_segments(torch.tensor([1.0]), np.array([0.3]), 2.0, "x")
    assert (segment.start, segment.end) == (0.0, 2.0)


def test_box_is_the_part_with_the_peak_only() -> None:
    masks = torch.zeros(1, 8, 8)
    masks[0, 1:3, 5:7] = 1.0
    masks[0, 6, 0] = 0.9  # another part, not the strongest
    (box,) = mask_boxes(masks, LocalizationOptions(upsample=1)).tolist()
    assert box == [5, 1, 7, 3]
    (fine,) = mask_boxes(masks).tolist()
    assert fine == pytest.approx([5, 1, 7, 3], abs=0.51)


def test_mirrored_mask_gives_the_mirrored_box() -> None:
    masks = torch.rand(5, 6, 6, generator=torch.Generator().manual_seed(1))
    boxes, mirrored = mask_boxes(masks), mask_boxes(masks.flip(-1))
    torch.testing.assert_close(mirrored, torch.stack([6 - boxes[:, 2], boxes[:, 1], 6 - boxes[:, 0], boxes[:, 3]], 1))


def test_boxes_are_in_pixels_of_the_original_frame_for_important_frames_only() -> None:
    masks = torch.zeros(3, 4, 4)
    masks[:, 0, 3] = 1.0
    boxes = find_boxes(
        masks,
        torch.tensor([0.0, 1.0, 0.0]),
        np.array([0.0, 1.0, 2.0]),
        (20.0, 0.0, 100.0, 80.0),
        (120, 80),
        "x",
        LocalizationOptions(upsample=1),
    )
    assert [(box.time, *box.xyxy) for box in boxes] == [(1.0, 80.0, 0.0, 100.0, 20.0)]
