"""Where a class is seen by a head that has no spatial attention: its class activation map."""

from __future__ import annotations

import torch
from torch import Tensor


def class_activation_map(features: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    """Evidence of a linear classifier over pooled features, cell by cell (Zhou et al. 2016).

    Rectified and divided by the clip's maximum. For average pooling and a linear layer Grad-CAM is the same map.

    Args:
        features: `(B, T, C, H, W)`.
        weight: `(K, C)` of the classifier.
        classes: `(B,)` whose map is asked for.

    Returns:
        `(B, T, 1, H, W)` in [0, 1] without a gradient; all 0 in a clip where nothing speaks for the class.
    """
    evidence = torch.einsum("btchw,bc->bthw", features, weight[classes]).relu()
    peak = evidence.flatten(1).amax(1).clamp_min(1e-12)
    return (evidence / peak[:, None, None, None]).unsqueeze(2).detach()
