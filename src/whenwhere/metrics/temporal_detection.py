"""Temporal action detection: segments with a class and a score against true ones, many videos at once.

By ActivityNet's evaluator each detection takes a truth, by the THUMOS14 kit each truth takes a detection. Both end
in what :func:`whenwhere.metrics.ranking.mean_average_precision` reads, for all videos or any resample of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from whenwhere.geometry import temporal_iou
from whenwhere.metrics.ranking import Ranked, check_thresholds, match, pairs_within, rank
from whenwhere.metrics.temporal import check_segments

AMBIGUOUS = "Ambiguous"


@dataclass(frozen=True, eq=False)  # arrays do not compare to one truth value
class SegmentTable:
    """Segments of many videos as columns; videos and labels are names or numbers.

    Attributes:
        videos, labels: `(N,)`.
        segments: `(N, 2)`, start and end in seconds; of no length they can neither find nor be found.
        scores: `(N,)`, higher is surer; None for a truth.
    """

    videos: np.ndarray
    labels: np.ndarray
    segments: np.ndarray
    scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", check_segments(self.segments))
        for name in ("videos", "labels", "scores"):
            values = getattr(self, name)
            if name == "scores" and values is None:
                continue
            values = np.asarray(values)
            if values.shape != (len(self),):
                raise ValueError(f"{name} must be ({len(self)},), one a segment, got {values.shape}")
            object.__setattr__(self, name, values)
        if self.scores is not None and not np.isfinite(self.scores).all():
            raise ValueError(f"{int((~np.isfinite(self.scores)).sum())} of {len(self)} scores are not finite numbers")

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[str, str, float, float]], scores: ArrayLike | None = None) -> SegmentTable:
        """Rows of video, label, start, end, and their scores if any."""
        videos, labels, starts, ends = zip(*rows) if rows else ((),) * 4
        times = np.array([starts, ends], dtype=float).T
        known = None if scores is None else np.asarray(scores, dtype=float)
        return cls(np.array(videos, dtype=str), np.array(labels, dtype=str), times, known)

    def __len__(self) -> int:
        return len(self.segments)

    def pick(self, rows: np.ndarray) -> SegmentTable:
        """Some rows, by their numbers or as `(N,)` bool."""
        scores = None if self.scores is None else self.scores[rows]
        return SegmentTable(self.videos[rows], self.labels[rows], self.segments[rows], scores)


def activitynet_detection(
    predicted: SegmentTable, truth: SegmentTable, thresholds: Sequence[float], videos: ArrayLike | None = None
) -> dict[str, Ranked]:
    """Right and wrong detections by ActivityNet's evaluator (``ANETdetection``, 2016 to now).

    The detections of a class are ranked over all videos; each takes, of the truths of its video and class that no
    better one has taken, the one of highest tIoU, if that is at least the threshold. A second detection of the same
    truth is wrong. AP is then the area under the interpolated curve, all points: rule ``area``. Of equal scores the
    first given comes first, where the original leaves it open.

    Args:
        predicted: with scores; classes without truth have no AP and are left out.
        truth: the same classes and videos.
        thresholds: K, in (0, 1].
        videos: names of all videos, as a bootstrap needs them; None: those of either table.

    Returns:
        by class with truth what ranking and AP need; positions in ``videos`` stand for videos.

    Raises:
        ValueError: no scores, a threshold outside (0, 1], or a video that is not in ``videos``.
    """
    names = _video_names(predicted, truth, videos)
    groups, others = _groups(predicted, truth)
    pairs = _overlapping(predicted, truth, groups, others)
    correct = match(_scores(predicted), groups, pairs, len(truth), thresholds, "greedy")
    return _by_class(predicted, truth, correct, None, names)


def thumos14_detection(
    predicted: SegmentTable, truth: SegmentTable, thresholds: Sequence[float], videos: ArrayLike | None = None
) -> dict[str, Ranked]:
    """Right, wrong and ignored detections by the THUMOS14 kit as updated in 2015 (``TH14evalDet_Updated.m``).

    Not a detection chooses here but a truth: the truths of a video and class, in the order given, each take the free
    detection of highest tIoU if that is *above* the threshold. What remains and overlaps a segment labelled Ambiguous,
    of any class and by however little, is neither right nor wrong. Of equal scores those of the video first by name
    come first, then the first given. AP is the mean over truths of the precision at which each is found: rule
    ``non_interpolated``. (The first kit, ``TH14evaldet.m`` of 2014, differs in AP only, taken at eleven recalls.)

    Arguments, result and errors as :func:`activitynet_detection`; ``truth`` holds the Ambiguous segments, too.
    """
    levels, names = check_thresholds(thresholds), _video_names(predicted, truth, videos)
    by_name = np.unique(predicted.videos, return_inverse=True)[1]
    ranked = predicted.pick(np.lexsort((by_name, -_scores(predicted))))
    unclear, truth = truth.pick(truth.labels == AMBIGUOUS), truth.pick(truth.labels != AMBIGUOUS)
    found, true, overlap = _overlapping(ranked, truth, *_groups(ranked, truth))
    order = np.lexsort((found, -overlap, true))
    reached = np.searchsorted(np.sort(levels), overlap, side="left")
    correct = _take(found[order], true[order], reached[order], (len(ranked), len(truth)), levels)
    near = _overlapping(ranked, unclear, *_codes(ranked.videos, unclear.videos))[0]
    touching = np.isin(np.arange(len(ranked)), near)
    return _by_class(ranked, truth, correct, touching[:, None] & ~correct, names)


def _scores(predicted: SegmentTable) -> np.ndarray:
    if predicted.scores is None:
        raise ValueError("predicted segments need scores")
    return predicted.scores


def _video_names(predicted: SegmentTable, truth: SegmentTable, videos: ArrayLike | None) -> np.ndarray:
    """Names of all videos, sorted."""
    used = np.union1d(predicted.videos, truth.videos)
    if videos is None:
        return used
    names = np.unique(np.asarray(videos))
    if len(strange := np.setdiff1d(used, names)):
        raise ValueError(f"{len(strange)} videos with segments are not among the {len(names)} given: {strange[0]}, ...")
    return names


def _groups(predicted: SegmentTable, truth: SegmentTable) -> tuple[np.ndarray, np.ndarray]:
    """A number for the video and label of each row, the same in both."""
    videos, true_videos = _codes(predicted.videos, truth.videos)
    labels, true_labels = _codes(predicted.labels, truth.labels)
    kinds = len(predicted) + len(truth)
    return videos * kinds + labels, true_videos * kinds + true_labels


def _overlapping(
    predicted: SegmentTable, truth: SegmentTable, groups: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the two tables that overlap in one group, and their tIoU > 0, `(P,)` each."""
    found, true = pairs_within(groups, others)
    overlap = temporal_iou(predicted.segments[found], truth.segments[true])
    keep = overlap > 0
    return found[keep], true[keep], overlap[keep]


def _codes(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same number for the same name in both."""
    codes = np.unique(np.concatenate([first, second]), return_inverse=True)[1]
    return codes[: len(first)], codes[len(first) :]


def _take(
    found: np.ndarray, true: np.ndarray, reached: np.ndarray, sizes: tuple[int, int], levels: np.ndarray
) -> np.ndarray:
    """Join pairs in the order given wherever both sides are still free; which detections got a truth, `(N, K)` bool.

    One pass for all thresholds: bit k of a number stands for the k-th lowest, ``reached`` `(P,)` counts how many of
    them a pair's overlap satisfies. With three thresholds a pair that reaches two is 0b011; where its truth is already
    taken at the lowest, it is joined at the middle one alone, 0b010.
    """
    every = (1 << len(levels)) - 1
    masks = [(1 << count) - 1 for count in range(len(levels) + 1)]
    free_detections, free_truths = [every] * sizes[0], [every] * sizes[1]
    keep = reached > 0
    for detection, truth, count in zip(found[keep].tolist(), true[keep].tolist(), reached[keep].tolist()):
        joined = masks[count] & free_detections[detection] & free_truths[truth]
        free_detections[detection] ^= joined
        free_truths[truth] ^= joined
    lowest_first = [[not free >> bit & 1 for bit in range(len(levels))] for free in free_detections]
    correct = np.array(lowest_first, dtype=bool).reshape(sizes[0], len(levels))
    return correct[:, np.argsort(np.argsort(levels))]


def _by_class(
    predicted: SegmentTable, truth: SegmentTable, correct: np.ndarray, ignored: np.ndarray | None, names: np.ndarray
) -> dict[str, Ranked]:
    classes = {}
    for label in np.unique(truth.labels).tolist():
        rows = predicted.labels == label
        places = np.searchsorted(names, truth.videos[truth.labels == label])
        classes[label] = rank(
            _scores(predicted)[rows],
            correct[rows],
            np.searchsorted(names, predicted.videos[rows]),
            np.bincount(places, minlength=len(names)),
            None if ignored is None else ignored[rows],
        )
    return classes
