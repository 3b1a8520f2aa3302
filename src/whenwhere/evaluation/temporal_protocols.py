"""Protocols that say how well a file of predicted segments answers *when*; what they share, and one function each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.evaluation.predictions import PredictionsError, read_segments
from whenwhere.evaluation.protocol_result import (
    RESAMPLES,
    Measured,
    measured_map,
    measured_rate,
    protocol_result,
    strangers,
)
from whenwhere.evaluation.temporal_controls import ALL_FRAMES, RANDOM_HALF, temporal_controls
from whenwhere.evaluation.truth import SegmentTruth, read_segment_truth
from whenwhere.metrics.average_precision import Rule
from whenwhere.metrics.ranking import Ranked
from whenwhere.metrics.temporal import (
    PAPER_RATE,
    frame_average_precision,
    paper_hit_rate,
    paper_recall,
    paper_window,
)
from whenwhere.metrics.temporal_detection import AMBIGUOUS, SegmentTable, activitynet_detection, thumos14_detection

FRAME_RATE = 10  # frames a second at which videos are sampled where frames are scored, as in MultiTHUMOS
Files = tuple[SegmentTable, SegmentTruth, Sequence[float]]  # predictions, truth, thresholds
_TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5)
_NO_CONTROLS = "no controls: durations of the videos are not in the truth; give --durations"


def activitynet(
    predictions: str | Path,
    truth: str | Path,
    thresholds: Sequence[float] | None = None,
    *,
    subset: str | None = None,
    durations: str | Path | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """mAP by ActivityNet's evaluator (``eval_detection.py``, 2016 to now): interpolated AP at all points, mean over
    classes; by default at tIoU 0.5, 0.55 ... 0.95. THUMOS14 numbers are mostly made with it, too, at 0.1 to
    0.7; segments marked Ambiguous are then no part of the truth.
    """
    levels = np.linspace(0.5, 0.95, 10).round(2).tolist() if thresholds is None else thresholds
    known = _without_ambiguous(read_segment_truth(truth, subset, durations))
    files = read_segments(predictions), known, levels
    return _detection("activitynet", activitynet_detection, "area", files, resamples)


def thumos14_2015(
    predictions: str | Path,
    truth: str | Path,
    thresholds: Sequence[float] | None = None,
    *,
    subset: str | None = None,
    durations: str | Path | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """mAP by the official THUMOS14 kit as updated in 2015 (``TH14evalDet_Updated.m``): truths choose detections above
    the threshold, detections that touch an Ambiguous segment are not held against anyone, AP is not interpolated.
    Truth is the folder of the official lists, ``Ambiguous_test.txt`` among them. By default at tIoU 0.1 to 0.5.
    """
    levels = _TENTHS if thresholds is None else thresholds
    known = read_segment_truth(truth, subset, durations)
    files = read_segments(predictions), known, levels
    return _detection("thumos14-2015", thumos14_detection, "non_interpolated", files, resamples)


def paper(
    predictions: str | Path,
    truth: str | Path,
    thresholds: Sequence[float] | None = None,
    *,
    subset: str | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """The rule behind Table 4 of "Where and When to Look" (2018), read off its public scripts: of every true segment's
    frames, the share that lies in predicted segments of its class, whatever their score; a segment counts when that
    share is above the threshold, by default 0.1 to 0.5. It is called mAP there, but is a recall, and asks nothing of
    the frames outside: calling all frames important scores 1.
    """
    levels = _TENTHS if thresholds is None else thresholds
    predicted = read_segments(predictions)
    known = _without_ambiguous(read_segment_truth(truth, subset))
    recall = _paper_recalls(predicted, known.segments)
    random = np.random.default_rng(0)
    half = np.array([(random.random(len(frames)) < 0.5).mean() for frames in _paper_frames(known.segments)])
    return _result(
        "paper",
        _paper_rates(recall, known.segments, levels),
        {
            ALL_FRAMES: _paper_rates(np.ones_like(recall), known.segments, levels),
            RANDOM_HALF: _paper_rates(half, known.segments, levels),
        },
        (predicted, known, levels),
        [
            "not an average precision: the share of true segments whose recall is above the threshold",
            *_strangers(predicted, known, "count nowhere"),
        ],
        resamples,
    )


def per_frame(
    predictions: str | Path,
    truth: str | Path,
    thresholds: Sequence[float] | None = None,
    *,
    subset: str | None = None,
    durations: str | Path | None = None,
    resamples: int = RESAMPLES,
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
    controls = {name: _frame_scores(table, known) for name, table in temporal_controls(known).items()}
    notes = _strangers(predicted, known, "count nowhere")
    return _result("per-frame", _frame_scores(predicted, known), controls, (predicted, known, []), notes, resamples)


def _detection(
    name: str, match: Callable[..., dict[str, Ranked]], rule: Rule, files: Files, resamples: int
) -> dict[str, Any]:
    predicted, known, levels = files
    videos = np.union1d(predicted.videos, known.videos)

    def measured(table: SegmentTable) -> Measured:
        return measured_map(match(table, known.segments, levels, videos), rule)

    controls, notes = {}, _strangers(predicted, known, "are wrong")
    if set(known.segments.videos) <= set(known.durations):
        controls = {control: measured(table) for control, table in temporal_controls(known).items()}
    else:
        notes.append(_NO_CONTROLS)
    return _result(name, measured(predicted), controls, files, notes, resamples)


def _without_ambiguous(truth: SegmentTruth) -> SegmentTruth:
    clear = truth.segments.pick(truth.segments.labels != AMBIGUOUS)
    return SegmentTruth(clear, truth.videos, truth.durations)


def _strangers(predicted: SegmentTable, known: SegmentTruth, fate: str) -> list[str]:
    """In words, predictions of videos and classes that the truth does not have; ``fate`` of those in such videos."""
    labels = np.unique(known.segments.labels).tolist()
    return [
        *strangers("videos", predicted.videos.tolist(), known.videos, fate),
        *strangers("classes", predicted.labels.tolist(), labels, "count nowhere"),
    ]


def _result(
    name: str,
    measured: Measured,
    controls: Mapping[str, Measured],
    files: Files,
    notes: list[str],
    resamples: int,
) -> dict[str, Any]:
    predicted, known, levels = files
    return protocol_result(
        name,
        ("tiou", levels),
        measured,
        controls,
        n=int((known.segments.labels != AMBIGUOUS).sum()),
        unit="segments",
        videos=len(known.videos),
        predictions=len(predicted),
        notes=notes,
        resamples=resamples,
    )


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


def _paper_rates(recall: np.ndarray, truth: SegmentTable, levels: Sequence[float]) -> Measured:
    """Shares of the true segments, of ``recall`` `(M,)`, that are above each level."""
    classes = np.unique(truth.labels).tolist()
    videos, places, sizes = np.unique(truth.videos, return_inverse=True, return_counts=True)
    rates = np.stack([paper_hit_rate(recall[places == video], levels) for video in range(len(videos))])
    return measured_rate(rates, sizes, {name: paper_hit_rate(recall[truth.labels == name], levels) for name in classes})


def _frame_scores(table: SegmentTable, known: SegmentTruth) -> Measured:
    """Per-frame AP, `(1,)` each, over all frames of all videos laid end to end."""
    lengths = np.array([int(np.ceil(known.durations[video] * FRAME_RATE)) for video in known.videos])
    starts = dict(zip(known.videos, (np.cumsum(lengths) - lengths).tolist()))
    sizes = dict(zip(known.videos, lengths.tolist()))
    video_of = np.arange(len(lengths)).repeat(lengths)
    lowest = table.scores.min() - 1 if table.scores is not None and len(table) else 0.0

    def frames(video: str, bounds: np.ndarray) -> slice:
        # Frame i stands for its middle, (i + 0.5) / rate: a segment holds those at or after its start, before its end.
        first, last = np.clip(np.ceil(bounds * FRAME_RATE - 0.5).astype(int), 0, sizes[video]) + starts[video]
        return slice(first, last)

    kinds = {}
    for label in np.unique(known.segments.labels).tolist():
        scores, true = np.full(len(video_of), lowest), np.zeros(len(video_of), dtype=bool)
        rows = table.pick((table.labels == label) & np.isin(table.videos, known.videos))
        for video, bounds, score in zip(rows.videos.tolist(), rows.segments, rows.scores):  # type: ignore[arg-type]
            place = frames(video, bounds)
            scores[place] = np.maximum(scores[place], score)
        rows = known.segments.pick(known.segments.labels == label)
        for video, bounds in zip(rows.videos.tolist(), rows.segments):
            true[frames(video, bounds)] = True
        kinds[label] = _kinds_of_frames(scores, true, video_of)

    def precisions(counts: np.ndarray) -> dict[Hashable, np.ndarray]:
        return {
            label: frame_average_precision(scores[:, None], true[:, None], many * counts[videos])
            for label, (scores, true, videos, many) in kinds.items()
        }

    def again(counts: np.ndarray) -> np.ndarray:
        values = np.stack(list(precisions(counts).values()))
        there = ~np.isnan(values)
        total, classes = np.where(there, values, 0).sum(0), there.sum(0)
        return np.divide(total, classes, out=np.full(1, np.nan), where=classes > 0)

    every = np.ones(len(lengths))
    return Measured(again(every), precisions(every), len(lengths), again)


def _kinds_of_frames(
    scores: np.ndarray, true: np.ndarray, videos: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frames `(N,)` that are alike taken together: scores, whether true, videos, and how many they are, `(M,)` each.

    All frames of a video that no segment holds are one kind or two: resamples weigh some thousands of kinds rather
    than all frames.
    """
    names, codes = np.unique(scores, return_inverse=True)
    keys, many = np.unique((codes * (videos.max() + 1) + videos) * 2 + true, return_counts=True)
    places = keys // 2
    return names[places // (videos.max() + 1)], keys % 2 == 1, places % (videos.max() + 1), many
