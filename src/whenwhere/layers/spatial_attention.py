"""Where to look: a saliency mask for every frame (Eq. 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whenwhere.layers.winograd import Convolution3x3


def scale_mask_by_clip_mean(mask: Tensor, floor: float = 1e-4) -> Tensor:
    """Divide a mask by its mean over the clip, so that only *relative* saliency counts.

    As printed, the loss can lower or raise the whole mask (the following layers rescale at will), and
    it ends at 0.01 or 1.00 everywhere. Divided by its clip mean, the mask that enters the features
    averages 1 whatever its level, and its shape over cells *and* frames is all that is left to learn.

    Args:
        mask: `(B, T, 1, H, W)` in [0, 1].
        floor: smallest mean divided by.
    """
    return mask / mask.mean(dim=(1, 2, 3, 4), keepdim=True).clamp_min(floor)


def smooth_mask(mask: Tensor) -> Tensor:
    """Mask averaged with its neighbours in time, row and column, weights 1/4, 1/2, 1/4 each; nothing beyond the border.

    A lone cell in a lone frame comes out at an eighth, the middle of three by three by three cells as it was: scattered
    cells are not as good as a part of the same size any more. Nothing is moved, as it can be by a learned kernel.

    Args:
        mask: `(B, T, 1, H, W)` in [0, 1], to the same.
    """
    weights = mask.new_tensor([0.25, 0.5, 0.25])
    smoothed = mask.transpose(1, 2)
    for axis in (2, 3, 4):
        shape = [3 if axis == other else 1 for other in range(5)]
        smoothed = F.conv3d(smoothed, weights.view(shape), padding=[1 if axis == other else 0 for other in (2, 3, 4)])
    return smoothed.transpose(1, 2)


def mask_of_maps(maps: Tensor) -> Tensor:
    """One mask, high where any of the maps is: the sigmoid of the logarithm of their mean odds.

    Args:
        maps: `(B, T, K, H, W)` logits, to `(B, T, 1, H, W)` in [0, 1]; of one map its sigmoid.
    """
    return torch.sigmoid(maps.logsumexp(2, keepdim=True) - math.log(maps.shape[2]))


class SpatialAttention(nn.Module):
    """Three convolutions and a sigmoid give one saliency mask a frame (paper, Eq. 1 and Fig. 2).

    The paper says "three convolutional layers"; kernel 3 x 3, widths C/2 and C/4, no bias, and batch
    norm with ReLU between them are those of its first author's scripts.

    Args:
        channels: C of the features.
        widths: output channels of the first two convolutions; None: `(C / 2, C / 4)`.
        kernel: 3, or 1: each cell is judged by what is known of it alone.
        maps: how many the mask is made of: 1, or one for each class that can be seen.

    Shape:
        `(B, T, C, H, W)` to `(B, T, 1, H, W)` in [0, 1].
    """

    def __init__(self, channels: int, widths: Sequence[int] | None = None, kernel: int = 3, maps: int = 1) -> None:
        super().__init__()
        if kernel not in (1, 3):
            raise ValueError(f"the mask's kernel must be 1 or 3, got {kernel}")
        convolution = Convolution3x3 if kernel == 3 else partial(nn.Conv2d, kernel_size=1, bias=False)
        first, second = widths or (max(channels // 2, 8), max(channels // 4, 8))
        self.layers = nn.Sequential(
            convolution(channels, first),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            convolution(first, second),
            nn.BatchNorm2d(second),
            nn.ReLU(inplace=True),
            convolution(second, maps),
        )

    def forward(self, features: Tensor) -> Tensor:
        return mask_of_maps(self.maps(features))

    def maps(self, features: Tensor) -> Tensor:
        """Logits, `(B, T, C, H, W)` to `(B, T, maps, H, W)`."""
        return self.layers(features.flatten(0, 1)).unflatten(0, features.shape[:2])
