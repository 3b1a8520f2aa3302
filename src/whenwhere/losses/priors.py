"""Priors that keep both attentions coherent (Eq. 8-10).

Two forms of every prior. ``*_sum`` is the paper's equation, summed over frames and cells and averaged
over the batch only, so that the printed weights keep their meaning at any batch size. The others are
their scale-free forms: their value does not change when a clip is sampled with more frames, or the
grid gets finer, so that one weight serves every T, S, H and W.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

AreaMeasure = Literal["mean", "effective"]


def total_variation_sum(mask: Tensor) -> Tensor:
    """Eq. 8: L1 differences of neighbouring cells, summed over frames, averaged over clips.

    Args:
        mask: `(B, T, 1, H, W)`.
    """
    rows = (mask[..., 1:, :] - mask[..., :-1, :]).abs().sum()
    columns = (mask[..., :, 1:] - mask[..., :, :-1]).abs().sum()
    return (rows + columns) / len(mask)


def total_variation(mask: Tensor) -> Tensor:
    """Eq. 8 per frame and per side of the grid: half a frame on, half off costs 1 whatever T, H = W."""
    frames, (height, width) = mask.shape[1], mask.shape[-2:]
    return total_variation_sum(mask) / (frames * (height * width) ** 0.5)


def contrast_sum(mask: Tensor) -> Tensor:
    """Eq. 9: ``-1/2 M B + 1/2 M (1 - B)`` with ``B = [M > 0.5]``, summed, averaged over clips.

    Its minimum is M = 1 everywhere, where the mask no longer says anything.

    Args:
        mask: `(B, T, 1, H, W)`.
    """
    on = (mask > 0.5).to(mask)
    return (mask * (0.5 - on)).sum() / len(mask)


def contrast(mask: Tensor) -> Tensor:
    """Mean of the mask outside minus inside, B being the cells above the clip's mean; in [-1, 0].

    0 for any flat mask, whatever its level, and -1 only for a mask that is 1 on some cells and 0 on
    the others: unlike Eq. 9 it does not pull the whole mask to 1.

    Args:
        mask: `(B, T, 1, H, W)`.
    """
    cells = mask.flatten(1)
    # A common shift changes nothing but rounding: without it a flat mask may lie all "above" its own mean.
    cells = cells - cells.mean(1, keepdim=True)
    on = (cells > 0).to(cells)
    inside = (cells * on).sum(1) / on.sum(1).clamp_min(1)
    outside = (cells * (1 - on)).sum(1) / (1 - on).sum(1).clamp_min(1)
    return (outside - inside).mean()


def mask_area(mask: Tensor, low: float, high: float, measure: AreaMeasure = "mean") -> Tensor:
    """How far the area of the mask leaves ``[low, high]``: the logarithm of the ratio, squared.

    On a logarithmic scale a mask that sinks towards 0 costs as much as it matters: half the bound costs
    the same whatever the bound.

    Args:
        mask: `(B, T, 1, H, W)`.
        low, high: shares of the clip, in (0, 1].
        measure: what area is: the clip's ``mean``, or the :func:`effective_area`.
    """
    area = effective_area(mask) if measure == "effective" else mask.flatten(1).mean(1)
    area = area.clamp_min(1e-6)
    return ((area / high).log().relu() + (low / area).log().relu()).square().mean()


def effective_area(mask: Tensor) -> Tensor:
    """Share of its clip a mask effectively covers, `(B,)` in (0, 1]: squared mean over mean square.

    1 for any flat mask, whatever its level, and k / n for a mask that is the same on k of n cells and 0 elsewhere. It
    measures shape alone, as a model does that divides the mask by its clip mean; the mean does not: it takes an even
    dust of 0.01, which masks nothing, for a mask of a hundredth of the clip.

    Args:
        mask: `(B, T, 1, H, W)`.
    """
    cells = mask.flatten(1)
    return cells.mean(1).square() / cells.square().mean(1).clamp_min(1e-12)


def unimodality_sum(weights: Tensor) -> Tensor:
    """Eq. 10: ``max(0, w_{i-1} w_{i+1} - w_i^2)`` summed over frames and steps, averaged over clips.

    Zero for uniform weights, and for spikes two or more zeros apart.

    Args:
        weights: `(B, S, T)`, each step sums to 1.
    """
    return (weights[..., :-2] * weights[..., 2:] - weights[..., 1:-1].square()).relu().sum() / len(weights)


def unimodality(weights: Tensor) -> Tensor:
    """Weight that would be needed to fill every valley of the weights, averaged over steps and clips.

    Frame i lies in a valley when larger weights stand on both sides of it; the valley is filled up to
    the lower of the two highest ones. Zero exactly for unimodal weights; it sees spikes any number of
    zeros apart; and two bumps with a gap cost the same however finely the clip is sampled.

    Example:
        weights (0.5, 0, 0, 0.5) have two frames 0.5 below their surroundings: 1.0, where Eq. 10 gives 0.

    Args:
        weights: `(B, S, T)`, each step sums to 1.
    """
    left = weights.cummax(dim=-1).values
    right = weights.flip(-1).cummax(dim=-1).values.flip(-1)
    return (torch.minimum(left, right) - weights).sum(-1).mean()


def persistence(contribution: Tensor) -> Tensor:
    """Total variation over time of what the frames contribute, in units of their mean; averaged over clips.

    Eq. 8 for time: among all ways to single out a stretch of the clip, a plateau over all of it is the
    cheapest, while Eq. 10 and :func:`unimodality` are as content with one frame of it. A plateau over a
    share f of the clip costs at most 2 / f whatever T, a uniform one 0, a single frame up to 2 T.

    Args:
        contribution: `(B, T)`, sums to 1.
    """
    return contribution.shape[1] * (contribution[:, 1:] - contribution[:, :-1]).abs().sum(1).mean()


def doubly_stochastic(mask: Tensor) -> Tensor:
    """``sum_i (1 - sum_t l_ti)^2`` over cells i and frames t, averaged over clips (Sharma et al. 2015).

    0 for a map that spends a total of 1 on every cell in the course of the clip. What sums to 1 over the cells of each
    frame can do so only with as many frames as cells; else the least is ``H W (1 - T / H W)^2``, that of a uniform map.

    Example:
        2 frames that both look at the first of 2 cells spend (2, 0): (1 - 2)^2 + (1 - 0)^2 = 2.

    Args:
        mask: `(B, T, 1, H, W)`, sums to 1 over the cells of each frame.
    """
    return (1 - mask.sum(1)).square().sum() / len(mask)
