"""What all protocols share: a score that can be taken again on any resample of the videos, and the result as JSON."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whenwhere.metrics.average_precision import Rule
from whenwhere.metrics.bootstrap import bootstrap_statistics
from whenwhere.metrics.ranking import Ranked, mean_average_precision

RESAMPLES = 200


@dataclass(frozen=True, eq=False)  # arrays do not compare to one truth value
class Measured:
    """What one answer scores at K thresholds.

    Attributes:
        mean: `(K,)` in [0, 1], over all classes.
        per_class: `(K,)` by class; NaN for one that cannot be scored.
        videos: V, from which a resample is drawn.
        again: ``mean`` of a resample, from how often each video is in it, `(V,)`; NaN where nothing is to be found.
    """

    mean: np.ndarray
    per_class: Mapping[Hashable, np.ndarray]
    videos: int
    again: Callable[[np.ndarray], np.ndarray]


def measured_map(classes: Mapping[str, Ranked], rule: Rule) -> Measured:
    """Mean average precision of matched detections."""
    result = mean_average_precision(classes, rule)
    videos = len(next(iter(classes.values())).positives)
    return Measured(
        result.mean, result.per_class, videos, lambda counts: mean_average_precision(classes, rule, counts).mean
    )


def measured_rate(rates: np.ndarray, sizes: np.ndarray, per_class: Mapping[Hashable, np.ndarray]) -> Measured:
    """A share of hits that is known by video: ``rates`` `(V, K)`, each of ``sizes`` `(V,)` things."""

    def again(counts: np.ndarray) -> np.ndarray:
        weights = counts * sizes
        return np.average(rates, axis=0, weights=weights) if weights.any() else np.full(rates.shape[1], np.nan)

    return Measured(again(np.ones(len(sizes))), per_class, len(sizes), again)


def protocol_result(
    name: str,
    thresholds: tuple[str, Sequence[float]],
    measured: Measured,
    controls: Mapping[str, Measured],
    *,
    n: int,
    unit: str,
    videos: int,
    predictions: int,
    notes: Sequence[str],
    resamples: int,
) -> dict[str, Any]:
    """What every protocol returns, see :mod:`whenwhere.evaluation.protocols`.

    Args:
        thresholds: what they are on, ``tiou`` or ``iou``, and the K thresholds.
        resamples: for the interval; 0: none.
    """
    on, levels = thresholds
    low = high = np.full(len(measured.mean), np.nan)
    if resamples:
        ends = bootstrap_statistics(measured.again, measured.videos, resamples=resamples)
        low, high = (np.broadcast_to(end, measured.mean.shape) for end in ends)
    return {
        "protocol": name,
        on: [float(level) for level in levels],
        "map": _plain(measured.mean),
        "low": _plain(low),
        "high": _plain(high),
        "resamples": resamples,
        "per_class": {str(label): _plain(values) for label, values in measured.per_class.items()},
        "controls": {control: _plain(answer.mean) for control, answer in controls.items()},
        "n": n,
        "unit": unit,
        "videos": videos,
        "predictions": predictions,
        "notes": list(notes),
    }


def strangers(what: str, names: Iterable[str], known: Iterable[str], fate: str) -> list[str]:
    """In words, predictions of videos or classes (``what``) that the truth does not have; none: no words.

    Args:
        names: of each prediction.
        fate: what becomes of them.
    """
    known = set(known)
    strange = [name for name in names if name not in known]
    if not strange:
        return []
    few = ", ".join(sorted(set(strange))[:3])
    return [f"{len(strange)} predictions are of {what} that the truth does not have and {fate}: {few}"]


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
