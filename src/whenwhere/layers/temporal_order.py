"""Ways to let an order-blind model see the order of its frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def temporal_encoding(frames: int, channels: int, *, device: torch.device | None = None) -> Tensor:
    """Sinusoids of *relative* time, `(T, C)` in [-1, 1] (Vaswani et al. 2017).

    Time runs from 0 to 1 over the clip, so the code of the middle frame does not change with T.
    """
    time = (torch.arange(frames, device=device, dtype=torch.float32) + 0.5) / frames
    octaves = 2.0 ** torch.arange((channels + 1) // 2, device=device).remainder(6)
    phase = math.pi * time[:, None] * octaves[None, :]
    return torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(1)[:, :channels]


def temporal_difference(features: Tensor) -> Tensor:
    """How each cell changes: half of next minus previous frame, one-sided at the ends.

    It changes sign when the clip is played backwards, so a motion and its reverse differ in it; its
    magnitude is how much moves, whichever way.

    Shape:
        `(B, T, C, H, W)` to the same.
    """
    if features.shape[1] == 1:
        return torch.zeros_like(features)
    following = torch.cat([features[:, 1:], features[:, -1:]], dim=1)
    previous = torch.cat([features[:, :1], features[:, :-1]], dim=1)
    return (following - previous) / 2


class TemporalConvolution(nn.Sequential):
    """What happens from frame to frame: two 3 x 3 x 3 convolutions over time and grid, each with batch norm and ReLU.

    Being nonlinear, it tells a motion from its reverse even after frames are averaged; signed changes
    averaged over a clip leave only its last frame minus its first.

    Args:
        channels: C of the features.
        hidden: channels of what it gives.

    Shape:
        `(B, T, C, H, W)` to `(B, T, hidden, H, W)`.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(
            nn.Conv3d(channels, hidden, 3, padding=1, bias=False),
            nn.BatchNorm3d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv3d(hidden, hidden, 3, padding=1, bias=False),
            nn.BatchNorm3d(hidden),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.transpose(1, 2)).transpose(1, 2)
