"""Where to look: a saliency mask for every frame (Eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

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


class SpatialAttention(nn.Module):
    """Three convolutions and a sigmoid give one saliency mask a frame (paper, Eq. 1 and Fig. 2).

    The paper says "three convolutional layers"; kernel 3 x 3, widths C/2 and C/4, no bias, and batch
    norm with ReLU between them are those of its first author's scripts.

    Args:
        channels: C of the features.
        widths: output channels of the first two convolutions; None: `(C / 2, C / 4)`.

    Shape:
        `(B, T, C, H, W)` to `(B, T, 1, H, W)` in [0, 1].
    """

    def __init__(self, channels: int, widths: Sequence[int] | None = None) -> None:
        super().__init__()
        first, second = widths or (max(channels // 2, 8), max(channels // 4, 8))
        self.layers = nn.Sequential(
            Convolution3x3(channels, first),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            Convolution3x3(first, second),
            nn.BatchNorm2d(second),
            nn.ReLU(inplace=True),
            Convolution3x3(second, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        logits = self.layers(features.flatten(0, 1))
        return torch.sigmoid(logits).unflatten(0, features.shape[:2])
