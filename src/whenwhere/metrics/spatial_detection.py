"""Where, as the field scores it: frame-mAP and video-mAP of boxes and tubes, from flat arrays.

Three steps, so that each can be had alone: tables of boxes or tubes in, detections matched with the truth and ranked
(:class:`~whenwhere.metrics.ranking.Ranked`, one a class), average precision out. Which kit does what:

=================  =========  ========  ===========  ==========================================================
protocol           matching   boxes     rule         source
=================  =========  ========  ===========  ==========================================================
UCF101-24          greedy     points    area         Singh, Saha et al. 2017 (realtime-action-detection)
ACT                greedy     pixels    trapezoid    Kalogeiton et al. 2017 (act-detector)
AVA                argmax     points    area         Gu et al. 2018 (TensorFlow object detection API)
=================  =========  ========  ===========  ==========================================================

"greedy" may surprise: the kits of UCF101-24 and ACT take the argmax over the truths that are left, since a truth that
has been found is struck from their list. Which form a kit has shows only where truths of one class overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whenwhere.geometry import box_iou
from whenwhere.metrics.average_precision import Rule
from whenwhere.metrics.ranking import Matching, Ranked, match, pairs_within, rank


@dataclass(frozen=True)
class DetectionProtocol:
    """What a kit does where kits differ.

    Attributes:
        name: of the protocol.
        matching: see :func:`~whenwhere.metrics.ranking.match`.
        inclusive: whether corners are pixels, see :func:`~whenwhere.geometry.box_iou`.
        rule: of the average precision.
    """

    name: str
    matching: Matching
    inclusive: bool
    rule: Rule


UCF101_24 = DetectionProtocol("UCF101-24 (Singh, Saha et al. 2017)", "greedy", inclusive=False, rule="area")
ACT = DetectionProtocol("ACT (Kalogeiton et al. 2017)", "greedy", inclusive=True, rule="trapezoid")
AVA = DetectionProtocol("AVA (Gu et al. 2018)", "argmax", inclusive=False, rule="area")


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes on frames, a row each; the truth's scores are not looked at.

    Attributes:
        videos, frames, labels: `(N,)` whole numbers >= 0.
        corners: `(N, 4)` x0, y0, x1, y1. A box without area overlaps nothing; one beyond the frame is taken as it is.
        scores: `(N,)`, higher is surer.
    """

    videos: np.ndarray
    frames: np.ndarray
    labels: np.ndarray
    corners: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        _check_columns(self, len(self.videos), ("videos", "frames", "labels"), "scores")
        _check_corners(self.corners, len(self.videos))


@dataclass(frozen=True, eq=False)
class Tubes:
    """Boxes of one actor over time, a row a tube and a row a box; the truth's scores are not looked at.

    Attributes:
        videos, labels: `(M,)` whole numbers >= 0.
        scores: `(M,)`, higher is surer.
        members: `(N,)`, the tube each box belongs to.
        frames: `(N,)` whole numbers >= 0; a tube has at most one box a frame.
        corners: `(N, 4)`, as in :class:`Boxes`.
        box_scores: `(N,)`; None: that of the tube.
    """

    videos: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    members: np.ndarray
    frames: np.ndarray
    corners: np.ndarray
    box_scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check_columns(self, len(self.videos), ("videos", "labels"), "scores")
        _check_columns(self, len(self.members), ("members", "frames"), "box_scores")
        _check_corners(self.corners, len(self.members))
        if len(self.members) and self.members.max() >= len(self.videos):
            raise ValueError(f"a box belongs to tube {self.members.max()}, but there are only {len(self.videos)} tubes")
        empty = np.flatnonzero(np.bincount(self.members, minlength=len(self.videos)) == 0)
        if len(empty):
            raise ValueError(f"tube {empty[0]} has no boxes; leave it out")
        span = int(self.frames.max(initial=0)) + 1
        keys, counts = np.unique(self.members * span + self.frames, return_counts=True)
        if (counts > 1).any():
            tube, frame = divmod(int(keys[counts > 1][0]), span)
            raise ValueError(f"tube {tube} has more than one box in frame {frame}")

    def boxes(self) -> Boxes:
        """Each box for itself."""
        scores = self.scores[self.members] if self.box_scores is None else self.box_scores
        return Boxes(self.videos[self.members], self.frames, self.labels[self.members], self.corners, scores)


def rank_boxes(
    detections: Boxes, truth: Boxes, videos: int, thresholds: Sequence[float], protocol: DetectionProtocol = UCF101_24
) -> dict[int, Ranked]:
    """Frame detections of each class, matched frame by frame: what frame-mAP is made of.

    Args:
        detections, truth: their video numbers are below ``videos``.
        videos: V, how many there are, with or without boxes.
        thresholds: K, on the IoU of two boxes, in (0, 1].

    Returns:
        by label, those of detections and truth.

    Raises:
        ValueError: a true box has no area, a video number is too large, a threshold is out of range.
    """
    _check(detections, truth, videos, protocol)
    span = int(max(detections.frames.max(initial=0), truth.frames.max(initial=0))) + 1
    groups, others = ((table.labels * videos + table.videos) * span + table.frames for table in (detections, truth))
    one, other = pairs_within(groups, others)
    pairs = _overlapping(one, other, box_iou(detections.corners[one], truth.corners[other], protocol.inclusive))
    correct = match(detections.scores, groups, pairs, len(truth.videos), thresholds, protocol.matching)
    return _by_class(detections, truth, correct, videos)


def rank_tubes(
    detections: Tubes, truth: Tubes, videos: int, thresholds: Sequence[float], protocol: DetectionProtocol = UCF101_24
) -> dict[int, Ranked]:
    """Tubes of each class, matched video by video: what video-mAP is made of. Arguments as :func:`rank_boxes`."""
    _check(detections, truth, videos, protocol)
    groups, others = (table.labels * videos + table.videos for table in (detections, truth))
    one, other = pairs_within(groups, others)
    pairs = _overlapping(one, other, tube_iou(detections, truth, one, other, protocol.inclusive))
    correct = match(detections.scores, groups, pairs, len(truth.videos), thresholds, protocol.matching)
    return _by_class(detections, truth, correct, videos)


def tube_iou(a: Tubes, b: Tubes, one: np.ndarray, other: np.ndarray, inclusive: bool = False) -> np.ndarray:
    """Temporal IoU times the mean spatial IoU over the shared frames, of pairs of tubes.

    The same as the mean over the frames of either tube, with 0 where only one has a box; and this is how gaps count,
    so that two boxes far apart do not stand for all the frames between. A single shared frame counts too (the MATLAB
    kit of UCF101-24 leaves it out; the shortest tube of its test videos has 4 frames).

    Args:
        one, other: `(P,)`, indices into the tubes of ``a`` and of ``b``.
        inclusive: see :func:`~whenwhere.geometry.box_iou`.

    Returns:
        `(P,)` in [0, 1].
    """
    span = int(max(a.frames.max(initial=0), b.frames.max(initial=0))) + 1
    rows, lengths = _rows(a)
    other_rows, other_lengths = _rows(b)
    # One line for each box of a pair's first tube, and where the second has its box in that frame, if it has.
    counts = lengths[one]
    pair = np.arange(len(one)).repeat(counts)
    offsets = np.arange(len(pair)) - (np.cumsum(counts) - counts).repeat(counts)
    left = rows[(np.cumsum(lengths) - lengths)[one].repeat(counts) + offsets]
    keys = b.members[other_rows] * span + b.frames[other_rows]
    wanted = other[pair] * span + a.frames[left]
    place = np.searchsorted(keys, wanted)
    shared = np.append(keys, -1)[place] == wanted
    pair, left, right = pair[shared], left[shared], other_rows[place[shared]]
    ious = box_iou(a.corners[left], b.corners[right], inclusive)
    total = np.bincount(pair, ious, minlength=len(one))
    either = lengths[one] + other_lengths[other] - np.bincount(pair, minlength=len(one))
    return total / np.maximum(either, 1)


def _rows(tubes: Tubes) -> tuple[np.ndarray, np.ndarray]:
    """Rows of boxes tube by tube, each in order of its frames; boxes of each tube."""
    return np.lexsort((tubes.frames, tubes.members)), np.bincount(tubes.members, minlength=len(tubes.videos))


def _overlapping(one: np.ndarray, other: np.ndarray, overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    some = overlaps > 0
    return one[some], other[some], overlaps[some]


def _by_class(detections: Boxes | Tubes, truth: Boxes | Tubes, correct: np.ndarray, videos: int) -> dict[int, Ranked]:
    ranked = {}
    for label in np.union1d(detections.labels, truth.labels).tolist():
        own = np.flatnonzero(detections.labels == label)
        positives = np.bincount(truth.videos[truth.labels == label], minlength=videos)
        ranked[label] = rank(detections.scores[own], correct[own], detections.videos[own], positives)
    return ranked


def _check_columns(table: Boxes | Tubes, rows: int, numbers: tuple[str, ...], scores: str) -> None:
    kind = type(table).__name__
    for name in (*numbers, scores):
        column = getattr(table, name)
        if column is None:
            continue
        if column.shape != (rows,):
            raise ValueError(f"{kind}.{name} must be ({rows},), got {column.shape}")
        if name in numbers and (not np.issubdtype(column.dtype, np.integer) or (column < 0).any()):
            raise ValueError(f"{kind}.{name} must be whole numbers >= 0, got {column.dtype}: {column}")
        if name == scores and not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            raise ValueError(f"{kind}.{name} must be finite, got {column[row]} in row {row}")


def _check_corners(corners: np.ndarray, rows: int) -> None:
    if corners.shape != (rows, 4):
        raise ValueError(f"corners must be ({rows}, 4), got {corners.shape}")
    bad = np.flatnonzero(~np.isfinite(corners).all(1))
    if len(bad):
        raise ValueError(f"box {bad[0]} is not finite: {corners[bad[0]].tolist()}; leave out frames without a box")


def _check(detections: Boxes | Tubes, truth: Boxes | Tubes, videos: int, protocol: DetectionProtocol) -> None:
    for name, table in (("detections", detections), ("truth", truth)):
        if len(table.videos) and table.videos.max() >= videos:
            raise ValueError(f"{name} has video number {table.videos.max()}, but there are only {videos} videos")
    extra = 1 if protocol.inclusive else 0
    bad = np.flatnonzero((truth.corners[:, 2:] - truth.corners[:, :2] + extra <= 0).any(1))
    if len(bad):
        box = truth.corners[bad[0]].tolist()
        raise ValueError(f"true box {bad[0]} has no area and can't be found: {box}; leave it out")
