"""Measure a run on one split: tables, a record that names everything, predictions to score again, a page to look at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from whenwhere.datasets.integrity import content_hash
from whenwhere.evaluation.class_scores import save_run_scores
from whenwhere.evaluation.faithful_scores import faithfulness_scores, some_features
from whenwhere.evaluation.faithfulness import FaithfulnessOptions
from whenwhere.evaluation.measure import Predictions, predict
from whenwhere.evaluation.predictions import (
    Tube,
    VideoTubes,
    write_boxes,
    write_metrics,
    write_segment_truth,
    write_segments,
)
from whenwhere.evaluation.sanity import sanity_report
from whenwhere.evaluation.scores import Score, all_scores, classification_record
from whenwhere.evaluation.truth import sample_names
from whenwhere.geometry import true_runs
from whenwhere.localization import find_segments, mask_boxes
from whenwhere.metrics.calibration import confidences, reliability
from whenwhere.metrics.classification import confusion_matrix, top_k_hits
from whenwhere.metrics.faithfulness import Over
from whenwhere.models import Network
from whenwhere.recognizer import merge_repeats
from whenwhere.rendering.evaluation_page import Page, write_evaluation_page
from whenwhere.rendering.plots import draw_confusion_matrix, write_figure
from whenwhere.structures import Clip, Segment
from whenwhere.training.checkpoint import MODEL_FILE, ModelRecord
from whenwhere.training.data import Data
from whenwhere.video import grid_to_pixels, probe


@dataclass(frozen=True)
class EvaluationOptions:
    """What is measured beside what, when and where.

    Attributes:
        faithful: clips on which faithfulness is measured; 0: not at all.
        sanity: clips on which explanations of ever more random networks are compared with this one's, and of mirrored
            and shifted clips with those of the clips; 0: not at all.
        over: what is deleted and inserted for faithfulness: cells of frames jointly, in space, or whole frames.
    """

    faithful: int = 0
    sanity: int = 0
    over: tuple[Over, ...] = ("joint",)


class Evaluation(NamedTuple):
    """Attributes:
    scores: every measure.
    metrics: the record, as written to JSON.
    """

    scores: list[Score]
    metrics: dict[str, Any]


def evaluate(
    run: Path,
    network: Network,
    record: ModelRecord,
    data: Data,
    split: str,
    options: EvaluationOptions | None = None,
    log: Callable[[str], None] = print,
) -> Evaluation:
    """Measure a network and leave in its run's folder, for the split ``S``:

    ``metrics_S.json``: every number with interval, protocol and controls, and what made it; ``report_S.html``;
    ``confusion_S.png``;
    ``segments_S.json`` (ActivityNet) and ``boxes_S.json``, predictions for ``whenwhere score``; ``truth_S.json``
    where it is known when; ``scores_S.npz``: the logits of every clip, for ``whenwhere fuse``.
    """
    options = options or EvaluationOptions()
    dataset = getattr(data, split)
    files = data.clips.get(split)
    all_names = sample_names(files, split, len(dataset))
    predictions = predict(network, dataset, names=all_names)
    for cause in predictions.broken:
        log(f"skipped: {cause}")
    scores = list(all_scores(predictions))
    samples = {clips: some_features(network, dataset, clips) for clips in {options.faithful, options.sanity} - {0}}
    if options.faithful:
        features, labels = samples[options.faithful]
        log(f"faithfulness on {len(labels)} clips")
        scores += faithfulness_scores(network, features, labels, FaithfulnessOptions(over=options.over))
    names, file_of = list(predictions.clips), dict(zip(all_names, files or ()))
    clips = [file_of[name] for name in names] if files else None
    diagram = reliability(confidences(predictions.logits), top_k_hits(predictions.logits, predictions.labels).numpy())
    metrics = {
        **_origin(run, record, data, split),
        "broken": len(data.broken) + len(predictions.broken),
        "scores": [score.to_dict() for score in scores],
        **classification_record(predictions.logits, predictions.labels, data.classes, diagram),
    }
    if options.sanity:
        features, labels = samples[options.sanity]
        log(f"sanity checks on {len(labels)} clips")
        metrics["sanity"] = sanity_report(network, {"features": features}, labels)
    write_metrics(run, split, metrics)
    save_run_scores(run, split, predictions, data.classes)
    _write_predictions(run, split, names, clips, predictions, data)
    confusion = draw_confusion_matrix(confusion_matrix(predictions.logits, predictions.labels), data.classes)
    write_figure(confusion, run / f"confusion_{split}.png")
    title = f"{run}, {split} split"
    page = Page(title, scores, metrics, predictions, confusion, diagram, data.classes, names, clips)
    write_evaluation_page(page, run / f"report_{split}.html")
    return Evaluation(scores, metrics)


def _origin(run: Path, record: ModelRecord, data: Data, split: str) -> dict[str, Any]:
    """What a reader needs to get the same numbers: versions, seeds, and hashes of model and data."""
    config = record.config
    model = run / MODEL_FILE if run.is_dir() else run
    said = hashlib.sha256(json.dumps(asdict(config.data), sort_keys=True, default=str).encode())
    for clip in data.clips.get(split, []):
        known = {**clip.to_dict(), "path": Path(clip.path).name}
        said.update(json.dumps(known, sort_keys=True).encode())
    if config.data.path and Path(config.data.path).is_file():
        said.update(content_hash(config.data.path).encode())
    return {
        "split": split,
        "clips": len(getattr(data, split)),
        "versions": {name: version(name) for name in ("whenwhere", "torch", "timm", "av", "numpy")},
        "seed": config.fit.seed,
        "model_sha256": content_hash(model) if model.is_file() else None,
        "backbone": record.backbone_identity,
        "data_sha256": said.hexdigest(),
    }


def _write_predictions(
    run: Path, split: str, names: list[str], clips: list[Clip] | None, predictions: Predictions, data: Data
) -> None:
    """Segments and boxes of every clip; without video files a frame counts as a second and a cell as a pixel."""
    segments, tubes, truth, durations = {}, {}, {}, {}
    probabilities, named = predictions.logits.softmax(1).max(1)
    for index, name in enumerate(names):
        label, score = data.classes[int(named[index])], float(probabilities[index])
        line = _timeline(predictions, index, clips[index] if clips else None, data)
        looked, importance, _, masks = merge_repeats(
            line.looked, predictions.importance[index], predictions.weights[index], predictions.masks[index]
        )
        found = find_segments(importance, looked, line.duration, label)
        segments[name] = [Segment(s.start, s.end, label, s.score * score) for s in found]
        tubes[name] = VideoTubes(*line.size, tubes=_tube(masks, looked, found, line, label, score))
        durations[name] = line.duration
        if clips:
            truth[name] = [s for s in clips[index].segments if s.label in data.classes]
        elif predictions.active is not None:
            truth[name] = _true_segments(predictions.active[index], data.classes[int(predictions.labels[index])])
    used = {"used": True, "details": "backbone pretrained on ImageNet unless the recipe says otherwise"}
    write_segments(run / f"segments_{split}.json", segments, used)
    write_boxes(run / f"boxes_{split}.json", tubes)
    if any(truth.values()):
        write_segment_truth(run / f"truth_{split}.json", truth, durations, subset=split)


class _Timeline(NamedTuple):
    """The clip behind a prediction.

    Attributes:
        looked: `(T,)` seconds of the frames the model looked at.
        shown: `(F,)` seconds of all its frames.
        duration: seconds.
        size: width and height in pixels.
        area: x0, y0, x1, y1 in pixels that the grid covers.
    """

    looked: np.ndarray
    shown: np.ndarray
    duration: float
    size: tuple[int, int]
    area: tuple[float, float, float, float]


def _timeline(predictions: Predictions, index: int, clip: Clip | None, data: Data) -> _Timeline:
    frames, height, width = predictions.masks.shape[1:]
    if clip is None or data.backbone is None or predictions.times is None:
        seconds = np.arange(frames) + 0.5
        return _Timeline(seconds, seconds, float(frames), (width, height), (0.0, 0.0, float(width), float(height)))
    info = probe(clip.path)
    area = data.backbone.preprocessing.area(info.width, info.height)
    looked = predictions.times[index].double().numpy()
    return _Timeline(looked, info.timestamps, info.duration, (info.width, info.height), area)


def _true_segments(active: Tensor, label: str) -> list[Segment]:
    return [Segment(float(start), float(end), label) for start, end in true_runs(active[None].numpy())[1]]


def _tube(
    masks: Tensor, looked: np.ndarray, segments: Sequence[Segment], line: _Timeline, label: str, score: float
) -> tuple[Tube, ...]:
    """One tube through every frame within the segments; between frames the model looked at, boxes are interpolated."""
    inside = [i for i, t in enumerate(line.shown) if any(s.start <= t <= s.end for s in segments)]
    if not inside:
        return ()
    corners = grid_to_pixels(mask_boxes(masks).numpy(), (masks.shape[1], masks.shape[2]), line.area)
    shown = line.shown[inside]
    boxes = np.stack([np.interp(shown, looked, side) for side in corners.T], axis=1)
    return (Tube(label, np.array(inside), shown, boxes, score),)
