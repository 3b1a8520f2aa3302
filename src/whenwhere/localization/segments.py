"""When: importance, or a class's evidence, per frame to segments in seconds.

A frame stands for the time halfway to its neighbours, so segments end between frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from whenwhere.geometry import true_runs
from whenwhere.localization.options import LocalizationOptions
from whenwhere.localization.suppression import suppress_segments
from whenwhere.structures import Segment


def important_frames(importance: Tensor, options: LocalizationOptions | None = None) -> Tensor:
    """Frames that matter, `(..., T)` importance to `(..., T)` bool: min-max normalised, above a threshold (Sec. 4.2.2).

    Min-max normalisation makes a clear segment out of any noise, so flat importance gives all frames; the published
    rules have no such guard, except where importance is constant and normalising it is undefined.

    Raises:
        ValueError: no frames, or a value that is not a finite number.
    """
    options = options or LocalizationOptions()
    if importance.shape[-1] == 0 or not importance.isfinite().all():
        raise ValueError(f"importance must be finite numbers for at least one frame, got {_about(importance)}")
    threshold, flat = (0.5, 0.0) if options.as_published else (options.time_threshold, options.flat)
    low, high = importance.amin(-1, keepdim=True), importance.amax(-1, keepdim=True)
    says_nothing = ((high - low) < flat * importance.mean(-1, keepdim=True).abs()) | (high == low)
    if options.rule == "untrimmed_net":
        low = torch.zeros_like(low)
    return ((importance - low) > threshold * (high - low)) | says_nothing


def frame_bounds(times: np.ndarray, duration: float) -> np.ndarray:
    """`(T + 1,)` seconds: frame t stands for [bounds[t], bounds[t + 1]); 0 and the duration at the ends.

    Raises:
        ValueError: times are not increasing within [0, duration], or the duration is not positive.
    """
    times = np.asarray(times, dtype=float)
    if times.ndim != 1 or len(times) == 0:
        raise ValueError(f"times must be (T,) seconds of at least one frame, got shape {times.shape}")
    if not (0 < duration < np.inf and times[0] >= 0 and times[-1] <= duration and (np.diff(times) > 0).all()):
        raise ValueError(f"times must increase within [0, {duration}] s and not be NaN, got {times.tolist()}")
    return np.concatenate([[0.0], (times[1:] + times[:-1]) / 2, [duration]])


def contrast(signal: np.ndarray, bounds: np.ndarray, segments: np.ndarray, inflation: float = 0.25) -> np.ndarray:
    """Mean of the signal inside each segment minus its mean in the surround (AutoLoc, Shou et al. 2018).

    The surround is what inflating the segment adds within the clip; a segment that fills the clip has none and is
    compared with the clip's least frame.

    Args:
        signal: `(T,)`, constant over each frame.
        bounds: `(T + 1,)` seconds, from :func:`frame_bounds`.
        segments: `(N, 2)` seconds, start and end within the bounds.
        inflation: width of the surround on either side, as a share of the segment's.

    Returns:
        `(N,)`.
    """
    integral = np.concatenate([[0.0], np.cumsum(signal * np.diff(bounds))])

    def total(at: np.ndarray) -> np.ndarray:
        return np.interp(at, bounds, integral)

    start, end = segments[:, 0], segments[:, 1]
    width = end - start
    outer_start = np.maximum(start - inflation * width, bounds[0])
    outer_end = np.minimum(end + inflation * width, bounds[-1])
    inside = total(end) - total(start)
    room = (outer_end - outer_start) - width
    around = total(outer_end) - total(outer_start) - inside
    has_room = room > 1e-9 * (bounds[-1] - bounds[0])
    outside = np.divide(around, room, out=np.full(len(segments), float(signal.min())), where=has_room)
    return inside / width - outside


def candidate_segments(
    signal: np.ndarray, times: np.ndarray, duration: float, options: LocalizationOptions | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Runs above each of several thresholds, each once, with their contrast; nothing is suppressed yet.

    Args:
        signal: `(T,)` importance, or evidence of a class such as that of
            :func:`whenwhere.models.evidence.class_evidence` summed over cells; only its shape counts, not its scale.
        times: `(T,)` seconds, increasing.
        duration: seconds.

    Returns:
        `(N, 2)` seconds and `(N,)` contrast of the signal over its largest magnitude, clipped to [0, 1]. A flat signal
        gives the whole clip, with a contrast near 0.
    """
    options = options or LocalizationOptions()
    bounds, signal = frame_bounds(times, duration), _checked(signal, len(times))
    low, high, largest = signal.min(), signal.max(), np.abs(signal).max()
    if high == low or high - low < options.flat * abs(signal.mean()):
        found = np.array([[0, len(signal)]])
    else:
        cuts = low + np.array(options.thresholds)[:, None] * (high - low)
        found = np.unique(true_runs(signal > cuts)[1], axis=0)
    segments = bounds[found]
    scores = contrast(signal / (largest or 1.0), bounds, segments, options.inflation)
    return segments, np.clip(scores, 0, 1)


def find_segments(
    importance: Tensor | np.ndarray,
    times: np.ndarray,
    duration: float,
    label: str,
    options: LocalizationOptions | None = None,
    probability: float = 1.0,
) -> tuple[Segment, ...]:
    """When a class is seen: see :func:`find_class_segments`, of which this is the case of one class."""
    evidence = np.asarray(importance)[None]
    return find_class_segments(evidence, times, duration, [label], options, [probability])


def find_class_segments(
    evidence: np.ndarray,
    times: np.ndarray,
    duration: float,
    labels: Sequence[str],
    options: LocalizationOptions | None = None,
    probabilities: Sequence[float] | None = None,
) -> tuple[Segment, ...]:
    """When each of several classes is seen, sorted by start.

    Under the rule ``parts`` every class has its own candidates, scored by contrast times the class's probability,
    suppressed, and may overlap with other classes; under ``untrimmed_net`` the evidence is a class's score, see
    :func:`untrimmed_net_segments`. Under the other rules a frame belongs to the class with the most evidence, and
    segments are runs of important frames of one class, scored by the share of the clip's evidence within; so the
    classes must be on one scale.

    Args:
        evidence: `(K, T)`; a share, and so a score, means something only where it is at least 0.
        times: `(T,)` seconds, increasing.
        duration: seconds.
        labels: K names.
        probabilities: of the K classes, for ``parts`` and ``untrimmed_net``; None: 1.

    Raises:
        ValueError: shapes do not fit, times do not increase within the video, values are not finite numbers.
    """
    options = options or LocalizationOptions()
    evidence = np.asarray(evidence) * 1.0
    probabilities = [1.0] * len(labels) if probabilities is None else probabilities
    if evidence.ndim != 2 or not 0 < len(evidence) == len(labels) == len(probabilities):
        raise ValueError(
            f"expected evidence (K, T) for K labels and probabilities, got shape {evidence.shape}, "
            f"{len(labels)} labels and {len(probabilities)} probabilities"
        )
    bounds = frame_bounds(times, duration)
    _checked(evidence[0], len(times))
    if options.rule == "parts":
        found = [
            Segment(float(start), float(end), label, float(probability * score))
            for signal, label, probability in zip(evidence, labels, probabilities, strict=True)
            for (start, end), score in zip(*candidate_segments(signal, times, duration, options), strict=True)
        ]
        found = [segment for segment in found if segment.duration >= options.min_seconds]
        return suppress_segments(found, options)
    if options.rule == "untrimmed_net":
        found = list(untrimmed_net_segments(evidence, times, duration, labels, probabilities))
        return tuple(segment for segment in found if segment.duration >= options.min_seconds)
    strongest = evidence.max(0)
    active = important_frames(torch.from_numpy(strongest), options).numpy()
    share = strongest / (strongest.sum() or 1.0)
    # One run for each stretch of important frames of one class: -1 marks the others and both ends.
    owner = np.pad(np.where(active, evidence.argmax(0), -1), 1, constant_values=-1)
    edges = np.flatnonzero(np.diff(owner))
    segments = []
    for first, last in pairwise(edges):
        if owner[first + 1] >= 0 and bounds[last] - bounds[first] >= options.min_seconds:
            score = float(np.clip(share[first:last].sum(), 0, 1))
            segments.append(Segment(float(bounds[first]), float(bounds[last]), labels[owner[first + 1]], score))
    return tuple(segments)


def untrimmed_net_segments(
    scores: np.ndarray,
    times: np.ndarray,
    duration: float,
    labels: Sequence[str],
    probabilities: Sequence[float],
    *,
    least_probability: float = 0.1,
    threshold: float = 0.5,
) -> tuple[Segment, ...]:
    """When each class is seen by UntrimmedNet's detection rule, sorted by start.

    As in the authors' released ``thumos_detection.m`` (github.com/wanglimin/UntrimmedNet). The paper also drops frames
    of little attention first, which the authors left out of the release as not needed. A class the video hardly has is
    left out. Its score between two frames is the mean of theirs, runs above a share of the largest are segments, and a
    segment's score is the mean in it plus 0.2 of the video's probability.

    Args:
        scores: `(K, T)` probabilities of the classes in each frame.
        times: `(T,)` seconds, increasing.
        duration: seconds.
        labels: K names.
        probabilities: of the K classes in the video.
        least_probability: at or below which a class is left out.
        threshold: share of the class's largest score.

    Raises:
        ValueError: shapes do not fit, times do not increase within the video, values are not finite numbers.
    """
    frame_bounds(times, duration)  # for its checks
    bounds = np.append(np.asarray(times, dtype=float), duration)
    bounds[0] = 0.0
    segments = []
    for values, label, probability in zip(scores, labels, probabilities, strict=True):
        values = _checked(values, len(times))
        between = (values + np.append(values[1:], values[-1])) / 2
        active = (between > threshold * between.max()) & (probability > least_probability)
        for first, last in true_runs(active[None])[1]:
            if bounds[first] < bounds[last]:  # the last frame may be the end of the video
                score = float(between[first:last].mean() + 0.2 * probability)
                segments.append(Segment(float(bounds[first]), float(bounds[last]), label, score))
    return tuple(sorted(segments, key=lambda segment: segment.start))


def _checked(signal: np.ndarray, frames: int) -> np.ndarray:
    signal = np.asarray(signal, dtype=float)
    if signal.shape != (frames,) or not np.isfinite(signal).all():
        raise ValueError(f"expected a finite number for each of {frames} frames, got {_about(signal)}")
    return signal


def _about(values: Tensor | np.ndarray) -> str:
    wrong = int((~np.isfinite(np.asarray(values))).sum())
    return f"shape {tuple(values.shape)} with {wrong} values that are not finite"
