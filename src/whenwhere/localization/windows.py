"""Long videos: look through overlapping windows, and put together what was seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class WindowResult(NamedTuple):
    """What a model says about one window of a video.

    Attributes:
        start, end: seconds.
        times: `(T,)` seconds of the frames it looked at, increasing.
        importance: `(T,)`, at least 0.
        weights: `(T,)`, at least 0.
        masks: `(T, H, W)` in [0, 1].
        probabilities: `(K,)`, sum to 1.
        scores: `(T, K)` probabilities of each frame, by models that classify frame by frame; else None.
    """

    start: float
    end: float
    times: np.ndarray
    importance: np.ndarray
    weights: np.ndarray
    masks: np.ndarray
    probabilities: np.ndarray
    scores: np.ndarray | None = None


class Merged(NamedTuple):
    """What a model says about a whole video, looked at in windows.

    Attributes:
        times: `(T,)` seconds of all frames of all windows, increasing.
        importance: `(T,)`, sums to 1: the strongest class's evidence.
        weights: `(T,)`, sums to 1: temporal attention alone, merged in the same way.
        masks: `(T, H, W)` in [0, 1].
        evidence: `(K, T)` in [0, 1].
        probabilities: `(K,)` of the video, sum to 1.
        best_probabilities: `(K,)`, each class's in the window that is surest of it.
        scores: `(K, T)` probabilities of each frame, where every window has them; else None.
    """

    times: np.ndarray
    importance: np.ndarray
    weights: np.ndarray
    masks: np.ndarray
    evidence: np.ndarray
    probabilities: np.ndarray
    best_probabilities: np.ndarray
    scores: np.ndarray | None = None


def plan_windows(duration: float, length: float, overlap: float = 0.5) -> np.ndarray:
    """Windows over a video, `(N, 2)` start and end in seconds; the last ends with the video.

    Args:
        duration: seconds.
        length: seconds; a video that is no longer is one window.
        overlap: share of a window that lies in the next one too, in [0, 1); more for the last.

    Raises:
        ValueError: a length that is not positive, an overlap out of range.
    """
    if not 0 < duration < math.inf:
        raise ValueError(f"duration must be a positive number of seconds, got {duration}")
    if not 0 < length < math.inf:
        raise ValueError(f"window must be a positive number of seconds, got {length}")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be a share in [0, 1), got {overlap}")
    if duration <= length:
        return np.array([[0.0, duration]])
    stride = length * (1 - overlap)
    count = 1 + math.ceil((duration - length) / stride - 1e-6)  # no window for what rounding leaves over
    starts = stride * np.arange(count)
    starts[1:] = np.minimum(starts[1:], duration - length)
    ends = np.maximum(starts[:-1] + length, starts[1:])  # no gap by rounding: a frame could be shown in it
    return np.column_stack([starts, np.append(ends, duration)])


def merge_traces(
    windows: np.ndarray, times: Sequence[np.ndarray], traces: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """One trace from those of overlapping windows, at the times of all of them.

    A window's trace is interpolated linearly between its frames and constant beyond them. Where windows overlap they
    are averaged with weights that fall towards a window's ends as a squared sine, so that borders leave no step.

    Args:
        windows: `(N, 2)` start and end in seconds, which together cover every time.
        times: N arrays `(T_i,)`, increasing.
        traces: N arrays `(T_i, ...)`.

    Returns:
        `(T,)` times, increasing, and `(T, ...)`.

    Raises:
        ValueError: no windows, shapes do not fit, a value is not a finite number, or no window covers a time.
    """
    if not 0 < len(windows) == len(times) == len(traces):
        raise ValueError(f"got {len(windows)} windows, {len(times)} times and {len(traces)} traces; expected as many")
    common = np.unique(np.concatenate(times))
    merged = np.zeros((len(common), *np.shape(traces[0])[1:]))
    weight = np.zeros(len(common))
    for (start, end), own, trace in zip(windows, times, traces, strict=True):
        if len(own) != len(trace) or len(own) == 0 or not np.isfinite(trace).all():
            raise ValueError(f"window {start:.2f}-{end:.2f} s: expected a finite value for each of {len(own)} frames")
        covered = slice(*np.searchsorted(common, [start, end], side="left"))
        if end == windows[-1][1]:
            covered = slice(covered.start, len(common))
        at = common[covered]
        taper = np.sin(np.pi * np.clip((at - start) / (end - start), 0, 1)) ** 2 + 1e-6
        merged[covered] += _along(taper, trace) * _interpolate(at, own, trace)
        weight[covered] += taper
    if not weight.all():
        raise ValueError(f"no window covers {common[weight == 0][0]:.2f} s; windows must overlap or touch")
    return common, merged / _along(weight, merged)


def merge_windows(results: Sequence[WindowResult]) -> Merged:
    """Put together what a model says about the windows of one video.

    Importance is a share of its window, so windows cannot be compared by it: one without any action hands out the same
    total as one full of it. A class's evidence in a frame is therefore the class's probability in the window times the
    frame's importance over the window's largest, averaged where windows overlap; of several classes in one video each
    is strong where it is seen. The video's probabilities are the mean of the windows', weighted by how much each knows
    (log K minus the entropy), so that a short action is not outvoted by windows that could be anything.

    Args:
        results: in order of time, covering the video.

    Raises:
        ValueError: no windows, or one holds values that are not finite numbers.
    """
    if not results:
        raise ValueError("no windows to merge; expected at least one")
    windows = np.array([(result.start, result.end) for result in results])
    times = [np.asarray(result.times, dtype=float) for result in results]
    probabilities = np.stack([np.asarray(result.probabilities, dtype=float) for result in results])
    shapes = [np.column_stack([_relative(r.importance), _relative(r.weights)]) for r in results]
    traces = [
        np.column_stack([shape[:, :1] * known, shape[:, 1] * known.max()])
        for shape, known in zip(shapes, probabilities, strict=True)
    ]
    common, merged = merge_traces(windows, times, traces)
    evidence, weights = merged[:, :-1].T, merged[:, -1]
    strongest = evidence.max(0)
    scores = [result.scores for result in results if result.scores is not None]
    return Merged(
        common,
        strongest / strongest.sum(),
        weights / weights.sum(),
        np.clip(merge_traces(windows, times, [result.masks for result in results])[1], 0, 1),
        evidence,
        confidence(probabilities) @ probabilities,
        probabilities.max(0),
        merge_traces(windows, times, scores)[1].T if len(scores) == len(results) else None,
    )


def confidence(probabilities: np.ndarray) -> np.ndarray:
    """Weights of windows, `(N, K)` to `(N,)`, sum to 1: log K minus entropy; equal where none knows anything."""
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(1)
    known = np.clip(math.log(probabilities.shape[1]) - entropy, 0, None) + 1e-9
    return known / known.sum()


def _relative(values: np.ndarray) -> np.ndarray:
    """Values over their largest; all 1 where that is 0."""
    values = np.asarray(values, dtype=float)
    greatest = values.max()
    return values / greatest if greatest != 0 else np.ones_like(values)


def _interpolate(at: np.ndarray, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`np.interp` for values `(T, ...)`."""
    after = np.clip(np.searchsorted(times, at), 1, max(len(times) - 1, 1))
    before, after = after - 1, np.minimum(after, len(times) - 1)
    step = times[after] - times[before]
    share = np.clip(np.divide(at - times[before], step, out=np.zeros(len(at)), where=step > 0), 0, 1)
    return _along(1 - share, values) * values[before] + _along(share, values) * values[after]


def _along(factors: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`(T,)` factors shaped to multiply values `(T, ...)`."""
    return factors.reshape(-1, *[1] * (np.ndim(values) - 1))
