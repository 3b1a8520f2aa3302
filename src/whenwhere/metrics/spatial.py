"""How well places agree; boxes are x0, y0, x1, y1 in any one unit."""

from __future__ import annotations

import torch
from torch import Tensor


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of each box of ``a`` with its counterpart in ``b``, `(..., 4)` to `(...)` in [0, 1]."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp_min(0).prod(-1)
    area = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return shared / area.clamp_min(1e-12)


def peak(mask: Tensor) -> Tensor:
    """Centre of the largest cell, `(..., H, W)` to `(..., 2)` as x, y in [0, 1] of the grid."""
    height, width = mask.shape[-2:]
    index = mask.flatten(-2).argmax(-1)
    return torch.stack([(index % width + 0.5) / width, (index // width + 0.5) / height], dim=-1)


def pointing_hit(points: Tensor, boxes: Tensor) -> Tensor:
    """Whether each point `(..., 2)` lies in its box `(..., 4)`: pointing game (Zhang et al. 2016), no tolerance."""
    x, y = points[..., 0], points[..., 1]
    return (x >= boxes[..., 0]) & (x < boxes[..., 2]) & (y >= boxes[..., 1]) & (y < boxes[..., 3])
