"""Fewer channels: a whitened principal component projection, fitted once on training frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from whenwhere.errors import WhenwhereError

# Of the largest variance. The 2048th of a ResNet-50's on real clips has 1e-4; float32 arithmetic leaves 1e-14.
_LEAST_VARIANCE = 1e-8


class ProjectionError(WhenwhereError):
    """Features that do not have as many components as were asked for."""


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
        """Fit on feature vectors `(N, C)`, N > components.

        Raises:
            ProjectionError: they are too few, or differ in fewer directions than ``components``; whitened, directions
                without variance would make anything of new data.
        """
        if len(cells) <= components:
            raise ProjectionError(
                f"fitting {components} components needs more than {components} vectors, got {len(cells)}"
            )
        self = cls(cells.shape[1], components)
        self.mean = cells.double().mean(0)
        centred = cells.double() - self.mean
        variance, vectors = torch.linalg.eigh(centred.T @ centred / (len(cells) - 1))
        top = variance.argsort(descending=True)[:components]
        there = int((variance[top] > _LEAST_VARIANCE * variance.max()).sum())
        if there < components:
            raise ProjectionError(
                f"{components} components were asked for, but the features vary in {there} directions only: there are "
                f"too few different frames. Give more clips, or data.components {there} at most"
            )
        self.matrix = (vectors[:, top] / variance[top].sqrt()).float()
        self.mean = self.mean.float()
        return self

    def forward(self, features: Tensor) -> Tensor:
        return torch.einsum("nchw,cd->ndhw", features - self.mean[:, None, None], self.matrix).contiguous()
