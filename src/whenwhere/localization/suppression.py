"""Of segments that overlap, the best: non-maximum suppression in time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import get_args

import numpy as np

from whenwhere.geometry import temporal_iou
from whenwhere.localization.options import LocalizationOptions, Suppression
from whenwhere.structures import Segment


def soft_nms(
    segments: np.ndarray,
    scores: np.ndarray,
    kind: Suppression = "gaussian",
    sigma: float = 0.5,
    threshold: float = 0.5,
    floor: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Take the best segment, lower the scores of those that overlap it, and so on (Bodla et al. 2017).

    Args:
        segments: `(N, 2)` start and end.
        scores: `(N,)`, at least 0; of equal ones the first given goes first.
        kind: a score is multiplied by ``exp(-IoU^2 / sigma)`` (``gaussian``), by ``1 - IoU`` (``linear``) or by 0
            (``hard``), the latter two where IoU exceeds ``threshold``; ``none`` only sorts.
        sigma, threshold: see ``kind``.
        floor: segments whose score is or falls below this are left out.

    Returns:
        `(M,)` indices in the order taken, and their `(M,)` scores; those multiplied by 0 are left out.

    Raises:
        ValueError: shapes differ, a segment or score is not a finite number, a score is negative, unknown kind.
    """
    segments, scores = np.asarray(segments, dtype=float).reshape(-1, 2), np.asarray(scores, dtype=float)
    if kind not in get_args(Suppression):
        raise ValueError(f"unknown kind {kind!r}; choose {', '.join(get_args(Suppression))}")
    if scores.shape != (len(segments),):
        raise ValueError(f"expected one score for each of {len(segments)} segments, got shape {scores.shape}")
    if not (np.isfinite(segments).all() and np.isfinite(scores).all() and (scores >= 0).all()):
        raise ValueError("segments and scores must be finite numbers and scores at least 0; some are not")
    waiting = np.flatnonzero(scores >= floor)
    lowered = scores[waiting]
    if kind == "none":
        order = np.argsort(-lowered, kind="stable")
        return waiting[order], lowered[order]
    taken: list[tuple[int, float]] = []
    while len(waiting):
        best = int(lowered.argmax())
        taken.append((int(waiting[best]), float(lowered[best])))
        iou = temporal_iou(segments[waiting[best]], segments[waiting])
        if kind == "gaussian":
            factor = np.exp(-(iou**2) / sigma)
        else:
            factor = np.where(iou > threshold, 1 - iou if kind == "linear" else 0.0, 1.0)
        factor[best] = 0
        left = (factor > 0) & (lowered * factor >= floor)
        waiting, lowered = waiting[left], (lowered * factor)[left]
    return np.array([index for index, _ in taken], dtype=np.int64), np.array([score for _, score in taken])


def suppress_segments(segments: Iterable[Segment], options: LocalizationOptions | None = None) -> tuple[Segment, ...]:
    """Segments of any origin, such as those of overlapping windows: each label's suppressed, sorted by start.

    Those left with less than ``options.score_floor`` of the best score are dropped.

    Raises:
        ValueError: a score is negative.
    """
    options = options or LocalizationOptions()
    by_label: dict[str, list[Segment]] = {}
    for segment in segments:
        by_label.setdefault(segment.label, []).append(segment)
    # No score can rise, so the best one is known beforehand.
    floor = options.score_floor * max((s.score for group in by_label.values() for s in group), default=0.0)
    found: list[Segment] = []
    for group in by_label.values():
        spans, scores = np.array([(s.start, s.end) for s in group]), np.array([s.score for s in group])
        order, scores = soft_nms(spans, scores, options.nms, options.nms_sigma, options.nms_iou, floor)
        found += [replace(group[index], score=float(score)) for index, score in zip(order, scores, strict=True)]
    return tuple(sorted(found, key=lambda s: (s.start, s.end)))
