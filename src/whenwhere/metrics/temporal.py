"""How well moments agree: on frames, on segments in seconds, and by the rule of the paper's Table 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from torch import Tensor

# How the published numbers of Table 4 were made: frames 10 a second, 50 in a window, at most 30 of them the action's.
PAPER_RATE, PAPER_FRAMES, PAPER_TRUE_FRAMES = 10, 50, 30


def frame_iou(predicted: Tensor, truth: Tensor) -> Tensor:
    """Temporal IoU on frames: frames in both over frames in either, 0 where both are empty.

    Args:
        predicted, truth: `(..., T)` bool.

    Returns:
        `(...)` in [0, 1].
    """
    both = (predicted & truth).sum(-1)
    either = (predicted | truth).sum(-1)
    return both / either.clamp_min(1)


def check_segments(segments: ArrayLike) -> np.ndarray:
    """Segments as `(N, 2)` float; no segments, of whatever shape, as `(0, 2)`.

    Raises:
        ValueError: another shape, a time that is not a finite number, or an end before its start.
    """
    segments = np.asarray(segments, dtype=float)
    if segments.size == 0:
        return segments.reshape(0, 2)
    if segments.ndim != 2 or segments.shape[1] != 2:
        raise ValueError(f"segments must be (N, 2), start and end in seconds, got {segments.shape}")
    if len(bad := np.flatnonzero(~np.isfinite(segments).all(1))):
        raise ValueError(f"segment {bad[0]} of {len(segments)} is not finite: {segments[bad[0]].tolist()}")
    if len(bad := np.flatnonzero(segments[:, 1] < segments[:, 0])):
        raise ValueError(f"segment {bad[0]} of {len(segments)} ends before it starts: {segments[bad[0]].tolist()}")
    return segments


def pointing_in_time(moments: ArrayLike, segments: ArrayLike, tolerance: float = 0.0) -> np.ndarray:
    """Whether each moment lies in any of the segments: the pointing game (Zhang et al. 2016) on the time axis.

    Args:
        moments: `(N,)` seconds, where each answer peaks.
        segments: `(M, 2)`, the true ones.
        tolerance: seconds by which a moment may miss; both ends count as inside.

    Returns:
        `(N,)` bool, False where there are no segments.

    Raises:
        ValueError: as :func:`check_segments`, moments that are not finite, or a negative tolerance.
    """
    moments, segments = np.asarray(moments, dtype=float), check_segments(segments)
    if moments.ndim != 1 or not np.isfinite(moments).all():
        raise ValueError(f"moments must be (N,) finite seconds, got {moments.tolist()}")
    if not 0 <= tolerance < np.inf:
        raise ValueError(f"tolerance must be 0 or more seconds, got {tolerance}")
    after = moments[:, None] >= segments[None, :, 0] - tolerance
    before = moments[:, None] <= segments[None, :, 1] + tolerance
    return np.any(after & before, axis=1)


def frame_average_precision(scores: ArrayLike, truth: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """Frame-level AP of each class: every frame of every video is a sample, ranked over all of them.

    The mean over classes is the per-frame mAP of MultiTHUMOS (Yeung et al. 2018). Frames of equal score are counted
    together, as scikit-learn and torchmetrics do, so that their order does not matter.

    Args:
        scores: `(N, C)`, any finite numbers.
        truth: `(N, C)` bool.
        weights: `(N,)` >= 0, how much each frame counts: that of its video in a bootstrap, say.

    Returns:
        `(C,)` in [0, 1]; NaN for a class without a true frame.

    Raises:
        ValueError: shapes differ, scores are not finite or weights negative.
    """
    scores, truth = np.asarray(scores, dtype=float), np.asarray(truth, dtype=bool)
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=float)
    if scores.ndim != 2 or scores.shape != truth.shape or weights.shape != scores.shape[:1]:
        raise ValueError(
            f"scores and truth must both be (N, C) and weights (N,), got {scores.shape}, {truth.shape}, {weights.shape}"
        )
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are not finite numbers")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("weights must be finite and 0 or more")
    return np.array([_tied_average_precision(*column, weights) for column in zip(scores.T, truth.T)])


def _tied_average_precision(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)[: len(scores)]  # of each run of equal scores
    found = np.cumsum((weights * truth)[order])[last]
    seen = np.cumsum(weights[order])[last]
    if not len(found) or found[-1] == 0:
        return float("nan")
    precision = np.divide(found, seen, out=np.zeros(len(found)), where=seen > 0)
    return float(np.sum(np.diff(found, prepend=0) * precision) / found[-1])


def paper_window(start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """The frames by which one true segment is judged in the paper's Table 4, read off its public scripts.

    Of the video's frames at 10 a second, 50 are taken: the segment's own, one by one or in as large a step as leaves
    30 of them, and before and after it frames at the same step.

        paper_window(2.0, 4.0)    # frames 5 ... 54; true are 20 ... 40, the segment's 21
        paper_window(20.0, 29.0)  # step 3: 170 ... 197, then true 200 ... 287, then 291 ... 318

    The end of the video is not looked at: where it comes early, repeat its last frame as the scripts do. What lies
    before and after only serves to scale attention from 0 to 1; it does not enter the score.

    Args:
        start, end: seconds, ``0 <= start <= end``.

    Returns:
        numbers of the frames, `(50,)`, rising (frame i is at i / 10 s), and `(50,)` bool, True within the segment.
    """
    if not 0 <= start <= end < np.inf:
        raise ValueError(f"a window needs 0 <= start <= end, got {start} to {end}")
    first, last = int(start * PAPER_RATE), int(end * PAPER_RATE)
    step = max((last - first) // PAPER_TRUE_FRAMES, 1)
    inside = np.arange(first, last + 1, step)
    if last - first > PAPER_TRUE_FRAMES:
        inside = inside[:PAPER_TRUE_FRAMES]
    before = first - step * np.arange(1, (PAPER_FRAMES + 1 - len(inside)) // 2 + 1)[::-1]
    before = before[before >= 0]
    after = last + 1 + step * np.arange(PAPER_FRAMES - len(inside) - len(before))
    frames = np.concatenate([before, inside, after])
    return frames, np.isin(frames, inside)


def paper_recall(predicted: ArrayLike, truth: ArrayLike) -> np.ndarray:
    """What the paper's Table 4 calls IoU: frames in both over frames in the *truth*, that is, recall.

    Calling every frame important scores 1, whatever the video: read it beside its controls only. (The last public
    script divides by 30, which a window has at most, also where its segment has fewer.)

    Args:
        predicted, truth: `(..., T)` bool.

    Returns:
        `(...)` in [0, 1]; NaN where no frame is true.
    """
    true = np.asarray(truth, dtype=bool)
    both, total = np.sum(np.asarray(predicted, dtype=bool) & true, axis=-1), np.sum(true, axis=-1)
    return np.divide(both, total, out=np.full(np.shape(total), np.nan), where=total > 0)


def paper_hit_rate(recall: ArrayLike, thresholds: ArrayLike) -> np.ndarray:
    """Share of windows whose recall is *above* each threshold: the paper's "mAP", `(N,)` and `(K,)` to `(K,)`.

    NaN in ``recall`` is left out; without any other the result is NaN.
    """
    values = np.asarray(recall, dtype=float)
    values, levels = values[~np.isnan(values)], np.asarray(thresholds, dtype=float)
    hits = np.sum(values[:, None] > levels, axis=0)
    return hits / len(values) if len(values) else np.full(len(levels), np.nan)
