"""Fewer channels: a whitened principal component projection, fitted once on training frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Projection(nn.Module):
    """``(x - mean) @ components`` at every cell, frozen; outputs have unit variance on the data it was fitted on.

    A head on 2048 channels is out of reach of a CPU, and of a few hundred clips; 128 whitened
    components keep most of the variance at a sixteenth of the cost.

    Shape:
        `(N, C, H, W)` to `(N, components, H, W)`.
    """

    def __init__(self, channels: int, components: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.matrix: Tensor
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("matrix", torch.zeros(channels, components))

    @classmethod
    def fit(cls, cells: Tensor, components: int) -> Projection:
        """Fit on feature vectors `(N, C)`, N > components."""
        if len(cells) <= components:
            raise ValueError(f"fitting {components} components needs more than {components} vectors, got {len(cells)}")
        self = cls(cells.shape[1], components)
        self.mean = cells.double().mean(0)
        centred = cells.double() - self.mean
        variance, vectors = torch.linalg.eigh(centred.T @ centred / (len(cells) - 1))
        top = variance.argsort(descending=True)[:components]
        self.matrix = (vectors[:, top] / variance[top].clamp_min(1e-12).sqrt()).float()
        self.mean = self.mean.float()
        return self

    def forward(self, features: Tensor) -> Tensor:
        return torch.einsum("nchw,cd->ndhw", features - self.mean[:, None, None], self.matrix).contiguous()
