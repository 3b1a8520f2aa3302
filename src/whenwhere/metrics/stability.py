"""How well two explanations of the same clips agree: after its layers are randomised, or when the clip is moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation along the last axis, ties at their average rank, `(..., M)` twice to `(...)`.

    0 where either is constant (scipy says NaN): a map that ranks nothing agrees with nothing, not even with itself.

    Raises:
        ValueError: shapes differ, M is 0, or values are not finite.
    """
    if a.shape != b.shape or a.ndim == 0 or a.shape[-1] == 0:
        raise ValueError(f"ranks are compared of two (..., M) of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    if not (a.isfinite().all() and b.isfinite().all()):
        raise ValueError("ranks are compared of finite numbers; there are others")
    a, b = _centred_ranks(a), _centred_ranks(b)
    spread = (a.square().sum(-1) * b.square().sum(-1)).sqrt()
    return torch.where(spread > 0, (a * b).sum(-1) / spread.clamp_min(1e-12), 0.0).float()


def _centred_ranks(values: Tensor) -> Tensor:
    """Average ranks less their mean, float64; halves are exact, so that a constant gives exactly 0."""
    values = values.contiguous()
    ordered = values.sort(-1).values
    below, upto = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (below + upto - values.shape[-1]).double() / 2


def threshold_iou(a: Tensor, b: Tensor, threshold: float = 0.5) -> Tensor:
    """IoU of what lies above ``threshold`` times the clip's peak in either map, `(N, ...)` twice to `(N,)` in [0, 1].

    0 where neither map has anything above 0.
    """
    above_a, above_b = (
        map_ > threshold * map_.flatten(1).amax(1).clamp_min(0).view(-1, *[1] * (map_.ndim - 1)) for map_ in (a, b)
    )
    both, either = ((above_a & above_b).flatten(1).sum(1), (above_a | above_b).flatten(1).sum(1))
    return both / either.clamp_min(1)


@dataclass(frozen=True)
class Move:
    """What is done to a clip's frames: mirrored left and right first, then shifted.

    Attributes:
        mirror: left becomes right.
        rows, columns: cells or pixels down and to the right; what comes in repeats the edge.
    """

    mirror: bool = False
    rows: int = 0
    columns: int = 0

    def __call__(self, content: Tensor) -> Tensor:
        """`(..., H, W)` to the same."""
        content = content.flip(-1) if self.mirror else content
        for dim, by in ((-2, self.rows), (-1, self.columns)):
            if by:
                places = torch.arange(content.shape[dim], device=content.device)
                content = content.index_select(dim, (places - by).clamp(0, len(places) - 1))
        return content

    def overlap(self, content: Tensor) -> Tensor:
        """The part of what was moved that was there before, `(..., H, W)` to `(..., H - |rows|, W - |columns|)`."""
        height, width = content.shape[-2:]
        if abs(self.rows) >= height or abs(self.columns) >= width:
            raise ValueError(f"{self} leaves nothing of {height} rows and {width} columns to compare")
        rows = slice(max(self.rows, 0), height + min(self.rows, 0))
        columns = slice(max(self.columns, 0), width + min(self.columns, 0))
        return content[..., rows, columns]


class Agreement(NamedTuple):
    """How well two maps of each clip agree.

    Attributes:
        correlation: `(N,)` in [-1, 1], of ranks.
        iou: `(N,)` in [0, 1], of the thresholded maps.
    """

    correlation: Tensor
    iou: Tensor


def agreement(original: Tensor, moved: Tensor, move: Move | None = None, threshold: float = 0.5) -> Agreement:
    """Does the explanation move with the clip? Compared where both see the same content.

    Args:
        original: `(N, ..., H, W)`, of the clips as they are; without a move any `(N, ...)`.
        moved: of the same shape, of the moved clips, as they lie there.
        move: in cells of the maps; None: none.
        threshold: of each map's peak in the clip, for the IoU.
    """
    if original.shape != moved.shape:
        raise ValueError(f"maps to compare differ in shape: {tuple(original.shape)} and {tuple(moved.shape)}")
    if move is not None:
        original, moved = move.overlap(move(original)), move.overlap(moved)
    return Agreement(rank_correlation(original.flatten(1), moved.flatten(1)), threshold_iou(original, moved, threshold))
