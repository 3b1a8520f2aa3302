"""Protocols that say how well a file of predicted boxes answers *where*; one callable each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from whenwhere.evaluation.box_truth import BoxTruth, matched, read_box_truth
from whenwhere.evaluation.predictions import Tube, VideoTubes, read_boxes
from whenwhere.evaluation.protocol_result import (
    RESAMPLES,
    Measured,
    measured_map,
    measured_rate,
    protocol_result,
    strangers,
)
from whenwhere.evaluation.spatial_controls import tube_controls
from whenwhere.metrics.spatial import hit_rate
from whenwhere.metrics.spatial_detection import (
    ACT,
    UCF101_24,
    DetectionProtocol,
    Tubes,
    rank_boxes,
    rank_tubes,
)

FRAME_LEVELS, VIDEO_LEVELS, PAPER_LEVELS = (0.5,), (0.2, 0.5, 0.75), (0.05, 0.1, 0.2, 0.3)  # as published
_NOWHERE = "count nowhere"

Level = Literal["frame", "video"]
TubesByVideo = Mapping[str, Sequence[Tube]]


def _detection(
    predictions: str | Path,
    truth: str | Path,
    thresholds: Sequence[float] | None = None,
    *,
    subset: str | None = None,
    resamples: int = RESAMPLES,
    name: str,
    level: Level,
    kit: DetectionProtocol,
) -> dict[str, Any]:
    """Predicted tubes against true ones, box by box in each frame or tube by tube in each video.

    Raises:
        PredictionsError: a file that is missing or not as it should be, or predictions for none of the videos.
        ValueError: a threshold outside (0, 1].
    """
    levels = (FRAME_LEVELS if level == "frame" else VIDEO_LEVELS) if thresholds is None else thresholds
    known, predicted = read_box_truth(truth, subset), read_boxes(predictions, scored=True)
    found, strange = matched(predicted, known.tubes)
    names = known.labels
    wanted = _tubes(known.tubes, known.tubes, names)

    def measured(answer: TubesByVideo) -> Measured:
        given = _tubes(answer, known.tubes, names)
        if level == "frame":
            classes = rank_boxes(given.boxes(), wanted.boxes(), len(known.tubes), levels, kit)
        else:
            classes = rank_tubes(given, wanted, len(known.tubes), levels, kit)
        return measured_map({label: classes[index] for index, label in enumerate(names)}, kit.rule)

    frames = np.unique(wanted.videos[wanted.members] * (wanted.frames.max() + 1) + wanted.frames)
    controls, notes = _controls(known)
    labels = [tube.label for tubes in found.values() for tube in tubes for _ in range(_size(tube, level))]
    return protocol_result(
        name,
        ("iou", levels),
        measured(found),
        {control: measured(tubes) for control, tubes in controls.items()},
        n=len(frames) if level == "frame" else len(known.tubes),
        unit=f"{level}s",
        videos=len(known.tubes),
        predictions=_count(predicted.values(), level),
        notes=[*_strange_videos(predicted, strange, level), *strangers("classes", labels, names, _NOWHERE), *notes],
        resamples=resamples,
    )


frame_map = partial(_detection, name="frame-map", level="frame", kit=UCF101_24)
"""Frame-mAP of UCF101-24 (Singh, Saha et al. 2017), by default at IoU 0.5: boxes of a class in all frames, ranked."""

video_map = partial(_detection, name="video-map", level="video", kit=UCF101_24)
"""Video-mAP of UCF101-24, by default at tube IoU 0.2, 0.5 and 0.75: whole tubes of a class, ranked."""

# By the kit of ACT (Kalogeiton et al. 2017): corners are pixels, trapezoids under the curve.
act_frame_map = partial(_detection, name="act-frame-map", level="frame", kit=ACT)
act_video_map = partial(_detection, name="act-video-map", level="video", kit=ACT)


def paper_boxes(
    predictions: str | Path,
    truth: str | Path,
    thresholds: Sequence[float] | None = None,
    *,
    subset: str | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """The paper's hit rate (:func:`whenwhere.metrics.spatial.hit_rate`), by default at IoU 0.05, 0.1, 0.2 and 0.3.

    Every annotated frame of each video's first tube counts, and a frame without a box is a miss. Of several boxes in
    a frame the one with the highest score is meant, whatever its label: the paper has one mask, not one a class.
    Errors as :func:`_detection`.
    """
    levels = PAPER_LEVELS if thresholds is None else thresholds
    known, predicted = read_box_truth(truth, subset), read_boxes(predictions, scored=True)
    found, strange = matched(predicted, known.tubes)
    firsts = {name: tubes[0] for name, tubes in known.tubes.items() if tubes}
    boxes = _best_boxes(found, firsts)
    frames = sum(map(len, boxes.values()))
    missing = sum(int(np.isnan(one).any(1).sum()) for one in boxes.values())
    controls, notes = _controls(known)
    return protocol_result(
        "paper-boxes",
        ("iou", levels),
        _hits(boxes, firsts, levels),
        {name: _hits(_best_boxes(tubes, firsts), firsts, levels) for name, tubes in controls.items()},
        n=frames,
        unit="frames",
        videos=len(firsts),
        predictions=_count(predicted.values(), "frame"),
        notes=[
            "not an average precision: the share of annotated frames whose box overlaps that of the first tube",
            *([f"{missing} of {frames} frames have no box and are misses"] if missing else []),
            *_strange_videos(predicted, strange, "frame"),
            *notes,
        ],
        resamples=resamples,
    )


def _controls(known: BoxTruth) -> tuple[Mapping[str, TubesByVideo], list[str]]:
    """Trivial answers, or a note why there are none."""
    missing = sorted(name for name, tubes in known.tubes.items() if tubes and name not in known.sizes)
    if missing:
        why = f"the size of the frames of {len(missing)} videos is not known, their files not being there"
        return {}, [f"no controls: {why}: {', '.join(missing[:3])}"]
    return tube_controls(known), []


def _size(tube: Tube, level: Level) -> int:
    return len(tube.frames) if level == "frame" else 1


def _count(videos: Iterable[VideoTubes], level: Level) -> int:
    """Predicted boxes, or tubes."""
    return sum(_size(tube, level) for video in videos for tube in video.tubes)


def _strange_videos(predicted: Mapping[str, VideoTubes], strange: list[str], level: Level) -> list[str]:
    names = [name for name in strange for _ in range(_count([predicted[name]], level))]
    return strangers("videos", names, (), _NOWHERE)


def _hits(boxes: Mapping[str, np.ndarray], firsts: Mapping[str, Tube], levels: Sequence[float]) -> Measured:
    """Hit rates of ``boxes``, `(N, 4)` by video, on the frames of each video's first tube."""
    rates = np.stack(
        [hit_rate(torch.from_numpy(boxes[name]), torch.from_numpy(tube.boxes), levels) for name, tube in firsts.items()]
    )
    sizes = np.array([len(tube.frames) for tube in firsts.values()])
    labels = np.array([tube.label for tube in firsts.values()])
    per_class = {
        label: np.average(rates[labels == label], 0, sizes[labels == label]) for label in np.unique(labels).tolist()
    }
    return measured_rate(rates, sizes, per_class)


def _best_boxes(answer: TubesByVideo, firsts: Mapping[str, Tube]) -> dict[str, np.ndarray]:
    """The surest box in each frame of the first tube, `(N, 4)` by video, NaN where there is none; ties: the first."""
    best = {}
    for name, first in firsts.items():
        boxes = np.full((len(first.frames), 4), np.nan)
        top = np.full(len(first.frames), -np.inf)
        for tube in answer.get(name, ()):
            _, here, there = np.intersect1d(first.frames, tube.frames, assume_unique=True, return_indices=True)
            better = tube.box_scores[there] > top[here]
            top[here[better]], boxes[here[better]] = tube.box_scores[there[better]], tube.boxes[there[better]]
        best[name] = boxes
    return best


def _tubes(answer: TubesByVideo, videos: Iterable[str], labels: list[str]) -> Tubes:
    """Tubes of the named videos and classes as one table; those of a truth score 1."""
    numbers = {label: index for index, label in enumerate(labels)}
    rows = [
        (video, numbers[tube.label], tube)
        for video, name in enumerate(videos)
        for tube in answer.get(name, ())
        if tube.label in numbers
    ]
    scores = [np.ones(len(tube.frames)) if tube.score is None else tube.box_scores for *_, tube in rows]
    return Tubes(
        np.array([video for video, *_ in rows], dtype=int),
        np.array([label for _, label, _ in rows], dtype=int),
        np.array([1.0 if tube.score is None else tube.score for *_, tube in rows], dtype=float),
        np.arange(len(rows)).repeat([len(tube.frames) for *_, tube in rows]),
        np.concatenate([np.zeros(0, dtype=int), *(tube.frames for *_, tube in rows)]),
        np.concatenate([np.zeros((0, 4)), *(tube.boxes for *_, tube in rows)]),
        np.concatenate([np.zeros(0), *scores]),
    )
