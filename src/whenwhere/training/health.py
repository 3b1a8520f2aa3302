"""Is attention alive? Three numbers a log can show, and a warning when it is dead."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from whenwhere.layers import frame_importance

FLAT_MASK = 0.05
UNIFORM_ENTROPY = 0.995


@torch.no_grad()
def attention_health(mask: Tensor, weights: Tensor) -> dict[str, float]:
    """Health of a batch.

    Args:
        mask: `(B, T, 1, H, W)`.
        weights: `(B, S, T)`.

    Returns:
        ``mask_area``: mean of the mask; ``mask_contrast``: its standard deviation over a clip, over its mean
        (0: flat); ``entropy``: of the weights, 1 when uniform, 0 for a single frame; ``importance_entropy``: the
        same of importance, which the masks shape as well; ``state_sensitivity``:
        how far (total variation, in [0, 1]) weights at a step are from their mean over steps. Within a clip
        only the hidden state differs between steps, so 0 means that the state has no say.
    """
    cells = mask.float().flatten(1)
    weights = weights.float()
    away = (weights - weights.mean(1, keepdim=True)).abs().sum(-1).mean() / 2
    return {
        "mask_area": float(cells.mean()),
        "mask_contrast": float((cells.std(1) / cells.mean(1).clamp_min(1e-12)).mean()),
        "entropy": _entropy(weights),
        "importance_entropy": _entropy(frame_importance(mask.float(), weights)),
        "state_sensitivity": float(away),
    }


def _entropy(shares: Tensor) -> float:
    """Mean entropy of distributions over the last axis, over that of the uniform one."""
    entropy = -(shares * shares.clamp_min(1e-12).log()).sum(-1).mean()
    return float(entropy / math.log(shares.shape[-1])) if shares.shape[-1] > 1 else 1.0


def health_warning(health: dict[str, float]) -> str | None:
    """What is dead, in words; None when both attentions are alive."""
    problems = []
    if health["mask_contrast"] < FLAT_MASK:
        problems.append(f"the spatial mask is flat (mean {health['mask_area']:.2f}), it does not say where")
    if health["importance_entropy"] > UNIFORM_ENTROPY:
        problems.append("every frame counts the same, nothing says when (as it should where the action fills the clip)")
    return "; ".join(problems) or None
