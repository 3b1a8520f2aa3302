"""How well places agree; boxes are x0, y0, x1, y1 in any one unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from whenwhere import geometry
from whenwhere.metrics.ranking import check_thresholds


def box_iou(a: Tensor, b: Tensor, inclusive: bool = False) -> Tensor:
    """:func:`whenwhere.geometry.box_iou` of tensors on the CPU."""
    return torch.as_tensor(geometry.box_iou(a.numpy(), b.numpy(), inclusive))


def hit_rate(boxes: Tensor, truth: Tensor, thresholds: Sequence[float]) -> np.ndarray:
    """Share of annotated frames whose box has at least the threshold's IoU with the true one: Table 3 of the paper.

    By the authors' scripts the paper's "average precision" on UCF101-24 is this rate, with the first annotated tube of
    each video as truth. Nothing is ranked and no box is ever one too many.

    Args:
        boxes: `(N, 4)`, one a frame; NaN where there is none, which is a miss.
        truth: `(N, 4)`, one a frame.
        thresholds: K, in (0, 1].

    Returns:
        `(K,)` in [0, 1]; NaN when there are no frames.

    Raises:
        ValueError: shapes differ, or a true box is NaN: leave out the frames that are not annotated.
    """
    levels = check_thresholds(thresholds)
    if boxes.shape != truth.shape or truth.ndim != 2 or truth.shape[1] != 4:
        raise ValueError(f"boxes and truth must both be (N, 4), got {tuple(boxes.shape)} and {tuple(truth.shape)}")
    if truth.isnan().any():
        raise ValueError(f"{int(truth.isnan().any(1).sum())} true boxes are NaN; leave out frames without annotation")
    if not len(truth):
        return np.full(len(levels), np.nan)
    return (box_iou(boxes, truth).numpy()[:, None] >= levels).mean(0)  # a NaN is not >= anything


def peak(mask: Tensor) -> Tensor:
    """Centre of the largest cell, `(..., H, W)` to `(..., 2)` as x, y in [0, 1] of the grid."""
    height, width = mask.shape[-2:]
    index = mask.flatten(-2).argmax(-1)
    return torch.stack([(index % width + 0.5) / width, (index // width + 0.5) / height], dim=-1)


def pointing_hit(points: Tensor, boxes: Tensor, tolerance: float = 0.0) -> Tensor:
    """Whether each point lies in its box or closer to it than ``tolerance``: pointing game (Zhang et al. 2016).

    The published game is played in pixels of the image with a tolerance of 15. A NaN box is never hit.

    Args:
        points: `(..., 2)` as x, y.
        boxes: `(..., 4)` in the same unit, half open: the right and the lower edge are outside.
        tolerance: in the same unit; as in TorchRay a point at exactly that distance misses.

    Returns:
        `(...)` bool.
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    inside = ((points >= low) & (points < high)).all(-1)
    distance = torch.maximum(low - points, points - high).clamp_min(0).norm(dim=-1)
    return inside | (distance < tolerance)


def mass_inside(masks: Tensor, boxes: Tensor) -> Tensor:
    """Share of a mask's mass within its box: energy-based pointing game (Wang et al. 2020, Score-CAM).

    A cell the border cuts counts by the share of it that is inside, so coarse grids need no rounding.

    Args:
        masks: `(..., H, W)`, >= 0.
        boxes: `(..., 4)` in [0, 1] of the grid; what reaches beyond it holds nothing.

    Returns:
        `(...)` in [0, 1]; 0 where the mask is 0 everywhere, NaN where the box is NaN.

    Raises:
        ValueError: a mask has negative or NaN values.
    """
    weights = _check_mass(masks)
    total = weights.sum((-2, -1))
    return (weights * box_coverage(boxes, masks.shape[-2], masks.shape[-1])).sum((-2, -1)) / total.clamp_min(1e-12)


def space_time_hit(masks: Tensor, boxes: Tensor) -> Tensor:
    """Whether the peak of a video's saliency lies in the right place at the right time: pointing in space and time.

    The space-time form of the grid pointing game (Böhle et al. 2021) for mosaics, where the box is the action's cell.
    Where several cells share the maximum, the share of them that hit counts, as if one were drawn: else a mask that is
    1 everywhere would be judged by its first corner.

    Args:
        masks: `(..., T, H, W)` saliency over frames and cells.
        boxes: `(..., T, 4)` in [0, 1] of the grid, NaN in frames without the action.

    Returns:
        `(...)` in [0, 1], 1 a hit; NaN where no frame has the action.

    Raises:
        ValueError: a mask has NaN values.
    """
    if masks.isnan().any():
        raise ValueError("masks hold NaN; expected numbers")
    height, width = masks.shape[-2:]
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    inside = pointing_hit(torch.stack([x, y], dim=-1), boxes[..., None, None, :])
    top = masks == masks.amax((-3, -2, -1), keepdim=True)
    share = (top & inside).sum((-3, -2, -1)) / top.sum((-3, -2, -1))
    return share.masked_fill(boxes.isnan().any(-1).all(-1), float("nan"))


def space_time_mass(masks: Tensor, boxes: Tensor) -> Tensor:
    """Share of a video's saliency in the right place at the right time; arguments as :func:`space_time_hit`.

    Returns:
        `(...)` in [0, 1]; 0 where the saliency is 0 everywhere, NaN where no frame has the action.

    Raises:
        ValueError: a mask has negative or NaN values.
    """
    weights = _check_mass(masks)
    inside = (weights * box_coverage(boxes.nan_to_num(0.0), masks.shape[-2], masks.shape[-1])).sum((-3, -2, -1))
    share = inside / weights.sum((-3, -2, -1)).clamp_min(1e-12)
    return share.masked_fill(boxes.isnan().any(-1).all(-1), float("nan"))


def _check_mass(masks: Tensor) -> Tensor:
    if not (masks >= 0).all():  # in this form it catches NaN too
        raise ValueError("masks must be >= 0 everywhere, found negative or NaN values")
    return masks.double()


def box_coverage(boxes: Tensor, height: int, width: int) -> Tensor:
    """Share of each cell of the grid that a box covers, `(..., 4)` to `(..., H, W)`."""
    sides = []
    for start, end, cells in ((boxes[..., 1], boxes[..., 3], height), (boxes[..., 0], boxes[..., 2], width)):
        edges = torch.arange(cells, dtype=torch.float64)
        low, high = (start[..., None] * cells).maximum(edges), (end[..., None] * cells).minimum(edges + 1)
        sides.append((high - low).clamp_min(0))
    return sides[0][..., :, None] * sides[1][..., None, :]
