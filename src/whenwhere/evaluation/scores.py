"""Every number with its interval, the clips it stands on, its protocol, and the trivial controls it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whenwhere.evaluation.answers import OWN, When, Where, own_measure, when_answers, where_answers
from whenwhere.evaluation.measure import Predictions
from whenwhere.geometry import true_runs
from whenwhere.localization import LocalizationOptions
from whenwhere.metrics.bootstrap import Estimate, best_of, bootstrap_interval, bootstrap_statistic, paired_difference
from whenwhere.metrics.calibration import Reliability
from whenwhere.metrics.classification import class_mean, per_class_table, top_k_hits
from whenwhere.metrics.controls import full_frame
from whenwhere.metrics.ranking import Ranked, mean_average_precision
from whenwhere.metrics.spatial import box_iou, mass_inside, pointing_hit, space_time_hit, space_time_mass
from whenwhere.metrics.temporal import frame_iou
from whenwhere.metrics.temporal_detection import SegmentTable, activitynet_detection

Figure = Callable[[np.ndarray | None], float]  # from how often each clip was drawn
TOLERANCE = 15.0  # pixels by which a peak may miss a box (Zhang et al. 2016)
MAP_DRAWS = 200  # resamples for the intervals of a mean average precision, which costs more than a mean


@dataclass(frozen=True)
class Score:
    """One line of a results table; more is better.

    Attributes:
        name: of the measure.
        protocol: how it is measured, and whose rule that is.
        estimate: the model's value, 95 % bootstrap interval over clips, and how many clips or frames.
        controls: the same of answers that are not this model's attention, at least one.
        lead: value minus that of the best control on the same clips, with its interval.
    """

    name: str
    protocol: str
    estimate: Estimate
    controls: dict[str, Estimate]
    lead: Estimate

    @property
    def value(self) -> float:
        return self.estimate.value

    @property
    def count(self) -> int:
        return self.estimate.count

    @property
    def best_control(self) -> str:
        return best_of(self.controls)

    @property
    def verdict(self) -> str:
        """In words, whether the best control is beaten; within the interval of the lead nothing is claimed."""
        best = self.best_control
        if self.lead.low > 0:
            return f"beats {best}"
        if self.lead.value > 0:
            return f"above {best}, not beyond chance"
        return f"does not beat {best}"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "best_control": self.best_control, "verdict": self.verdict}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Score:
        controls = {name: Estimate(**control) for name, control in data["controls"].items()}
        return cls(data["name"], data["protocol"], Estimate(**data["estimate"]), controls, Estimate(**data["lead"]))


def mean_score(
    name: str, protocol: str, ours: Tensor, controls: Mapping[str, Tensor], clips: Tensor | None = None
) -> Score:
    """A score that is a mean.

    Args:
        ours: `(N,)`, of each clip or frame.
        controls: `(N,)` each, of the same clips or frames.
        clips: `(N,)`, the clip each frame is of: those of one clip are drawn together.
    """
    groups = None if clips is None else clips.numpy()
    values = ours.double().numpy()
    others = {control: answer.double().numpy() for control, answer in controls.items()}
    known = {control: _estimate(answer, groups) for control, answer in others.items()}
    lead = Estimate(*paired_difference(values, others[best_of(known)], groups), len(values))
    return Score(name, protocol, _estimate(values, groups), known, lead)


def _estimate(values: np.ndarray, groups: np.ndarray | None) -> Estimate:
    mean = float(values.mean()) if len(values) else float("nan")
    return Estimate(mean, *bootstrap_interval(values, groups), len(values))


def classification_scores(predictions: Predictions) -> Iterator[Score]:
    """Top-1 and, with more than five classes, top-5 accuracy beside chance and the class that is most frequent here."""
    logits, labels = predictions.logits, predictions.labels
    classes = logits.shape[1]
    for k in top_k_levels(classes):
        chance = {"chance": torch.full((len(labels),), k / classes)}
        yield top_k_score(k, top_k_hits(logits, labels, k), {**chance, **largest_classes(k, labels, classes)})


def top_k_levels(classes: int) -> tuple[int, ...]:
    """The k of top-k accuracy that say something with so many classes."""
    return (1, 5) if classes > 5 else (1,)


def largest_classes(k: int, labels: Tensor, classes: int) -> dict[str, Tensor]:
    """The control that always names the k classes most frequent here: its name and hits `(N,)`."""
    frequent = torch.bincount(labels, minlength=classes).argsort(descending=True, stable=True)
    return {"largest class" if k == 1 else f"{k} largest classes": torch.isin(labels, frequent[:k])}


def top_k_score(k: int, ours: Tensor, controls: Mapping[str, Tensor]) -> Score:
    """Top-k accuracy from hits `(N,)`."""
    name = "accuracy" if k == 1 else f"top-{k} accuracy"
    return mean_score(name, f"share of clips whose class is among the {k} likeliest", ours, controls)


def classification_record(
    logits: Tensor, labels: Tensor, classes: Sequence[str], diagram: Reliability
) -> dict[str, Any]:
    """What a record says of the classes beside the scores: their mean, calibration, and each by itself."""
    hits = top_k_hits(logits, labels).numpy()
    return {
        "mean_class_accuracy": asdict(class_mean(hits, labels.numpy(), len(classes))),
        "calibration": {"protocol": "expected calibration error, 15 bins (Guo et al. 2017)", "ece": diagram.error},
        "classes": [asdict(row) for row in per_class_table(logits, labels, classes)],
    }


def temporal_scores(
    predictions: Predictions, options: LocalizationOptions | None = None, seed: int = 0
) -> Iterator[Score]:
    """When, on the clips that hold their action: IoU of frames, pointing, and mean average precision of segments."""
    if predictions.active is None or not predictions.active.any():
        return
    has = predictions.active.any(1)
    truth = predictions.active[has]
    length = max(1, round(float(truth.sum(1).float().mean())))
    answers = {
        name: When(answer.frames[has], None if answer.profile is None else answer.profile[has])
        for name, answer in when_answers(predictions, length, options, seed).items()
    }
    overlap = {name: frame_iou(answer.frames, truth) for name, answer in answers.items()}
    protocol = "IoU of the frames named and the action's frames, importance cut at half its range"
    yield from own_scores("when: mean tIoU", protocol, overlap)
    for level in (0.5, 0.7):
        yield from own_scores(f"when: tIoU > {level}", protocol, {name: iou > level for name, iou in overlap.items()})
    hits = {name: _share_of_peaks(a.profile, truth) for name, a in answers.items() if a.profile is not None}
    yield from own_scores(
        "when: pointing", "share of the profile's peaks within the action (pointing game in time)", hits
    )
    yield from _detection_scores(answers, predictions.logits[has], predictions.labels[has], truth)


def _share_of_peaks(profile: Tensor, truth: Tensor) -> Tensor:
    top = profile == profile.amax(1, keepdim=True)
    return (top & truth).sum(1) / top.sum(1)


def own_scores(name: str, protocol: str, values: Mapping[str, Tensor], clips: Tensor | None = None) -> Iterator[Score]:
    """A score for each of the network's own answers, all others as its controls."""
    controls = {answer: value for answer, value in values.items() if answer not in OWN}
    for own in OWN:
        if own in values:
            yield mean_score(own_measure(name, own), protocol, values[own], controls, clips)


def _detection_scores(
    answers: Mapping[str, When], logits: Tensor, labels: Tensor, truth: Tensor, levels: tuple[float, ...] = (0.5, 0.7)
) -> Iterator[Score]:
    """ActivityNet mAP of runs of the frames named, under the class the model names; controls get the same class."""
    confidence, named = logits.softmax(1).max(1)
    videos = np.arange(len(truth))
    true = runs_as_segments(truth, None, labels, torch.ones(len(truth)), scored=False)
    ranked = {
        name: activitynet_detection(runs_as_segments(a.frames, a.profile, named, confidence), true, levels, videos)
        for name, a in answers.items()
        if name != "uniform weights"  # the same frames as "all frames"
    }
    protocol = "ActivityNet mAP of segments in frames, labelled with the class the model names"
    for column, level in enumerate(levels):
        figures = {name: partial(_mean_at, answer, column) for name, answer in ranked.items()}
        known = {name: figure_estimate(figure, len(truth), MAP_DRAWS) for name, figure in figures.items()}
        controls = {name: estimate for name, estimate in known.items() if name not in OWN}
        best = figures[best_of(controls)]
        for own in OWN:
            if own in known:
                lead = figure_estimate(partial(ahead, figures[own], best), len(truth), MAP_DRAWS)
                yield Score(own_measure(f"when: mAP@{level}", own), protocol, known[own], controls, lead)


def _mean_at(answer: dict[str, Ranked], column: int, counts: np.ndarray | None = None) -> float:
    return float(mean_average_precision(answer, counts=counts).mean[column])


def ahead(ours: Figure, control: Figure, counts: np.ndarray | None = None) -> float:
    """By how much ours is above the control."""
    return ours(counts) - control(counts)


def figure_estimate(figure: Figure, count: int, resamples: int = 1000) -> Estimate:
    """A figure of ``count`` clips, which need not be a mean, with its interval."""
    return Estimate(figure(None), *bootstrap_statistic(figure, count, resamples=resamples), count)


def runs_as_segments(
    frames: Tensor, profile: Tensor | None, labels: Tensor, confidence: Tensor, scored: bool = True
) -> SegmentTable:
    """Runs of frames as segments, in frames; of one clip the score is shared by what each run holds of its profile."""
    videos, bounds = true_runs(frames.numpy())
    scores = None
    if scored:
        held = np.ones(len(videos))
        if profile is not None:
            sums = np.pad(profile.double().numpy().cumsum(1), ((0, 0), (1, 0)))
            held = (sums[videos, bounds[:, 1]] - sums[videos, bounds[:, 0]]) / np.maximum(sums[videos, -1], 1e-12)
        scores = confidence.numpy()[videos] * held
    return SegmentTable(videos, labels.numpy()[videos], bounds.astype(float), scores)


def spatial_scores(
    predictions: Predictions, options: LocalizationOptions | None = None, seed: int = 0
) -> Iterator[Score]:
    """Where, on the action's frames: pointing, mass inside the box, IoU of boxes; and where and when together."""
    if predictions.boxes is None or predictions.evidence is None:
        return
    inside = ~predictions.boxes.isnan().any(-1)
    if not inside.any():
        return
    truth, clips = predictions.boxes[inside], inside.nonzero()[:, 0]
    if torch.equal(truth, full_frame(len(truth))):
        return  # clips stitched in time: there is nothing to find in space
    answers = where_answers(predictions, options, seed)
    points = {name: answer.points[inside] for name, answer in answers.items() if answer.points is not None}
    protocol, hits = _pointing(points, truth, None if predictions.extent is None else predictions.extent[inside])
    yield from own_scores("where: pointing", protocol, hits, clips)
    mass = {name: mass_inside(answer.maps[inside], truth) for name, answer in answers.items()}
    yield from own_scores(
        "where: mass inside", "share of the map within the box (energy-based pointing game)", mass, clips
    )
    overlap = {name: box_iou(answer.boxes[inside], truth) for name, answer in answers.items()}
    yield from own_scores(
        "where: mean box IoU", "box around the mask's peak, mask cut at half its maximum", overlap, clips
    )
    yield from _together(predictions, answers)


def _pointing(points: Mapping[str, Tensor], boxes: Tensor, extent: Tensor | None) -> tuple[str, dict[str, Tensor]]:
    """What is asked of the points `(N, 2)`, and which of them hit `(N,)`.

    The published tolerance is in pixels of the picture, so it needs the grid's ``extent`` `(N, 2)` in pixels. A box
    beyond the grid, cut down to its border, is out of reach.
    """
    if extent is None:
        protocol = "share of frames whose peak lies in the box, no tolerance (clips have no size in pixels)"
        return protocol, {name: pointing_hit(point, boxes) for name, point in points.items()}
    protocol = f"share of frames whose peak lies in the box or less than {TOLERANCE:g} pixels away (pointing game)"
    there = (boxes[:, 2:] > boxes[:, :2]).all(1)
    pixels = boxes * extent.repeat(1, 2)
    return protocol, {name: there & pointing_hit(at * extent, pixels, TOLERANCE) for name, at in points.items()}


def _together(predictions: Predictions, answers: Mapping[str, Where]) -> Iterator[Score]:
    assert predictions.boxes is not None
    has = ~predictions.boxes.isnan().any(-1).all(-1)
    boxes = predictions.boxes[has]
    maps = {name: answer.maps[has] for name, answer in answers.items()}
    maps["attention"] = maps["attention"] * predictions.weights[has][..., None, None]
    hits = {name: space_time_hit(saliency, boxes) for name, saliency in maps.items()}
    yield from own_scores("where and when: pointing", "peak in the right place at the right time, ties shared", hits)
    mass = {name: space_time_mass(saliency, boxes) for name, saliency in maps.items()}
    yield from own_scores("where and when: mass", "share of the saliency in the right place at the right time", mass)


def all_scores(predictions: Predictions, options: LocalizationOptions | None = None, seed: int = 0) -> Iterator[Score]:
    """Every measure the truth allows."""
    yield from classification_scores(predictions)
    yield from temporal_scores(predictions, options, seed)
    yield from spatial_scores(predictions, options, seed)
