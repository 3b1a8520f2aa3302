"""What is minimised: cross entropy and weighted priors (Eq. 7)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from whenwhere.layers import frame_contribution
from whenwhere.losses.detection import detection, detection_share
from whenwhere.losses.priors import (
    AreaMeasure,
    contrast,
    contrast_sum,
    doubly_stochastic,
    mask_area,
    persistence,
    total_variation,
    total_variation_sum,
    unimodality,
    unimodality_sum,
)


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
        detection: weight of :func:`detection`, of models with ``class_maps`` (not in the paper).
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
    detection: float = 1.0
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
    absence: int | None = None,
) -> dict[str, Tensor]:
    """Eq. 7 and its terms; ``total`` is what is minimised, the others are unweighted.

    Args:
        logits: `(B, K)`.
        target: `(B,)` class indices.
        mask: `(B, T, 1, H, W)`.
        weights: `(B, S, T)`.
        options: resolved options.
        progress: share of training done, in [0, 1], for the priors' warm-up.
        maps, absence: as of :func:`detection`; None: the model has no map for each class.
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
        terms["detection"] = detection(maps, target, detection_share(progress, options.area_range[0]), absence)
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
