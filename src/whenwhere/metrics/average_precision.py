"""Average precision from ranked detections, under each of the rules that published numbers were made with."""

from __future__ import annotations

from typing import Literal

import numpy as np

Rule = Literal["area", "non_interpolated", "trapezoid"]


def precision_recall(scores: np.ndarray, correct: np.ndarray, positives: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall after each detection, the most confident first; of equal scores the first given comes first.

    Args:
        scores: `(N,)`, any finite numbers.
        correct: `(N,)` bool, whether the detection found a positive that no better one had found.
        positives: true instances, found or not.

    Returns:
        precision `(N,)` and recall `(N,)`, both in [0, 1].

    Raises:
        ValueError: scores are not finite, shapes differ, or more detections are correct than there are positives.
    """
    scores, correct = np.asarray(scores, dtype=float), np.asarray(correct, dtype=bool)
    if scores.shape != correct.shape or scores.ndim != 1:
        raise ValueError(f"scores and correct must both be (N,), got {scores.shape} and {correct.shape}")
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite numbers")
    if correct.sum() > positives:
        raise ValueError(f"{int(correct.sum())} detections are correct, but there are only {positives} positives")
    found = np.cumsum(correct[np.argsort(-scores, kind="stable")])
    return found / np.arange(1, len(found) + 1), found / max(positives, 1)


def average_precision(scores: np.ndarray, correct: np.ndarray, positives: int, rule: Rule = "area") -> float:
    """Average precision in [0, 1]; NaN when there is nothing to be found, 0 when nothing is detected.

    Args:
        scores, correct, positives: as :func:`precision_recall`.
        rule: ``area``: under the curve whose precision is made to fall monotonically, all points (Pascal VOC 2010,
            ActivityNet's evaluator); ``non_interpolated``: mean over positives of the precision at which each is
            found (the THUMOS 2015 kit; scikit-learn, where scores differ); ``trapezoid``: under straight lines
            between the points, from precision 1 at recall 0 (ACT, Kalogeiton et al. 2017).
    """
    precision, recall = precision_recall(scores, correct, positives)
    if positives == 0:
        return float("nan")
    return float(area_under(precision, recall, rule))


def area_under(precision: np.ndarray, recall: np.ndarray, rule: Rule = "area") -> np.ndarray:
    """Area under precision over recall, by the rules of :func:`average_precision`; many curves at once.

    Args:
        precision, recall: `(..., N)` in [0, 1], after each detection, the most confident first.

    Returns:
        `(...)`, 0 where N is 0.
    """
    steps = np.diff(recall, axis=-1, prepend=0.0)
    match rule:
        case "area":
            falling = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
            return np.sum(steps * falling, axis=-1)
        case "non_interpolated":
            return np.sum(steps * precision, axis=-1)
        case "trapezoid":
            last = np.concatenate([np.ones_like(precision[..., :1]), precision[..., :-1]], axis=-1)
            return np.sum(steps * (precision + last) / 2, axis=-1)
    raise ValueError(f"unknown rule {rule!r}; choose area, non_interpolated or trapezoid")
