"""When to look: softmax weights over the frames, driven by the recurrent state (Eq. 2-3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Energy = Literal["joint", "additive"]


class TemporalAttention(nn.Module):
    """Weights of the frames at one recurrent step (paper, Eq. 2 and 3).

    ``energy="additive"`` is Eq. 2 as printed, ``a(H) + b(X_i)``. The softmax over i cancels a(H): the
    weights are the same at every step and a's parameters never get a gradient. ``energy="joint"`` is
    ``v . tanh(W_h H + W_x X_i)`` (Bahdanau et al. 2015, which the paper cites), where the state matters.

    For the joint energy the frame vectors are divided by their root mean square over the clip: like the
    mask, only how they differ counts. Pooled over cells they are small, and the weights would otherwise
    stay uniform for most of a short training.

    The part that does not depend on the state, :meth:`keys`, is computed once for all steps.

    Args:
        channels: C of the frame vectors.
        state_channels: D of the state vector.
        width: inner width of the joint energy.
    """

    def __init__(self, channels: int, state_channels: int, energy: Energy = "joint", width: int | None = None) -> None:
        super().__init__()
        if energy not in ("joint", "additive"):
            raise ValueError(f"energy must be 'joint' or 'additive', got {energy!r}")
        self.energy = energy
        inner = 1 if energy == "additive" else (width or state_channels)
        self.key = nn.Linear(channels, inner, bias=energy == "joint")
        self.query = nn.Linear(state_channels, inner, bias=False)
        if energy == "joint":
            self.score = nn.Linear(inner, 1, bias=False)

    def keys(self, frames: Tensor) -> Tensor:
        """Project frame vectors `(B, T, C)` to keys `(B, T, inner)`."""
        if self.energy == "joint":
            frames = frames / frames.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-6)
        return self.key(frames)

    def forward(self, state: Tensor, keys: Tensor) -> Tensor:
        """Weights `(B, T)`, >= 0 and summing to 1, from the state vector `(B, D)` and :meth:`keys`."""
        energies = keys + self.query(state).unsqueeze(1)
        if self.energy == "joint":
            energies = self.score(torch.tanh(energies))
        return energies.squeeze(-1).softmax(dim=1)
