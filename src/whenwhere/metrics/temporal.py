"""How well moments agree."""

from __future__ import annotations

from torch import Tensor


def frame_iou(predicted: Tensor, truth: Tensor) -> Tensor:
    """Temporal IoU on frames: frames in both over frames in either, 0 where both are empty.

    Args:
        predicted, truth: `(..., T)` bool.

    Returns:
        `(...)` in [0, 1].
    """
    both = (predicted & truth).sum(-1)
    either = (predicted | truth).sum(-1)
    return both / either.clamp_min(1)
