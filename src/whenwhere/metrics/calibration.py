"""Whether a model is right as often as it says (Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from whenwhere.metrics.classification import check_logits

TEMPERATURES = (0.01, 100.0)  # least and greatest that a fit may give


def confidences(logits: Tensor) -> np.ndarray:
    """Probability of the class named, `(N, K)` to `(N,)` in [1 / K, 1]; in double precision, where few round to 1."""
    return logits.double().softmax(1).amax(1).cpu().numpy()


@dataclass(frozen=True)
class Reliability:
    """How confident and how right a model is, bin by bin of its confidence.

    Attributes:
        edges: `(bins + 1,)`; a bin holds its upper edge and not its lower one.
        weight: `(bins,)`, clips in each.
        confidence, accuracy: `(bins,)`, means over each bin's clips; NaN in an empty bin.
    """

    edges: np.ndarray
    weight: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean over clips of their bin's |accuracy - confidence|."""
        return float(np.nansum(self.weight * np.abs(self.accuracy - self.confidence)) / self.weight.sum())


def reliability(
    confidence: ArrayLike,
    correct: ArrayLike,
    bins: int = 15,
    adaptive: bool = False,
    weights: ArrayLike | None = None,
) -> Reliability:
    """Reliability diagram; its ``error`` is ECE: ``reliability(confidences(logits), top_k_hits(logits, labels))``.

    The bins are those of Guo et al. 2017, Eq. 3, open below and closed above. torchmetrics 1.9 closes them below, so
    that confidences of exactly 1 fall into a sixteenth bin of their own.

    ECE of few clips is too high even for a model that is perfectly calibrated, and that of clips drawn with
    replacement higher still, so a bootstrap interval may lie above the figure it belongs to.

    Args:
        confidence: `(N,)` in [0, 1].
        correct: `(N,)` bool or 0 and 1, whether the class named is the right one.
        bins: how many.
        adaptive: bins of equally many clips, whatever their weights, instead of equal width (Nixon et al. 2019).
        weights: `(N,)`, how often each clip counts, for :func:`whenwhere.metrics.bootstrap.bootstrap_statistic`.

    Raises:
        ValueError: no clips, shapes that differ, fewer than one bin, confidences outside [0, 1], ``correct`` other than
            0 and 1.
    """
    confidence, correct = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    weights = np.ones(len(confidence)) if weights is None else np.asarray(weights, dtype=float)
    if not confidence.shape == correct.shape == weights.shape == (len(confidence),):
        shapes = f"{confidence.shape}, {correct.shape} and {weights.shape}"
        raise ValueError(f"confidence, correct and weights must be (N,), got {shapes}")
    if not weights.sum() > 0:
        raise ValueError("no clips to measure calibration on")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("confidences must be probabilities in [0, 1]; pass logits through confidences() first")
    if not ((correct == 0) | (correct == 1)).all():
        raise ValueError("correct must say of each clip whether its class was named, True or False")
    if bins < 1:
        raise ValueError(f"a reliability diagram needs at least one bin, got {bins}")
    edges = np.linspace(0, 1, bins + 1)
    if adaptive:
        edges[1:-1] = np.quantile(confidence, edges[1:-1])
    which = np.searchsorted(edges[1:-1], confidence, side="left")
    weight = np.bincount(which, weights, minlength=bins)
    filled = np.where(weight > 0, weight, np.nan)
    mean_confidence = np.bincount(which, weights * confidence, minlength=bins) / filled
    return Reliability(edges, weight, mean_confidence, np.bincount(which, weights * correct, minlength=bins) / filled)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature under which ``logits / temperature`` make the labels most likely (Guo et al. 2017, Sec. 4.2).

    Fitted on validation clips, it makes confidences honest and leaves every prediction as it was. The likelihood is
    concave in 1 / temperature, so halving an interval finds its one maximum. Where there is none inside, an end of
    ``TEMPERATURES`` comes back: the lower one when all clips are named rightly, the upper one when the logits are no
    better than noise. Logits that are equal within every clip give 1.

    Args:
        logits: `(N, K)`, finite.
        labels: `(N,)`.

    Raises:
        ValueError: as :func:`whenwhere.metrics.classification.check_logits`, or a logit is -inf.
    """
    check_logits(logits, labels)
    if not logits.isfinite().all():
        raise ValueError("a temperature needs finite logits; some are -inf")
    logits = logits.double() - logits.double().amax(1, keepdim=True)
    if not logits.any():
        return 1.0
    own = logits.gather(1, labels[:, None].long()).mean()
    low, high = (float(np.log(end)) for end in TEMPERATURES)
    for _ in range(40):
        middle = (low + high) / 2
        # Derivative of the negative log-likelihood by 1 / temperature: expected logit minus that of the label.
        expected = ((logits / np.exp(middle)).softmax(1) * logits).sum(1).mean()
        low, high = (middle, high) if expected > own else (low, middle)
    return float(np.exp((low + high) / 2))
