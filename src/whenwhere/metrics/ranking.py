"""Detections matched once and ranked: AP at several thresholds, and again for any resample of the videos.

Matching is the slow part and never crosses a video, so a bootstrap over videos only repeats and drops what is
already marked right or wrong.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from whenwhere.metrics.average_precision import Rule, area_under

Matching = Literal["argmax", "greedy"]
Label = TypeVar("Label", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Ranked:
    """Detections of one class, the most confident first.

    Attributes:
        scores: `(N,)`, falling.
        correct: `(N, K)` bool, right at each of K thresholds.
        videos: `(N,)`, index of each detection's video.
        positives: `(V,)`, what there is to be found in each video.
        ignored: `(N, K)` bool, neither right nor wrong at each threshold; None: none is.
    """

    scores: np.ndarray
    correct: np.ndarray
    videos: np.ndarray
    positives: np.ndarray
    ignored: np.ndarray | None = None


class MeanAveragePrecision(NamedTuple):
    """AP in [0, 1] at each of K thresholds.

    Attributes:
        mean: `(K,)`, over the classes with something to be found; NaN where there is none.
        per_class: by class `(K,)`, NaN for a class with nothing to be found.
    """

    mean: np.ndarray
    per_class: dict[Hashable, np.ndarray]


def rank(
    scores: np.ndarray,
    correct: np.ndarray,
    videos: np.ndarray,
    positives: np.ndarray,
    ignored: np.ndarray | None = None,
) -> Ranked:
    """Sort detections of one class; of equal scores the first given comes first. Shapes as in :class:`Ranked`."""
    order = np.argsort(-scores, kind="stable")
    ignored = None if ignored is None else ignored[order]
    return Ranked(scores[order], correct[order], videos[order], positives, ignored)


def average_precisions(ranked: Ranked, rule: Rule = "area", counts: np.ndarray | None = None) -> np.ndarray:
    """AP at each threshold, `(K,)`; NaN when there is nothing to be found.

    Args:
        counts: `(V,)` whole numbers, how often each video is in the resample; None: each once. The result is that of
            the videos written out so many times.
    """
    rows, positives = np.arange(len(ranked.scores)), ranked.positives
    if counts is not None:
        counts = np.asarray(counts)
        if counts.shape != positives.shape:
            raise ValueError(f"counts must be {positives.shape}, one a video, got {counts.shape}")
        rows, positives = rows.repeat(counts[ranked.videos]), positives * counts
    correct = ranked.correct[rows].T
    if not (total := int(positives.sum())):
        return np.full(len(correct), np.nan)
    counted = np.ones_like(correct) if ranked.ignored is None else ~ranked.ignored[rows].T
    found, seen = np.cumsum(correct, axis=-1), np.cumsum(counted, axis=-1)
    precision = np.divide(found, seen, out=np.ones(found.shape), where=seen > 0)
    return area_under(precision, found / total, rule)


def mean_average_precision(
    classes: Mapping[Label, Ranked], rule: Rule = "area", counts: np.ndarray | None = None
) -> MeanAveragePrecision:
    """AP per class and its mean over the classes that have something to be found; ``counts`` as above.

    Raises:
        ValueError: no classes.
    """
    if not classes:
        raise ValueError("mean average precision needs at least one class, got none")
    per_class: dict[Hashable, np.ndarray] = {
        label: average_precisions(ranked, rule, counts) for label, ranked in classes.items()
    }
    table = np.stack(list(per_class.values()))
    known = ~np.isnan(table)
    total = np.where(known, table, 0).sum(0)
    mean = np.divide(total, known.sum(0), out=np.full(len(total), np.nan), where=known.any(0))
    return MeanAveragePrecision(mean, per_class)


def match(
    scores: np.ndarray,
    groups: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
    truths: int,
    thresholds: Sequence[float],
    matching: Matching,
) -> np.ndarray:
    """Which detections are right at each threshold; a truth is found once, by the most confident that comes for it.

    Args:
        scores: `(N,)`; of equal scores the first given comes first.
        groups: `(N,)`, what a detection competes in: one class in one frame, or in one video.
        pairs: detection `(P,)`, truth `(P,)` and their overlap `(P,)` > 0, never across groups.
        truths: number of truths.
        thresholds: K, in (0, 1]; an overlap of exactly a threshold is enough.
        matching: ``argmax``: a detection is held against the truth it overlaps most, and is wrong when that is taken
            (Pascal VOC devkit, the TensorFlow object detection API); ``greedy``: against the one it overlaps most of
            those not taken (COCO, and the kits of UCF101-24 and ACT, which strike out what has been found). Of equal
            overlaps the first truth is meant.

    Returns:
        `(N, K)` bool.
    """
    levels = check_thresholds(thresholds)
    if matching not in ("argmax", "greedy"):
        raise ValueError(f"unknown matching {matching!r}; choose argmax or greedy")
    turns = _turns(scores, groups)
    detection, truth, overlap = pairs
    order = np.lexsort((truth, detection, turns[detection]))
    detection, truth, overlap = detection[order], truth[order], overlap[order]
    bounds = np.flatnonzero(np.diff(turns[detection], prepend=-1, append=-1))
    correct = np.zeros((len(scores), len(levels)), dtype=bool)
    taken = np.zeros((truths, len(levels)), dtype=bool)
    # All groups take their first turn at once, then their second: no two detections of a turn share a truth.
    for low, high in pairwise(bounds.tolist()):
        row, column = detection[low:high], truth[low:high]
        values = np.repeat(overlap[low:high, None], len(levels), axis=1)
        if matching == "greedy":
            values[taken[column]] = 0
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        best = np.maximum.reduceat(values, starts)
        sizes = np.diff(starts, append=len(row))
        places = np.where(values == best.repeat(sizes, axis=0), np.arange(len(row))[:, None], len(row))
        chosen = column[np.minimum.reduceat(places, starts)]
        right = (best >= levels) & ~np.take_along_axis(taken, chosen, axis=0)
        which, level = np.nonzero(right)
        taken[chosen[which, level], level] = True
        correct[row[starts]] = right
    return correct


def pairs_within(groups: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of an element of ``groups`` `(N,)` and one of ``others`` `(M,)` that have the same number.

    Returns:
        indices into the two, `(P,)` each, rising.
    """
    order = np.argsort(others, kind="stable")
    known = others[order]
    first, last = np.searchsorted(known, groups, "left"), np.searchsorted(known, groups, "right")
    counts = last - first
    left = np.arange(len(groups)).repeat(counts)
    offsets = np.arange(len(left)) - (np.cumsum(counts) - counts).repeat(counts)
    return left, order[first.repeat(counts) + offsets]


def check_thresholds(thresholds: Sequence[float]) -> np.ndarray:
    """Thresholds on an overlap as `(K,)`.

    Raises:
        ValueError: none, or one outside (0, 1].
    """
    levels = np.asarray(thresholds, dtype=float)
    if levels.ndim != 1 or not len(levels) or not ((levels > 0) & (levels <= 1)).all():
        raise ValueError(f"thresholds must be one or more numbers in (0, 1], got {thresholds!r}")
    return levels


def _turns(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Place of each detection within its group, 0 for the most confident."""
    order = np.lexsort((-scores, groups))
    ordered = groups[order]
    turns = np.empty(len(scores), dtype=int)
    turns[order] = np.arange(len(scores)) - np.searchsorted(ordered, ordered, "left")
    return turns
