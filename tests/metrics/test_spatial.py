from __future__ import annotations

import numpy as np
import pytest
import torch

from whenwhere.metrics.spatial import (
    box_iou,
    hit_rate,
    mass_inside,
    peak,
    pointing_hit,
    space_time_hit,
    space_time_mass,
)

NAN = float("nan")


def random_boxes(count: int, seed: int) -> torch.Tensor:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)).sort(1).values
    return torch.cat([corners[:, 0], corners[:, 1]], dim=1)


def test_box_iou_equals_counting_pixels() -> None:
    a, b = random_boxes(20, 0), random_boxes(20, 1)
    centres = (torch.arange(400) + 0.5) / 400
    y, x = torch.meshgrid(centres, centres, indexing="ij")

    def inside(box: torch.Tensor) -> torch.Tensor:
        return (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])

    counted = torch.stack([(inside(p) & inside(q)).sum() / (inside(p) | inside(q)).sum() for p, q in zip(a, b)])
    torch.testing.assert_close(box_iou(a, b), counted, atol=0.02, rtol=0)


def test_box_iou_limits() -> None:
    boxes = random_boxes(10, 2)
    torch.testing.assert_close(box_iou(boxes, boxes), torch.ones(10))
    assert (box_iou(boxes, boxes + 2) == 0).all()
    touching = torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[1.0, 0, 2, 1]])
    assert box_iou(*touching).item() == 0


def test_peak_is_the_centre_of_the_largest_cell() -> None:
    mask = torch.zeros(2, 4, 8)
    mask[0, 3, 0] = mask[1, 0, 7] = 1
    torch.testing.assert_close(peak(mask), torch.tensor([[1 / 16, 7 / 8], [15 / 16, 1 / 8]]))


def test_pointing_hit_is_half_open() -> None:
    box = torch.tensor([[0.25, 0.25, 0.5, 0.5]]).expand(3, 4)
    points = torch.tensor([[0.25, 0.25], [0.5, 0.3], [0.3, 0.6]])
    assert pointing_hit(points, box).tolist() == [True, False, False]


def test_inclusive_iou_counts_whole_pixels() -> None:
    low = torch.randint(0, 10, (200, 2, 2), generator=torch.Generator().manual_seed(0))
    boxes = torch.cat([low, low + torch.randint(0, 6, low.shape, generator=torch.Generator().manual_seed(1))], dim=-1)

    def pixels(box: torch.Tensor) -> set[tuple[int, int]]:
        x0, y0, x1, y1 = box.tolist()
        return {(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)}

    counted = [len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)) for a, b in boxes]
    found = box_iou(boxes[:, 0].double(), boxes[:, 1].double(), inclusive=True)
    np.testing.assert_allclose(found.numpy(), counted, atol=1e-12)
    assert 0 < sum(counted) < 200


def test_iou_of_boxes_that_are_none() -> None:
    box = torch.tensor([0.2, 0.2, 0.6, 0.6])
    flat, swapped = torch.tensor([0.3, 0.3, 0.5, 0.3]), torch.tensor([0.6, 0.6, 0.2, 0.2])
    assert box_iou(flat, box) == box_iou(swapped, box) == box_iou(swapped, swapped) == box_iou(flat, flat) == 0
    assert box_iou(torch.tensor([NAN, 0.2, 0.6, 0.6]), box).isnan()
    # Half of it lies beyond the frame, and counts.
    assert box_iou(torch.tensor([-1.0, 0, 1, 1]), torch.tensor([0.0, 0, 1, 1])).item() == 0.5


def test_hit_rate_by_hand() -> None:
    truth = torch.tensor([[0.0, 0, 4, 4]]).repeat(4, 1)
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 2], [8, 8, 9, 9], [NAN] * 4])
    np.testing.assert_array_equal(hit_rate(boxes, truth, (0.1, 0.5, 0.6)), [0.5, 0.5, 0.25])
    assert np.isnan(hit_rate(truth[:0], truth[:0], (0.5, 0.6))).tolist() == [True, True]
    with pytest.raises(ValueError, match="1 true boxes are NaN"):
        hit_rate(truth, boxes, (0.5,))
    with pytest.raises(ValueError, match=r"\(N, 4\)"):
        hit_rate(boxes[:2], truth, (0.5,))
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        hit_rate(boxes, truth, (0.0,))


def test_pointing_within_tolerance_equals_asking_every_pixel() -> None:
    # As TorchRay plays it: a hit if any pixel of the region is closer than 15 to the pixel pointed at.
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij")
    points = torch.stack([torch.randint(n, (300,), generator=generator) for n in (80, 60)], dim=-1).float()
    region = (x >= 30) & (x < 50) & (y >= 20) & (y < 41)
    expected = [bool((region & ((x - u) ** 2 + (y - v) ** 2 < 15**2)).any()) for u, v in points.tolist()]
    centres = torch.tensor([30.0, 20, 49, 40]).expand(300, 4)  # centres of the region's first and last pixels
    assert pointing_hit(points, centres, tolerance=15).tolist() == expected
    assert 100 < sum(expected) < 250


def test_pointing_tolerance_limits() -> None:
    box = torch.tensor([10.0, 10, 20, 20])
    points = torch.tensor([[15.0, 15], [20, 15], [34.9, 15], [35, 15], [30, 30]])
    assert pointing_hit(points, box.expand(5, 4), tolerance=15).tolist() == [True, True, True, False, True]
    assert pointing_hit(points, box.expand(5, 4)).tolist() == [True, False, False, False, False]
    assert not pointing_hit(points, torch.full((5, 4), NAN), tolerance=15).any()


def test_mass_inside_counts_cut_cells_by_their_share() -> None:
    even = torch.ones(4, 5)
    for box in random_boxes(20, 3):
        torch.testing.assert_close(mass_inside(even, box).item(), float((box[2:] - box[:2]).prod()), atol=1e-6, rtol=0)
    mask = torch.zeros(2, 4, 4)
    mask[:, 1, 2], mask[:, 3, 0] = 3.0, 1.0
    boxes = torch.tensor([[0.5, 0.25, 0.75, 0.5], [0.5, 0.25, 0.625, 2.0]])
    torch.testing.assert_close(mass_inside(mask, boxes), torch.tensor([0.75, 0.375], dtype=torch.float64))
    torch.testing.assert_close(mass_inside(mask, boxes), mass_inside(7 * mask, boxes))


def test_mass_limits() -> None:
    boxes = torch.tensor([[0.0, 0, 1, 1], [-3, -3, 5, 5], [2, 2, 3, 3], [NAN] * 4])
    found = mass_inside(torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(0)), boxes)
    torch.testing.assert_close(found, torch.tensor([1, 1, 0, NAN], dtype=torch.float64), equal_nan=True)
    assert mass_inside(torch.zeros(3, 3), boxes[0]) == 0
    for bad in (NAN, -0.1):
        with pytest.raises(ValueError, match="negative or NaN"):
            mass_inside(torch.full((3, 3), bad), boxes[0])
        with pytest.raises(ValueError, match="negative or NaN"):
            space_time_mass(torch.full((2, 3, 3), bad), boxes[:2])


def wall_truth() -> torch.Tensor:
    """Six frames of a wall of 2 x 2; the action is in the upper right cell in frames 2 and 3."""
    boxes = torch.full((6, 4), NAN)
    boxes[2:4] = torch.tensor([0.5, 0.0, 1.0, 0.5])
    return boxes


@pytest.mark.parametrize(
    "frame, row, column, hit", [(2, 0, 2, 1), (3, 1, 3, 1), (4, 0, 2, 0), (2, 2, 2, 0), (3, 0, 1, 0)]
)
def test_pointing_in_space_and_time_needs_the_cell_and_the_frames(frame: int, row: int, column: int, hit: int) -> None:
    masks = torch.full((6, 4, 4), 0.5)
    masks[frame, row, column] = 1.0
    assert space_time_hit(masks, wall_truth()) == hit
    # 2 frames x 4 cells of 6 x 16 at 0.5, and the peak.
    expected = (2 * 4 * 0.5 + 0.5 * hit) / (6 * 16 * 0.5 + 0.5)
    torch.testing.assert_close(space_time_mass(masks, wall_truth()).item(), expected)


def test_a_flat_saliency_hits_as_often_as_chance() -> None:
    boxes = torch.stack([wall_truth(), torch.full((6, 4), NAN)])
    flat = torch.ones(2, 6, 4, 4)
    chance = torch.tensor([2 / 6 / 4, NAN])
    torch.testing.assert_close(space_time_hit(flat, boxes), chance, equal_nan=True)
    torch.testing.assert_close(space_time_mass(flat, boxes).float(), chance, equal_nan=True)
    assert space_time_mass(0 * flat, boxes)[0] == 0
    with pytest.raises(ValueError, match="NaN"):
        space_time_hit(flat * NAN, boxes)


def test_saliency_only_in_the_right_cell_and_frames_scores_one() -> None:
    masks = torch.zeros(6, 6, 6)
    masks[2:4, :3, 3:] = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert space_time_hit(masks, wall_truth()) == space_time_mass(masks, wall_truth()) == 1
