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
    """What happens from frame to frame: two convolutions over time and grid, each with batch norm and ReLU.

    Being nonlinear, it tells a motion from its reverse even after frames are averaged; signed changes
    averaged over a clip leave only its last frame minus its first.

    Args:
        channels: C of the features.
        hidden: channels of what it gives.
        kernel: frames and cells each way of either convolution, both odd. With one cell what it knows of a place
            stays there.

    Shape:
        `(B, T, C, H, W)` to `(B, T, hidden, H, W)`.
    """

    def __init__(self, channels: int, hidden: int, kernel: tuple[int, int] = (3, 3)) -> None:
        frames, cells = kernel
        if frames < 1 or cells < 1 or frames % 2 == 0 or cells % 2 == 0:
            raise ValueError(f"kernel must be odd numbers of frames and cells, got {tuple(kernel)}")
        size, padding = (frames, cells, cells), (frames // 2, cells // 2, cells // 2)
        super().__init__(
            nn.Conv3d(channels, hidden, size, padding=padding, bias=False),
            nn.BatchNorm3d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv3d(hidden, hidden, size, padding=padding, bias=False),
            nn.BatchNorm3d(hidden),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.transpose(1, 2)).transpose(1, 2)
