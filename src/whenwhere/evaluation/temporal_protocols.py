"""Protocols that say how well a file of predicted segments answers *when*; what they share, and one function each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.evaluation.predictions import PredictionsError, read_segments
from whenwhere.evaluation.temporal_controls import ALL_FRAMES, RANDOM_HALF, temporal_controls
from whenwhere.evaluation.truth import SegmentTruth, read_segment_truth
from whenwhere.metrics.average_precision import Rule
from whenwhere.metrics.ranking import Ranked, mean_average_precision
from whenwhere.metrics.temporal import (
    PAPER_RATE,
    frame_average_precision,
    paper_hit_rate,
    paper_recall,
    paper_window,
)
from whenwhere.metrics.temporal_detection import AMBIGUOUS, SegmentTable, activitynet_detection, thumos14_detection

FRAME_RATE = 10  # frames a second at which videos are sampled where frames are scored, as in MultiTHUMOS
_TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5)
_NO_CONTROLS = "no controls: durations of the videos are not in the truth; give --durations"

Scores = tuple[np.ndarray, Mapping[str, np.ndarray]]  # (K,) over all classes, and (K,) by class


def activitynet(
    predictions: str | Path,
    truth: str | Path,
    thresholds: Sequence[float] | None = None,
    *,
    subset: str | None = None,
    durations: str | Path | None = None,
) -> dict[str, Any]:
    """mAP by ActivityNet's evaluator (``eval_detection.py``, 2016 to now): interpolated AP at all points, mean over
    classes; by default at tIoU 0.5, 0.55 ... 0.95. THUMOS14 numbers are mostly made with it, too, at 0.1 to
    0.7; segments marked Ambiguous are then no part of the truth.
    """
    levels = np.linspace(0.5, 0.95, 10).round(2).tolist() if thresholds is None else thresholds
    known = _without_ambiguous(read_segment_truth(truth, subset, durations))
    return _detection("activitynet", activitynet_detection, "area", read_segments(predictions), known, levels)


def thumos14_2015(
    predictions: str | Path,
    truth: str | Path,
    thresholds: Sequence[float] | None = None,
    *,
    subset: str | None = None,
    durations: str | Path | None = None,
) -> dict[str, Any]:
    """mAP by the official THUMOS14 kit as updated in 2015 (``TH14evalDet_Updated.m``): truths choose detections above
    the threshold, detections that touch an Ambiguous segment are not held against anyone, AP is not interpolated.
    Truth is the folder of the official lists, ``Ambiguous_test.txt`` among them. By default at tIoU 0.1 to 0.5.
    """
    levels = _TENTHS if thresholds is None else thresholds
    known = read_segment_truth(truth, subset, durations)
    return _detection(
        "thumos14-2015", thumos14_detection, "non_interpolated", read_segments(predictions), known, levels
    )


def paper(
    predictions: str | Path,
    truth: str | Path,
    thresholds: Sequence[float] | None = None,
    *,
    subset: str | None = None,
) -> dict[str, Any]:
    """The rule behind Table 4 of "Where and When to Look" (2018), read off its public scripts: of every true segment's
    frames, the share that lies in predicted segments of its class, whatever their score; a segment counts when that
    share is above the threshold, by default 0.1 to 0.5. It is called mAP there, but is a recall, and asks nothing of
    the frames outside: calling all frames important scores 1.
    """
    levels = _TENTHS if thresholds is None else thresholds
    predicted = read_segments(predictions)
    known = _without_ambiguous(read_segment_truth(truth, subset))
    labels = known.segments.labels
    classes = np.unique(labels).tolist()
    recall = _paper_recalls(predicted, known.segments)
    random = np.random.default_rng(0)
    half = [(random.random(len(frames)) < 0.5).mean() for frames in _paper_frames(known.segments)]
    return _result(
        "paper",
        (paper_hit_rate(recall, levels), {name: paper_hit_rate(recall[labels == name], levels) for name in classes}),
        {ALL_FRAMES: np.ones(len(levels)), RANDOM_HALF: paper_hit_rate(half, levels)},
        (predicted, known, levels),
        [
            "not an average precision: the share of true segments whose recall is above the threshold",
            *_strangers(predicted, known, "count nowhere"),
        ],
    )


def per_frame(
    predictions: str | Path,
    truth: str | Path,
    thresholds: Sequence[float] | None = None,
    *,
    subset: str | None = None,
    durations: str | Path | None = None,
) -> dict[str, Any]:
    """Per-frame mAP (Yeung et al. 2018, MultiTHUMOS): 10 frames a second of all videos, ranked for each class by the
    best predicted segment that holds them, frames in none below all others. There are no thresholds; durations of all
    videos must be known.
    """
    if thresholds is not None:
        raise PredictionsError("the protocol per-frame has no thresholds; leave --tiou out")
    predicted = read_segments(predictions)
    known = _without_ambiguous(read_segment_truth(truth, subset, durations))
    missing = sorted(set(known.videos) - set(known.durations))
    if missing:
        raise PredictionsError(
            f"{truth}: the protocol per-frame needs the duration of every video, {len(missing)} of "
            f"{len(known.videos)} are missing: {', '.join(missing[:3])}; give --durations"
        )
    controls = {name: _frame_scores(table, known)[0] for name, table in temporal_controls(known).items()}
    notes = _strangers(predicted, known, "count nowhere")
    return _result("per-frame", _frame_scores(predicted, known), controls, (predicted, known, []), notes)


def _detection(
    name: str,
    match: Callable[..., dict[str, Ranked]],
    rule: Rule,
    predicted: SegmentTable,
    known: SegmentTruth,
    levels: Sequence[float],
) -> dict[str, Any]:
    def score(table: SegmentTable) -> Scores:
        return mean_average_precision(match(table, known.segments, levels), rule)  # type: ignore[return-value]

    controls, notes = {}, _strangers(predicted, known, "are wrong")
    if set(known.segments.videos) <= set(known.durations):
        controls = {control: score(table)[0] for control, table in temporal_controls(known).items()}
    else:
        notes.append(_NO_CONTROLS)
    return _result(name, score(predicted), controls, (predicted, known, levels), notes)


def _without_ambiguous(truth: SegmentTruth) -> SegmentTruth:
    clear = truth.segments.pick(truth.segments.labels != AMBIGUOUS)
    return SegmentTruth(clear, truth.videos, truth.durations)


def _strangers(predicted: SegmentTable, known: SegmentTruth, fate: str) -> list[str]:
    """In words, predictions of videos and classes that the truth does not have; ``fate`` of those in such videos."""
    lines = []
    for what, values, names, end in (
        ("videos", predicted.videos, known.videos, fate),
        ("classes", predicted.labels, np.unique(known.segments.labels), "count nowhere"),
    ):
        if len(strange := values[~np.isin(values, names)]):
            few = ", ".join(np.unique(strange).tolist()[:3])
            lines.append(f"{len(strange)} predictions are of {what} that the truth does not have and {end}: {few}")
    return lines


def _result(
    name: str,
    scores: Scores,
    controls: Mapping[str, np.ndarray],
    files: tuple[SegmentTable, SegmentTruth, Sequence[float]],
    notes: list[str],
) -> dict[str, Any]:
    """What every temporal protocol returns; all scores in [0, 1], None where a class could not be scored."""
    predicted, known, levels = files
    return {
        "protocol": name,
        "tiou": [float(level) for level in levels],
        "map": _plain(scores[0]),
        "per_class": {str(label): _plain(values) for label, values in scores[1].items()},
        "controls": {control: _plain(values) for control, values in controls.items()},
        "n": int((known.segments.labels != AMBIGUOUS).sum()),
        "unit": "segments",
        "videos": len(known.videos),
        "predictions": len(predicted),
        "notes": notes,
    }


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _paper_frames(truth: SegmentTable) -> list[np.ndarray]:
    """Numbers of the frames that stand for each true segment, at 10 a second."""
    return [frames[inside] for frames, inside in (paper_window(*bounds) for bounds in truth.segments.tolist())]


def _paper_recalls(predicted: SegmentTable, truth: SegmentTable) -> np.ndarray:
    """Recall of every true segment by the predicted ones of its video and class, `(M,)`."""
    bounds: dict[tuple[str, str], list[np.ndarray]] = {}
    frames = (predicted.segments * PAPER_RATE).astype(int)  # cut like the truth, so that the same segment is the same
    for video, label, first_last in zip(predicted.videos.tolist(), predicted.labels.tolist(), frames):
        bounds.setdefault((video, label), []).append(first_last)
    recalls = np.zeros(len(truth))
    for row, inside in enumerate(_paper_frames(truth)):
        found = np.array(bounds.get((truth.videos[row], truth.labels[row]), []), dtype=int).reshape(-1, 2, 1)
        covered = ((found[:, 0] <= inside) & (inside <= found[:, 1])).any(0)
        recalls[row] = paper_recall(covered, np.ones_like(covered))
    return recalls


def _frame_scores(table: SegmentTable, known: SegmentTruth) -> Scores:
    """Per-frame AP, `(1,)` each, over all frames of all videos laid end to end."""
    counts = [int(np.ceil(known.durations[video] * FRAME_RATE)) for video in known.videos]
    starts = dict(zip(known.videos, np.cumsum([0, *counts[:-1]]).tolist()))
    lengths = dict(zip(known.videos, counts))
    lowest = table.scores.min() - 1 if table.scores is not None and len(table) else 0.0

    def frames(video: str, bounds: np.ndarray) -> slice:
        # Frame i stands for its middle, (i + 0.5) / rate: a segment holds those at or after its start, before its end.
        first, last = np.clip(np.ceil(bounds * FRAME_RATE - 0.5).astype(int), 0, lengths[video]) + starts[video]
        return slice(first, last)

    values: dict[str, np.ndarray] = {}
    for label in np.unique(known.segments.labels).tolist():
        scores, true = np.full(sum(counts), lowest), np.zeros(sum(counts), dtype=bool)
        rows = table.pick((table.labels == label) & np.isin(table.videos, known.videos))
        for video, bounds, score in zip(rows.videos.tolist(), rows.segments, rows.scores):  # type: ignore[arg-type]
            place = frames(video, bounds)
            scores[place] = np.maximum(scores[place], score)
        rows = known.segments.pick(known.segments.labels == label)
        for video, bounds in zip(rows.videos.tolist(), rows.segments):
            true[frames(video, bounds)] = True
        values[label] = frame_average_precision(scores[:, None], true[:, None])
    return np.nanmean(list(values.values()), axis=0), values
