"""3 x 3 convolutions with a third of the multiplications, where the convolution library does not do so itself.

Winograd's minimal filtering F(4 x 4, 3 x 3) (Lavin and Gray 2016): four by four outputs of one tile take 36
products instead of 144. Input, weights and products are carried to and from the 36 points by linear maps; on a grid
as small as those of a network's last layer each map is one matrix, borders and all, so the whole is three matrix
products around a batched one. Graphics processors' libraries choose this form by themselves; on processors without
AVX-512 nothing does.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

TILE, POINTS = 4, 6
# Interpolation points 0, +-3/4, +-3/2 and infinity: with them float32 loses no more than in a direct convolution,
# with the usual 0, +-1, +-2 four times as much.
_FINITE = (0.0, 0.75, -0.75, 1.5, -1.5)
# Outputs done at a time. Their weights at 36 points are four times the weights themselves: made in one small piece of
# memory again and again they stay near the processor, made at once they cost more than they save.
_CHUNK = 64


@cache
def filtering_matrices() -> tuple[Tensor, Tensor, Tensor]:
    """A `(6, 4)`, G `(6, 3)` and B `(6, 6)` of ``y = A^T [(G w) * (B^T x)]``, float64 (Toom and Cook's construction).

    ``y`` are the four correlations of the six values ``x`` with the three taps ``w``.
    """
    points = torch.tensor(_FINITE, dtype=torch.float64)
    scale = torch.stack([(p - points[points != p]).prod() for p in points])
    to_outputs = torch.zeros(POINTS, TILE, dtype=torch.float64)
    to_outputs[:-1] = points[:, None] ** torch.arange(TILE)
    to_outputs[-1, -1] = 1
    taps = torch.zeros(POINTS, 3, dtype=torch.float64)
    taps[:-1] = points[:, None] ** torch.arange(3) / scale[:, None]
    taps[-1, -1] = 1
    inputs = torch.zeros(POINTS, POINTS, dtype=torch.float64)
    for column, left_out in enumerate((*_FINITE, None)):
        # Coefficients of the product of (x - p) over the other points.
        coefficients = torch.ones(1, dtype=torch.float64)
        for point in _FINITE:
            if point != left_out:
                shifted = torch.cat([coefficients.new_zeros(1), coefficients])
                coefficients = shifted - point * torch.cat([coefficients, coefficients.new_zeros(1)])
        inputs[: len(coefficients), column] = coefficients
    return to_outputs, taps, inputs


@cache
def grid_matrices(height: int, width: int) -> tuple[Tensor, Tensor]:
    """What takes a grid with one cell of zeros around it to the points of its tiles, and products back.

    Returns:
        `(36 tiles, H W)` and `(H W, 36 tiles)`, float64; rows of the first run over points, then tiles.
    """
    to_outputs, _, inputs = filtering_matrices()

    def along(size: int) -> tuple[Tensor, Tensor]:
        tiles = -(-size // TILE)
        there = torch.zeros(POINTS, tiles, size, dtype=torch.float64)
        back = torch.zeros(size, POINTS, tiles, dtype=torch.float64)
        for tile in range(tiles):
            for offset in range(POINTS):
                if 0 <= (cell := TILE * tile + offset - 1) < size:
                    there[:, tile, cell] = inputs[offset]
            for offset in range(min(TILE, size - TILE * tile)):
                back[TILE * tile + offset, :, tile] = to_outputs[:, offset]
        return there, back

    (down, up), (across, along_back) = along(height), along(width)
    there = torch.einsum("ipy,jqx->ijpqyx", down, across).reshape(-1, height * width)
    back = torch.einsum("yip,xjq->yxijpq", up, along_back).reshape(height * width, -1)
    return there, back


def _taps(weight: Tensor) -> Tensor:
    """What takes nine taps to the 36 points, `(36, 9)`, as ``weight`` is stored."""
    taps = filtering_matrices()[1]
    return torch.kron(taps, taps).to(weight)


def _chunks(weight: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Weights `(O, C, 3, 3)` at the 36 points, `(36, o, C)`, a few outputs at a time in one piece of memory."""
    channels = weight.shape[1]
    taps = _taps(weight)
    memory = weight.new_empty(POINTS**2 * _CHUNK * channels)
    for start in range(0, len(weight), _CHUNK):
        chunk = weight[start : start + _CHUNK]
        at_points = memory[: POINTS**2 * len(chunk) * channels].view(POINTS**2, -1)
        torch.mm(taps, chunk.reshape(-1, 9).t(), out=at_points)
        yield slice(start, start + _CHUNK), at_points.view(POINTS**2, -1, channels)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        batch, channels, height, width = inputs.shape
        there, back = (matrix.to(inputs) for matrix in grid_matrices(height, width))
        points = (there @ inputs.reshape(batch * channels, -1).t()).view(POINTS**2, -1, channels)
        products = points.new_empty(*points.shape[:2], len(weight))
        for outputs, at_points in _chunks(weight):
            products[..., outputs] = points @ at_points.transpose(1, 2)
        ctx.save_for_backward(points, weight)
        ctx.shape = inputs.shape
        return (products.view(back.shape[1], -1).t() @ back.t()).view(batch, -1, height, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        points, weight = ctx.saved_tensors
        batch, _, height, width = ctx.shape
        there, back = (matrix.to(gradient) for matrix in grid_matrices(height, width))
        taps = _taps(weight)
        products = (back.t() @ gradient.reshape(batch * len(weight), -1).t()).view(POINTS**2, -1, len(weight))
        to_points, to_weight = torch.zeros_like(points), torch.empty_like(weight)
        for outputs, at_points in _chunks(weight):
            product = products[..., outputs].contiguous()
            to_points.baddbmm_(product, at_points)
            torch.bmm(product.transpose(1, 2), points, out=at_points)
            torch.mm(at_points.view(POINTS**2, -1).t(), taps, out=to_weight[outputs].view(-1, 9))
        return (to_points.view(there.shape[0], -1).t() @ there).view(ctx.shape), to_weight


def winograd_convolution(inputs: Tensor, weight: Tensor) -> Tensor:
    """The convolution of `(N, C, H, W)` with `(O, C, 3, 3)`, one cell of zeros around, to `(N, O, H, W)`."""
    return _Winograd.apply(inputs, weight)


class Convolution3x3(nn.Conv2d):
    """A 3 x 3 convolution without bias that keeps the grid's size; by Winograd's filtering where that is faster.

    That is on a processor, for at least 512 channels in and out, on small grids and in batches large enough that
    the weights' way to the 36 points pays: about twice as fast forward and backward at 2048 channels.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(channels, outputs, 3, padding=1, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        tiles = len(inputs) * -(-inputs.shape[-2] // TILE) * -(-inputs.shape[-1] // TILE)
        pays = min(self.weight.shape[:2]) >= 512 and tiles >= 64 and inputs.shape[-2] * inputs.shape[-1] <= 256
        plain = inputs.device.type != "cpu" or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu")
        return winograd_convolution(inputs, self.weight) if pays and not plain else super().forward(inputs)
