from __future__ import annotations

import pytest
import torch

from whenwhere.metrics.controls import (
    all_frames,
    centre_box,
    energy_boxes,
    frame_difference,
    full_frame,
    random_boxes,
    random_half,
    random_run,
    uniform_weights,
)
from whenwhere.metrics.spatial import box_iou


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_boxes_that_need_no_model() -> None:
    assert full_frame(2).tolist() == [[0, 0, 1, 1]] * 2
    assert centre_box(1).tolist() == [[0.25, 0.25, 0.75, 0.75]]
    assert box_iou(centre_box(1), full_frame(1)).item() == 0.25
    assert centre_box(0).shape == (0, 4)


def test_random_boxes_lie_in_the_frame_have_the_size_and_the_seed_decides() -> None:
    boxes = random_boxes(4000, seeded())
    assert (boxes >= 0).all()
    assert (boxes <= 1).all()
    torch.testing.assert_close(boxes[:, 2:] - boxes[:, :2], torch.full((4000, 2), 0.5))
    torch.testing.assert_close(boxes.mean(0), torch.tensor([0.25, 0.25, 0.75, 0.75]), atol=0.02, rtol=0)
    assert torch.equal(boxes, random_boxes(4000, seeded()))
    assert not torch.equal(boxes, random_boxes(4000, seeded(1)))


def test_frame_difference_is_where_something_changes() -> None:
    pixels = torch.zeros(4, 3, 6, 8)
    pixels[2:, :, 1:3, 5:8] = 0.5  # appears in the third frame and stays
    energy = frame_difference(pixels)
    assert energy.shape == (4, 6, 8)
    assert [index for index in range(4) if energy[index].any()] == [2]
    assert torch.equal(energy[2] > 0, pixels[2, 0] > 0)
    torch.testing.assert_close(energy, frame_difference(pixels + 3))
    pixels[0] = 1  # and the first frame shows what changes after it
    assert torch.equal(frame_difference(pixels)[0], frame_difference(pixels)[1])


def test_frame_difference_takes_batches_whole_numbers_and_single_frames() -> None:
    pixels = torch.randint(0, 256, (2, 5, 3, 4, 4), generator=seeded()).to(torch.uint8)
    energy = frame_difference(pixels)
    assert torch.equal(energy[1], frame_difference(pixels[1]))
    expected = (pixels[1, 3].int() - pixels[1, 2].int()).abs().float().mean(0)
    torch.testing.assert_close(energy[1, 3], expected)
    assert frame_difference(pixels[:, :1]).eq(0).all()


def test_the_box_of_energy_that_fills_a_box_is_that_box() -> None:
    energy = torch.zeros(2, 3, 12, 16)
    energy[..., 3:9, 4:12] = 2.0
    boxes = energy_boxes(energy)
    assert boxes.shape == (2, 3, 4)
    torch.testing.assert_close(boxes, torch.tensor([4 / 16, 3 / 12, 12 / 16, 9 / 12]).expand(2, 3, 4))
    single = torch.zeros(12, 16)
    single[11, 0] = 1
    torch.testing.assert_close(energy_boxes(single), torch.tensor([0, 11 / 12, 1 / 16, 1]))


def test_no_motion_gives_the_full_frame_and_stray_motion_does_not_leave_it() -> None:
    torch.testing.assert_close(energy_boxes(torch.zeros(2, 5, 7)), full_frame(2))
    corners = torch.zeros(5, 7)
    corners[0, 0] = corners[4, 6] = 1
    assert energy_boxes(corners).tolist() == [0, 0, 1, 1]  # cut at the border
    for bad in (float("nan"), -1.0):
        with pytest.raises(ValueError, match="energy must be >= 0"):
            energy_boxes(torch.full((2, 2), bad))


def test_frames_that_need_no_model() -> None:
    assert all_frames(2, 3).all()
    for frames, kept in ((8, 4), (7, 4), (1, 1)):
        half = random_half(500, frames, seeded())
        assert (half.sum(1) == kept).all()
        torch.testing.assert_close(half.float().mean(0), torch.full((frames,), kept / frames), atol=0.08, rtol=0)
    assert torch.equal(random_half(5, 8, seeded()), random_half(5, 8, seeded()))


def test_a_random_run_is_in_one_piece_and_anywhere() -> None:
    runs = random_run(2000, 6, 4, seeded())
    assert (runs.sum(1) == 4).all()
    changes = runs.int().diff(dim=1, prepend=torch.zeros(2000, 1, dtype=torch.int))
    assert ((changes == 1).sum(1) == 1).all()
    starts = torch.bincount(runs.int().argmax(1))
    assert starts.shape == (3,)
    assert starts.min() > 600
    assert random_run(1, 6, 6, seeded()).all()
    for length in (0, 7):
        with pytest.raises(ValueError, match="1 to 6 frames"):
            random_run(1, 6, length, seeded())


def test_uniform_weights_sum_to_one() -> None:
    torch.testing.assert_close(uniform_weights(3, 7).sum(1), torch.ones(3))
    assert uniform_weights(3, 7).unique().numel() == 1
