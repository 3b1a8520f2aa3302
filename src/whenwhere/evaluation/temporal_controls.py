"""What trivial answers would have scored: segments made without looking at a single frame.

They are told what classes each video has, and one of them how long an action typically is; their names say so. A model
that is told nothing has the harder task, one that is told the labels has to beat them.
"""

from __future__ import annotations

import numpy as np

from whenwhere.evaluation.truth import SegmentTruth
from whenwhere.geometry import true_runs
from whenwhere.metrics.temporal_detection import AMBIGUOUS, SegmentTable

ALL_FRAMES = "all frames, labels given"
RANDOM_HALF = "random half, labels given"
EVEN_PIECES = "even pieces, labels and median length given"


def temporal_controls(truth: SegmentTruth, seed: int = 0) -> dict[str, SegmentTable]:
    """Answers by control: one segment over the whole video; a random half of its seconds, neighbours joined; the
    video cut into pieces as long as the median of all true segments. Their scores are random.

    Raises:
        ValueError: a video with segments whose duration is not known.
    """
    segments = truth.segments.pick(truth.segments.labels != AMBIGUOUS)
    pairs = sorted(set(zip(segments.videos.tolist(), segments.labels.tolist())))
    if missing := [video for video, _ in pairs if video not in truth.durations]:
        raise ValueError(f"the duration of {missing[0]} is not known")
    random = np.random.default_rng(seed)
    median = max(float(np.median(np.diff(segments.segments, axis=1))), 1e-3)
    answers: dict[str, list[tuple[str, str, float, float]]] = {ALL_FRAMES: [], RANDOM_HALF: [], EVEN_PIECES: []}
    for video, label in pairs:
        duration = truth.durations[video]
        for name, bounds in (
            (ALL_FRAMES, np.array([[0.0, duration]])),
            (RANDOM_HALF, random_half(duration, random)),
            (EVEN_PIECES, even_pieces(duration, median)),
        ):
            answers[name] += [(video, label, start, end) for start, end in bounds.tolist()]
    return {name: SegmentTable.from_rows(rows, random.random(len(rows))) for name, rows in answers.items()}


def random_half(duration: float, random: np.random.Generator, unit: float = 1.0) -> np.ndarray:
    """Segments of a video of ``duration`` seconds, each ``unit`` of it taken with probability 1/2, `(N, 2)`."""
    on = random.random(int(np.ceil(duration / unit))) < 0.5
    return np.minimum(true_runs(on[None])[1] * unit, duration)


def even_pieces(duration: float, length: float) -> np.ndarray:
    """A video of ``duration`` seconds cut into pieces of ``length``, the last one shorter, `(N, 2)`."""
    starts = np.arange(0, duration, length)
    return np.stack([starts, np.minimum(starts + length, duration)], axis=1)
