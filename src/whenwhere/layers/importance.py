"""How much a frame counts."""

from __future__ import annotations

from torch import Tensor


def frame_importance(mask: Tensor, weights: Tensor) -> Tensor:
    """What a frame really contributes: its temporal weight times the mean of its mask, as shares of the clip.

    Args:
        mask: `(B, T, 1, H, W)` in [0, 1].
        weights: `(B, S, T)`, each step sums to 1.

    Returns:
        `(B, T)`, sums to 1.
    """
    share = weights.mean(1) * mask.mean(dim=(2, 3, 4))
    return share / share.sum(1, keepdim=True).clamp_min(1e-12)
