from __future__ import annotations

import torch

from whenwhere.metrics.spatial import box_iou, peak, pointing_hit


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
