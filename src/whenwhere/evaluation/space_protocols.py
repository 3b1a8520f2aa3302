"""Files of boxes scored by the field's protocols for "where".

Boxes are JSON: ``{"version": 1, "format": "whenwhere-boxes", "videos": {NAME: {"width", "height", "tubes": [...]}}}``,
a tube being ``label``, ``score``, ``frames`` (counted from 0 at the video's own rate), ``boxes`` (x0, y0, x1, y1 in
pixels) and perhaps ``scores``, one a box. The truth is such a file without scores, ``finalAnnots.mat`` of UCF101-24
(its test split 1), or a manifest with boxes (and ``fps``, unless every frame has a box). AVA has files of its own.

Every protocol returns ``protocol`` (its name), ``iou`` (the thresholds), ``map`` (one value a threshold),
``per_class`` (the same for each class of the truth), ``n`` and ``unit`` (how many frames or videos it is measured on)
and ``videos`` (how many).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from whenwhere.datasets.manifest import ManifestError
from whenwhere.evaluation.ava import AvaRow, read_action_list, read_ava
from whenwhere.evaluation.box_files import Tube, matched, read_predicted, read_truth
from whenwhere.metrics.average_precision import Rule
from whenwhere.metrics.ranking import Ranked, mean_average_precision
from whenwhere.metrics.spatial import hit_rate
from whenwhere.metrics.spatial_detection import (
    ACT,
    AVA,
    UCF101_24,
    Boxes,
    DetectionProtocol,
    Tubes,
    rank_boxes,
    rank_tubes,
)

Level = Literal["frame", "video"]


class Ranking(NamedTuple):
    """Matched detections, enough to score any resample of the videos (``counts`` of the metrics).

    Attributes:
        protocol: its name.
        iou: K thresholds.
        rule: of the average precision.
        classes: by name, those of the truth.
        videos: names, in the order of the numbers in ``classes``.
        frames: how many are annotated.
        unit: what detections are counted against, "frames" or "videos".
    """

    protocol: str
    iou: tuple[float, ...]
    rule: Rule
    classes: dict[str, Ranked]
    videos: tuple[str, ...]
    frames: int
    unit: str


def frame_map(predictions: str | Path, truth: str | Path, thresholds: Sequence[float]) -> dict[str, Any]:
    """Frame-mAP of UCF101-24 (Singh, Saha et al. 2017).

    Raises:
        ManifestError: a file that is missing or not as it should be, or predictions for none of the videos.
        ValueError: a threshold outside (0, 1].
    """
    return report(rank_files(predictions, truth, thresholds, "frame", UCF101_24))


def video_map(predictions: str | Path, truth: str | Path, thresholds: Sequence[float]) -> dict[str, Any]:
    """Video-mAP of UCF101-24 (Singh, Saha et al. 2017); errors as :func:`frame_map`."""
    return report(rank_files(predictions, truth, thresholds, "video", UCF101_24))


def act_frame_map(predictions: str | Path, truth: str | Path, thresholds: Sequence[float]) -> dict[str, Any]:
    """Frame-mAP of ACT (Kalogeiton et al. 2017): corners are pixels, trapezoids under the curve."""
    return report(rank_files(predictions, truth, thresholds, "frame", ACT))


def act_video_map(predictions: str | Path, truth: str | Path, thresholds: Sequence[float]) -> dict[str, Any]:
    """Video-mAP of ACT (Kalogeiton et al. 2017): corners are pixels, trapezoids under the curve."""
    return report(rank_files(predictions, truth, thresholds, "video", ACT))


def rank_files(
    predictions: str | Path, truth: str | Path, thresholds: Sequence[float], level: Level, protocol: DetectionProtocol
) -> Ranking:
    """Match predicted tubes with the truth, box by box in each frame or tube by tube in each video."""
    true = read_truth(truth)
    predicted = matched(read_predicted(predictions), true)
    names = sorted({tube.label for tubes in true.values() for tube in tubes})
    wanted = _tubes(true, true, names)
    found = _tubes(predicted, true, names)
    if level == "frame":
        classes = rank_boxes(found.boxes(), wanted.boxes(), len(true), thresholds, protocol)
    else:
        classes = rank_tubes(found, wanted, len(true), thresholds, protocol)
    return Ranking(
        f"{level}-mAP, {protocol.name}",
        tuple(map(float, thresholds)),
        protocol.rule,
        {name: classes[index] for index, name in enumerate(names)},
        tuple(true),
        len(np.unique(wanted.videos[wanted.members] * (wanted.frames.max() + 1) + wanted.frames)),
        f"{level}s",
    )


def report(ranking: Ranking) -> dict[str, Any]:
    """What a protocol returns."""
    result = mean_average_precision(ranking.classes, ranking.rule)
    return {
        "protocol": ranking.protocol,
        "iou": list(ranking.iou),
        "map": result.mean.tolist(),
        "per_class": {str(name): values.tolist() for name, values in result.per_class.items()},
        "n": ranking.frames if ranking.unit == "frames" else len(ranking.videos),
        "unit": ranking.unit,
        "videos": len(ranking.videos),
    }


def paper_boxes(predictions: str | Path, truth: str | Path, thresholds: Sequence[float]) -> dict[str, Any]:
    """The paper's hit rate (:func:`whenwhere.metrics.spatial.hit_rate`), in ``map`` so that all protocols look alike.

    Every annotated frame of each video's first tube counts, and a frame without a box is a miss. Of several boxes in
    a frame the one with the highest score is meant, whatever its label: the paper has one mask, not one a class.
    ``covered`` is the share of the frames that have a box at all.

    Raises:
        ManifestError: as :func:`frame_map`.
    """
    true = {name: tubes for name, tubes in read_truth(truth).items() if tubes}
    predicted = matched(read_predicted(predictions), true)
    wanted, found, labels = [], [], []
    for name, (first, *_) in true.items():
        best = _best_boxes(predicted.get(name, []))
        wanted.append(first.corners)
        found.append([best.get(frame, (float("nan"),) * 4) for frame in first.frames.tolist()])
        labels += [first.label] * len(first.frames)
    boxes, corners = torch.tensor(np.concatenate(found)), torch.tensor(np.concatenate(wanted))
    label = np.array(labels)
    return {
        "protocol": "hit rate over annotated frames (the paper's Table 3)",
        "iou": list(map(float, thresholds)),
        "map": hit_rate(boxes, corners, thresholds).tolist(),
        "per_class": {
            name: hit_rate(boxes[label == name], corners[label == name], thresholds).tolist()
            for name in np.unique(label).tolist()
        },
        "n": len(corners),
        "unit": "frames",
        "videos": len(true),
        "covered": float((~boxes.isnan().any(1)).double().mean()),
    }


def ava(
    predictions: str | Path, truth: str | Path, thresholds: Sequence[float], action_list: str | Path | None = None
) -> dict[str, Any]:
    """Frame-mAP of AVA (Gu et al. 2018), from its own CSV files.

    Args:
        action_list: the labels that count and their names; None: ``action_list.txt`` beside the truth, or, where there
            is none, every label of the truth under its number.

    Raises:
        ManifestError: a file that is missing or not as it should be, or no box of a label that counts in the truth.
        ValueError: a threshold outside (0, 1].
    """
    beside = Path(truth).with_name("action_list.txt")
    listed = action_list or (beside if beside.is_file() else None)
    true, predicted = read_ava(truth, scored=False), read_ava(predictions, scored=True)
    names = read_action_list(listed) if listed else {row.label: str(row.label) for row in true}
    true, predicted = ([row for row in rows if row.label in names] for rows in (true, predicted))
    if not true:
        raise ManifestError(f"{truth} has no boxes of the labels that count: {sorted(names)}")
    videos = {name: index for index, name in enumerate(sorted({row.video for row in [*true, *predicted]}))}
    classes = rank_boxes(_boxes(predicted, videos), _boxes(true, videos), len(videos), thresholds, AVA)
    present = sorted({row.label for row in true})
    return report(
        Ranking(
            f"frame-mAP, {AVA.name}",
            tuple(map(float, thresholds)),
            AVA.rule,
            {names[label]: classes[label] for label in present},
            tuple(videos),
            len({(row.video, row.second) for row in true}),
            "frames",
        )
    )


def _boxes(rows: list[AvaRow], videos: dict[str, int]) -> Boxes:
    return Boxes(
        np.array([videos[row.video] for row in rows], dtype=int),
        np.array([row.second for row in rows], dtype=int),
        np.array([row.label for row in rows], dtype=int),
        np.array([row.corners for row in rows], dtype=float).reshape(-1, 4),
        np.array([row.score for row in rows], dtype=float),
    )


def _tubes(tubes: dict[str, list[Tube]], videos: Iterable[str], labels: list[str]) -> Tubes:
    """Tubes of the named videos and classes as one table."""
    numbers = {label: index for index, label in enumerate(labels)}
    rows = [
        (video, numbers[tube.label], tube)
        for video, name in enumerate(videos)
        for tube in tubes.get(name, ())
        if tube.label in numbers
    ]
    lengths = [len(tube.frames) for *_, tube in rows]
    scores = [np.full(len(tube.frames), tube.score) if tube.scores is None else tube.scores for *_, tube in rows]
    return Tubes(
        np.array([video for video, *_ in rows], dtype=int),
        np.array([label for _, label, _ in rows], dtype=int),
        np.array([tube.score for *_, tube in rows], dtype=float),
        np.arange(len(rows)).repeat(lengths),
        np.concatenate([np.zeros(0, dtype=int), *(tube.frames for *_, tube in rows)]),
        np.concatenate([np.zeros((0, 4)), *(tube.corners for *_, tube in rows)]),
        np.concatenate([np.zeros(0), *scores]),
    )


def _best_boxes(tubes: list[Tube]) -> dict[int, tuple[float, ...]]:
    """The most confident box in each frame; of equal ones the first."""
    best: dict[int, tuple[float, tuple[float, ...]]] = {}
    for tube in tubes:
        scores = np.full(len(tube.frames), tube.score) if tube.scores is None else tube.scores
        for frame, score, corners in zip(tube.frames.tolist(), scores.tolist(), tube.corners.tolist()):
            if frame not in best or score > best[frame][0]:
                best[frame] = (score, tuple(corners))
    return {frame: corners for frame, (_, corners) in best.items()}
