"""The loss: cross entropy and priors that keep both attentions coherent (Eq. 7-10).

Two forms of every prior. ``*_sum`` is the paper's equation, summed over frames and cells and averaged
over the batch only, so that the printed weights keep their meaning at any batch size. The others are
their scale-free forms: their value does not change when a clip is sampled with more frames, or the
grid gets finer, so that one weight serves every T, S, H and W.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from whenwhere.layers import frame_contribution

AreaMeasure = Literal["mean", "effective"]

__all__ = [
    "AreaMeasure",
    "LossOptions",
    "attention_loss",
    "classification_loss",
    "contrast",
    "contrast_sum",
    "doubly_stochastic",
    "effective_area",
    "mask_area",
    "persistence",
    "prior_share",
    "soft_attention_loss",
    "total_variation",
    "total_variation_sum",
    "unimodality",
    "unimodality_sum",
]


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


def detection(maps: Tensor, target: Tensor, share: float) -> Tensor:
    """Multiple-instance loss of one detector for each class: binary cross entropy, summed over classes.

    A class's logit of the clip is the mean of the highest ``share`` of its cells, so that it has to be *found* in clips
    that show it and nowhere in the others. It cannot be told by elimination, as by a softmax over classes it can.

    Args:
        maps: `(B, T, K, H, W)` logits.
        target: `(B,)` class indices.
        share: of the clip's cells, in (0, 1].
    """
    cells = maps.transpose(1, 2).flatten(2)
    logits = cells.topk(max(1, round(share * cells.shape[2])), dim=2).values.mean(2)
    found = F.one_hot(target, maps.shape[2]).to(logits)
    return F.binary_cross_entropy_with_logits(logits, found, reduction="none").sum(1).mean()


@dataclass(frozen=True)
class LossOptions:
    """Weights of the priors; a weight of 0 leaves its prior out (the paper's ablations).

    Attributes:
        form: ``sum``: Eq. 8-10 as printed; ``relative``: the scale-free forms; None: as the model's variant.
        total_variation: weight of Eq. 8; None: the form's default (``sum``: 1e-5 as published).
        contrast: weight of Eq. 9; None: the form's default (``sum``: 1e-4 as published).
        unimodality: weight of Eq. 10; None: the form's default (``sum``: 1 as published).
        persistence: weight of the total variation of contributions over time (not in the paper); None: the
            form's default.
        area: weight of the area prior (not in the paper); None: the form's default.
        area_range: shares of the clip between which the mask's area is free.
        area_measure: what area is: the clip's ``mean``, or ``effective``, its shape alone (:func:`effective_area`).
        delay: share of training before the priors' weights begin to rise. Until the classifier knows what to look for
            they alone would shape the mask, and a smooth and lasting one lies on the background.
        warmup: share of training over which the priors' weights rise from 0.
        label_smoothing: of the cross entropy, in [0, 1).
        doubly_stochastic: weight of :func:`doubly_stochastic`, the only prior of soft_attention_lstm, which has none of
            the others (published: 0, 1 or 10).
    """

    form: Literal["sum", "relative"] | None = None
    total_variation: float | None = None
    contrast: float | None = None
    unimodality: float | None = None
    persistence: float | None = None
    area: float | None = None
    area_range: tuple[float, float] = (0.05, 0.3)
    area_measure: AreaMeasure = "mean"
    delay: float = 0.0
    warmup: float = 0.0
    detection: float = 0.0
    label_smoothing: float = 0.0
    doubly_stochastic: float = 0.0

    def resolved(self, variant: str) -> LossOptions:
        """The same options with every None filled in for a model variant."""
        form = self.form or ("sum" if variant == "paper" else "relative")
        if form == "sum":
            preset = {"total_variation": 1e-5, "contrast": 1e-4, "unimodality": 1.0, "persistence": 0.0, "area": 0.0}
        else:
            preset = {"total_variation": 0.01, "contrast": 0.02, "unimodality": 1.0, "persistence": 0.01, "area": 0.1}
        unset = {name: value for name, value in preset.items() if getattr(self, name) is None}
        return replace(self, form=form, **unset)  # type: ignore[arg-type]


def prior_share(progress: float, delay: float, warmup: float) -> float:
    """How much of their weights the priors have, in [0, 1]: 0 during ``delay``, then a linear rise over ``warmup``.

    Args:
        progress, delay, warmup: shares of training, in [0, 1].
    """
    return 0.0 if progress < delay else min(1.0, (progress - delay) / warmup) if warmup else 1.0


def attention_loss(
    logits: Tensor,
    target: Tensor,
    mask: Tensor,
    weights: Tensor,
    options: LossOptions,
    progress: float = 1.0,
    maps: Tensor | None = None,
) -> dict[str, Tensor]:
    """Eq. 7 and its terms; ``total`` is what is minimised, the others are unweighted.

    Args:
        logits: `(B, K)`.
        target: `(B,)` class indices.
        mask: `(B, T, 1, H, W)`.
        weights: `(B, S, T)`.
        options: resolved options.
        progress: share of training done, in [0, 1], for the priors' warm-up.
    """
    summed = options.form == "sum"
    terms = {
        "cross_entropy": F.cross_entropy(logits, target, label_smoothing=options.label_smoothing),
        "total_variation": (total_variation_sum if summed else total_variation)(mask),
        "contrast": (contrast_sum if summed else contrast)(mask),
        "unimodality": (unimodality_sum if summed else unimodality)(weights),
        "persistence": persistence(frame_contribution(mask, weights)),
        "area": mask_area(mask, *options.area_range, options.area_measure),
    }
    rise = prior_share(progress, options.delay, options.warmup)
    priors = sum(getattr(options, name) * terms[name] for name in terms if name != "cross_entropy")
    total = terms["cross_entropy"] + rise * priors
    if maps is not None and options.detection:
        terms["detection"] = detection(maps, target, options.area_range[0] ** min(1.0, 2 * progress))
        total = total + options.detection * terms["detection"]
    return {"total": total, **terms}


def classification_loss(logits: Tensor, target: Tensor, options: LossOptions) -> dict[str, Tensor]:
    """Cross entropy of the clip's class alone; arguments and result as of :func:`attention_loss`."""
    cross_entropy = F.cross_entropy(logits, target, label_smoothing=options.label_smoothing)
    return {"total": cross_entropy, "cross_entropy": cross_entropy}


def soft_attention_loss(
    logits: Tensor, steps: Tensor, target: Tensor, mask: Tensor, options: LossOptions
) -> dict[str, Tensor]:
    """Cross entropy of every step, summed over steps and averaged over clips, plus the penalty (Sharma et al. 2015).

    Args:
        logits: `(B, K)` of the clip, for the log only: ``cross_entropy`` is theirs, comparable with other methods'.
        steps: `(B, S, K)` log probabilities.
        target: `(B,)` class indices, the same at every step.
        mask: `(B, T, 1, H, W)`, sums to 1 over the cells of each frame.
        options: ``doubly_stochastic`` and ``label_smoothing`` of the steps.

    Returns:
        ``total``, which is minimised, ``steps`` and ``doubly_stochastic``, its unweighted terms, and ``cross_entropy``.
    """
    batch, count = steps.shape[:2]
    every = target.repeat_interleave(count)
    terms = {
        "cross_entropy": F.cross_entropy(logits, target),
        "steps": F.cross_entropy(steps.flatten(0, 1), every, reduction="sum", label_smoothing=options.label_smoothing)
        / batch,
        "doubly_stochastic": doubly_stochastic(mask),
    }
    return {"total": terms["steps"] + options.doubly_stochastic * terms["doubly_stochastic"], **terms}
