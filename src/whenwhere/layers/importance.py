"""How much a frame counts."""

from __future__ import annotations

from torch import Tensor

# Between the mean (1), by which a wide faint mask outweighs a small strong one, and the peak, one cell's noise. Chosen
# on held-out people, see "What tells when" in docs/method.md.
ORDER = 4


def power_mean(maps: Tensor, order: float = ORDER) -> Tensor:
    """How strong maps are, ``mean(M^p)^(1/p)`` over their cells: `(..., H, W)` >= 0 to `(...)`.

    Between the mean and the maximum of each map, and both of them where a map is flat.

    Example:
        1 on a sixteenth of the cells, 0 elsewhere: 0.5; the mean would be 0.06. 0.5 everywhere: 0.5 as well.
    """
    peak = maps.amax(dim=(-2, -1), keepdim=True)
    relative = maps / peak.clamp_min(1e-30)  # powers of small numbers would underflow
    # The root's slope at 0 is infinite; clamping keeps gradients finite where a map is 0.
    return peak[..., 0, 0] * relative.pow(order).mean(dim=(-2, -1)).clamp_min(1e-30).pow(1 / order)


def frame_contribution(mask: Tensor, weights: Tensor) -> Tensor:
    """What of a frame reaches the recurrence: its temporal weight times the mean of its mask, as shares of the clip.

    Args:
        mask: `(B, T, 1, H, W)` in [0, 1].
        weights: `(B, S, T)`, each step sums to 1.

    Returns:
        `(B, T)`, sums to 1.
    """
    return _shares(weights.mean(1) * mask.mean(dim=(2, 3, 4)))


def frame_importance(mask: Tensor, weights: Tensor) -> Tensor:
    """When: a frame's temporal weight times the strength of its mask (:func:`power_mean`), as shares of the clip.

    The mean would tell how much of a frame is let through, and a background let through evenly is more of that than an
    action that the mask points at.

    Args:
        mask: `(B, T, 1, H, W)` in [0, 1].
        weights: `(B, S, T)`, each step sums to 1.

    Returns:
        `(B, T)`, sums to 1; all 0 for a mask that is 0.
    """
    return _shares(weights.mean(1) * power_mean(mask[:, :, 0]))


def _shares(amounts: Tensor) -> Tensor:
    return amounts / amounts.sum(1, keepdim=True).clamp_min(1e-12)
