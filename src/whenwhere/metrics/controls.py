"""Answers that need no model: what a localisation has to beat before it says anything.

Boxes are x0, y0, x1, y1 in [0, 1] of the frame. What is drawn comes from a generator that the caller seeds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def full_frame(count: int) -> Tensor:
    """The whole frame, `(N, 4)`."""
    return torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(count, 1)


def centre_box(count: int, size: float = 0.5) -> Tensor:
    """The box in the middle with ``size`` of the frame's width and height, `(N, 4)`."""
    return torch.tensor([0.5 - size / 2] * 2 + [0.5 + size / 2] * 2).repeat(count, 1)


def random_boxes(count: int, generator: torch.Generator, size: float = 0.5) -> Tensor:
    """Boxes as large as :func:`centre_box`, anywhere within the frame with equal chance, `(N, 4)`."""
    corner = torch.rand((count, 2), generator=generator) * (1 - size)
    return torch.cat([corner, corner + size], dim=-1)


def frame_difference(pixels: Tensor) -> Tensor:
    """Motion energy: mean absolute change of the colours from the frame before; of the first frame, to the next.

    Args:
        pixels: `(..., T, 3, H, W)`, any range.

    Returns:
        `(..., T, H, W)`, >= 0; all 0 for a single frame.
    """
    pixels = pixels.float()
    if pixels.shape[-4] < 2:
        return torch.zeros_like(pixels[..., 0, :, :])
    change = pixels.diff(dim=-4).abs().mean(-3)
    return torch.cat([change[..., :1, :, :], change], dim=-3)


def energy_boxes(energy: Tensor) -> Tensor:
    """Box around the centre of the energy, as wide as evenly spread energy with the same deviation would be.

    Energy spread evenly over a side of length s deviates by s / sqrt(12) from its centre; so a box of
    centre -+ sqrt(3) deviations is the box itself where the energy fills one, and the full frame where nothing moves
    (no energy says no more than even energy). It is cut at the frame's border.

    Args:
        energy: `(..., H, W)`, >= 0, such as :func:`frame_difference`.

    Returns:
        `(..., 4)` in [0, 1].

    Raises:
        ValueError: energy is negative or NaN.
    """
    if not (energy >= 0).all():  # in this form it catches NaN too
        raise ValueError("energy must be >= 0 everywhere, found negative or NaN values")
    share = energy.double()
    share = torch.where(share.sum((-2, -1), keepdim=True) > 0, share, torch.ones_like(share))
    share = share / share.sum((-2, -1), keepdim=True)
    sides = []
    for profile in (share.sum(-2), share.sum(-1)):  # over columns, over rows
        cells = profile.shape[-1]
        middles = (torch.arange(cells, dtype=share.dtype) + 0.5) / cells
        centre = (profile * middles).sum(-1, keepdim=True)
        # Each cell is spread over its own width: without that a single cell would have no extent.
        variance = (profile * (middles - centre).square()).sum(-1) + 1 / (12 * cells**2)
        sides.append((centre[..., 0], (3 * variance).sqrt()))
    (x, half_width), (y, half_height) = sides
    box = torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], dim=-1)
    return box.clamp(0, 1).float()


def all_frames(clips: int, frames: int) -> Tensor:
    """Every frame, `(N, T)` bool."""
    return torch.ones(clips, frames, dtype=torch.bool)


def random_half(clips: int, frames: int, generator: torch.Generator) -> Tensor:
    """Half of each clip's frames, rounded up, any of them with equal chance, `(N, T)` bool."""
    order = torch.rand((clips, frames), generator=generator).argsort(1)
    return torch.zeros(clips, frames, dtype=torch.bool).scatter(1, order[:, : math.ceil(frames / 2)], True)


def random_run(clips: int, frames: int, length: int, generator: torch.Generator) -> Tensor:
    """``length`` frames in a row, anywhere in the clip with equal chance, `(N, T)` bool.

    Raises:
        ValueError: the run is longer than the clip, or empty.
    """
    if not 1 <= length <= frames:
        raise ValueError(f"a run must have 1 to {frames} frames, the length of the clips, got {length}")
    starts = torch.randint(frames - length + 1, (clips, 1), generator=generator)
    places = torch.arange(frames)
    return (places >= starts) & (places < starts + length)


def uniform_weights(clips: int, frames: int) -> Tensor:
    """Importance that says nothing, `(N, T)`, each row sums to 1."""
    return torch.full((clips, frames), 1 / frames)
