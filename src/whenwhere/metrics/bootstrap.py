"""How far a figure might be off: percentile bootstrap intervals over clips (Efron and Tibshirani 1993, chapter 13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_BLOCK = 4_000_000  # drawn indices held at once: 32 MB


@dataclass(frozen=True)
class Estimate:
    """A figure, its interval and how many clips or frames it stands on.

    Attributes:
        value: NaN where nothing could be measured.
        low, high: ends of the interval; NaN where there is none.
        count: clips, frames or whatever was measured.
    """

    value: float
    low: float
    high: float
    count: int


def best_of(estimates: Mapping[str, Estimate], higher_is_better: bool = True) -> str:
    """Name of the best estimate, the first of equals; one that is NaN is worst."""
    sign = 1 if higher_is_better else -1
    return max(estimates, key=lambda name: np.nan_to_num(sign * estimates[name].value, nan=-np.inf))


def bootstrap_interval(
    values: ArrayLike,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the mean of ``values``, ``(nan, nan)`` with fewer than two clips, or groups, to draw from.

    Equal values give an interval of no width: 20 clips of 20 say ``(1, 1)``. For shares near 0 or 1 use
    :func:`whenwhere.metrics.classification.wilson_interval`.

    Args:
        values: `(N,)`, one for each clip: a hit, an IoU, an area under a curve.
        groups: `(N,)`, any labels. What is of one group is drawn together: the frames of a clip, the clips cut from
            one recording. They resemble one another, and drawn one by one they would promise too narrow an interval.
        confidence: share of such intervals that shall hold the true mean, in (0, 1).
        resamples: how often the clips are drawn anew.
        seed: the same seed and number of clips give the same draws, whatever is measured on them.

    Raises:
        ValueError: values that are not `(N,)` or not finite, groups of another shape, confidence outside (0, 1),
            fewer than one resample.
    """
    values = _finite(values)
    members, count = _groups(groups, len(values))
    sums = np.bincount(members, weights=values, minlength=count)
    sizes = np.bincount(members, minlength=count)
    draws = _draws(count, confidence, resamples, seed)
    means = [sums[drawn].sum(1) / sizes[drawn].sum(1) for drawn in draws]
    return _percentiles(np.concatenate([np.zeros(0), *means]), confidence)


def bootstrap_statistic(
    statistic: Callable[[np.ndarray], float],
    count: int,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of anything that can be computed from weighted clips, a mean average precision for instance.

    What is costly, such as matching detections to the truth, is done once, before; ``statistic`` only weighs it.
    Draws in which the statistic is NaN (no clip with anything to find) are left out; where they are half or more, the
    interval is ``(nan, nan)``.

    Args:
        statistic: from how often each clip was drawn, `(N,)` integers that may be 0, to the figure.
        count: N, clips.
        groups, confidence, resamples, seed: as :func:`bootstrap_interval`.
    """
    low, high = bootstrap_statistics(lambda counts: [statistic(counts)], count, groups, confidence, resamples, seed)
    return float(low[0]), float(high[0])


def bootstrap_statistics(
    statistics: Callable[[np.ndarray], ArrayLike],
    count: int,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`bootstrap_statistic` of several figures that are computed at once, AP at K thresholds for instance.

    Returns:
        low and high, `(K,)` each; `(1,)` NaN where there are fewer than two clips, or groups, to draw from.
    """
    members, units = _groups(groups, count)
    values = [
        np.asarray(statistics(np.bincount(row, minlength=units)[members]), dtype=float)
        for drawn in _draws(units, confidence, resamples, seed)
        for row in drawn
    ]
    ends = [_percentiles(column, confidence) for column in (np.stack(values).T if values else np.zeros((1, 0)))]
    low, high = np.array(ends).T
    return low, high


def paired_difference(
    ours: ArrayLike,
    control: ArrayLike,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Mean of ``ours - control`` on the same clips, and its percentile interval: ``(difference, low, high)``.

    A low end above 0 says that the control is beaten, at this confidence. Clips that are hard for both cancel, so
    this tells answers apart whose own intervals overlap. The difference of no clips is NaN. Differences of other
    statistics: ``bootstrap_statistic(lambda w: map_of(ours, w) - map_of(control, w), N)``.

    Args:
        ours, control: `(N,)`, the measure of each clip under either answer.
        groups, confidence, resamples, seed: as :func:`bootstrap_interval`.

    Raises:
        ValueError: as :func:`bootstrap_interval`, or the two differ in length.
    """
    ours, control = _finite(ours), _finite(control)
    if ours.shape != control.shape:
        raise ValueError(
            f"paired values must be of the same clips, got {len(ours)} of ours and {len(control)} of the control"
        )
    difference = ours - control
    interval = bootstrap_interval(difference, groups, confidence, resamples, seed)
    return (float(difference.mean()) if len(difference) else float("nan"), *interval)


def _finite(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim != 1:
        raise ValueError(f"values must be (N,), one for each clip, got {values.shape}")
    if bad := int((~np.isfinite(values)).sum()):
        raise ValueError(
            f"{bad} of {len(values)} values are not finite numbers; "
            "leave out the clips on which the measure is not defined, and say how many remain"
        )
    return values


def _groups(groups: ArrayLike | None, count: int) -> tuple[np.ndarray, int]:
    """Which unit of drawing each clip belongs to, `(N,)`, and how many units there are."""
    if groups is None:
        return np.arange(count), count
    groups = np.asarray(groups)
    if groups.shape != (count,):
        raise ValueError(f"groups must name the group of each of the {count} clips, got an array {groups.shape}")
    names, members = np.unique(groups, return_inverse=True)
    return members, len(names)


def _draws(units: int, confidence: float, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks `(R, units)` of indices drawn with replacement, ``resamples`` rows in all; none for fewer than two units.

    Summing drawn values took a sixth of the time of multinomial weights times values.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    if units < 2:
        return
    random, rows = np.random.default_rng(seed), max(1, _BLOCK // units)
    for first in range(0, resamples, rows):
        yield random.integers(units, size=(min(rows, resamples - first), units))


def _percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if len(known) <= len(values) / 2:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
