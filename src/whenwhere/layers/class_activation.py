"""Where a linear classifier over averaged features finds its evidence."""

from __future__ import annotations

import torch
from torch import Tensor


def class_activation_map(features: Tensor, class_weights: Tensor) -> Tensor:
    """Class activation map as a mask (Zhou et al. 2016, Eq. 2), rectified and divided by its clip's greatest value.

    Any weights over channels that may differ by frame do as well: the gradient of a logit with respect to pooled
    features gives Grad-CAM (Selvaraju et al. 2017, Eq. 1-2).

    Args:
        features: `(B, T, C, H, W)`.
        class_weights: `(B, C)`, the classifier's weights for each clip's class, or `(B, T, C)`.

    Returns:
        `(B, T, 1, H, W)` in [0, 1], without a gradient; all 0 for a clip in which nothing speaks for its class.
    """
    axes = "btc" if class_weights.ndim == 3 else "bc"
    evidence = torch.einsum(f"btchw,{axes}->bthw", features.detach(), class_weights.detach()).relu()
    peak = evidence.flatten(1).amax(1).clamp_min(1e-12)
    return (evidence / peak[:, None, None, None]).unsqueeze(2)
