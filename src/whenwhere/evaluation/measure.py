"""Run a model over clips whose truth is known and put every number beside trivial controls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from whenwhere.datasets.loader import Views, readable
from whenwhere.localization import LocalizationOptions, important_frames, mask_boxes
from whenwhere.metrics.spatial import box_iou, peak, pointing_hit
from whenwhere.metrics.temporal import frame_iou
from whenwhere.models import AttentionOutput, Network
from whenwhere.models.evidence import class_evidence, smooth
from whenwhere.video import VideoError


@dataclass(frozen=True)
class Predictions:
    """What a model said about N clips, and the truth.

    Attributes:
        logits: `(N, K)`.
        labels: `(N,)`.
        masks: `(N, T, H, W)`.
        evidence: `(N, T, H, W)` for the true class; None when it is not known where.
        weights, importance: `(N, T)`.
        active: `(N, T)` bool; None when it is not known when.
        boxes: `(N, T, 4)` in [0, 1], NaN outside; None when it is not known where.
        broken: why further clips could not be decoded; they are part of no number.
    """

    logits: Tensor
    labels: Tensor
    masks: Tensor
    evidence: Tensor | None
    weights: Tensor
    importance: Tensor
    active: Tensor | None
    boxes: Tensor | None
    broken: tuple[str, ...] = ()


@torch.no_grad()
def predict(network: Network, dataset: Dataset, batch_size: int = 16, workers: int = 0) -> Predictions:
    """Run ``network`` over ``dataset``; of several views of a video the probabilities are averaged."""
    network.eval()
    device = next(network.head.parameters()).device
    views: Views = getattr(dataset, "views", Views())
    columns: dict[str, list[Tensor]] = {}
    broken: list[str] = []
    for loaded in DataLoader(dataset, batch_size, num_workers=workers):
        whole, causes = readable(loaded)
        broken += causes
        if not len(whole["label"]):
            continue
        batch = {name: value.to(device) for name, value in whole.items()}
        if views != Views():
            batch |= {name: batch[name].flatten(0, 1) for name in ("features", "frames") if name in batch}
        features = network.features(batch)
        row: dict[str, Tensor] = {}
        if "boxes" in batch and views == Views():
            output, row["evidence"] = class_evidence(network.head, features, batch["label"])
        else:
            output = _average_views(network.head(features), len(batch["label"]), views)
        row |= {
            "logits": output.logits,
            "labels": batch["label"],
            "masks": output.mask[:, :, 0],
            "weights": output.weights.mean(1),
            "importance": output.importance,
        }
        row |= {name: batch[name] for name in ("active", "boxes") if name in batch}
        for name, value in row.items():
            columns.setdefault(name, []).append(value.float().cpu() if value.is_floating_point() else value.cpu())
    joined = {name: torch.cat(parts) for name, parts in columns.items()}
    if not joined:
        raise VideoError(f"none of the clips can be decoded; the first: {broken[0]}")
    known: dict[str, Any] = {"active": None, "boxes": None, "evidence": None, **joined}
    return Predictions(**known, broken=tuple(broken))


def _average_views(output: AttentionOutput, videos: int, views: Views) -> AttentionOutput:
    """Mean probabilities of each video's views, as logits; attention of the middle one."""
    if len(output.logits) == videos:
        return output
    logits, mask, weights = (value.unflatten(0, (videos, -1)) for value in output)
    return AttentionOutput(logits.softmax(-1).mean(1).log(), mask[:, views.middle], weights[:, views.middle])


@dataclass(frozen=True)
class Score:
    """One line of a results table.

    Attributes:
        name: of the measure.
        value: the model's.
        controls: what trivial answers score by the same measure.
        count: clips or frames measured.
    """

    name: str
    value: float
    controls: dict[str, float]
    count: int

    @property
    def best_control(self) -> float:
        return max(self.controls.values())


def accuracy_score(predictions: Predictions) -> Score:
    """Top-1 accuracy beside chance and always naming the class that is most frequent here."""
    labels = predictions.labels
    shares = torch.bincount(labels, minlength=predictions.logits.shape[1]) / len(labels)
    value = float((predictions.logits.argmax(1) == labels).float().mean())
    controls = {"chance": 1 / predictions.logits.shape[1], "largest class": float(shares.max())}
    return Score("accuracy", value, controls, len(labels))


def temporal_scores(predictions: Predictions, options: LocalizationOptions | None = None, seed: int = 0) -> list[Score]:
    """When: mean temporal IoU of the important frames, and the share of clips above 0.5 and 0.7.

    Controls: all frames; a random run of the true interval's mean length; a random half of the frames.
    """
    if predictions.active is None:
        return []
    has = predictions.active.any(1)
    truth, importance = predictions.active[has], predictions.importance[has]
    ours = frame_iou(important_frames(importance, options), truth)
    generator = torch.Generator().manual_seed(seed)
    answers = {
        "all frames": torch.ones_like(truth),
        "random run": _random_runs(truth, generator),
        "random half": torch.rand(truth.shape, generator=generator) < 0.5,
    }
    controls = {name: frame_iou(answer, truth) for name, answer in answers.items()}
    scores = [
        Score("when: mean tIoU", float(ours.mean()), {n: float(v.mean()) for n, v in controls.items()}, len(ours))
    ]
    for level in (0.5, 0.7):
        shares = {name: float((value > level).float().mean()) for name, value in controls.items()}
        scores.append(Score(f"when: tIoU > {level}", float((ours > level).float().mean()), shares, len(ours)))
    return scores


def _random_runs(truth: Tensor, generator: torch.Generator) -> Tensor:
    length = round(float(truth.sum(1).float().mean()))
    starts = torch.randint(truth.shape[1] - length + 1, (len(truth), 1), generator=generator)
    frames = torch.arange(truth.shape[1])
    return (frames >= starts) & (frames < starts + length)


def spatial_scores(predictions: Predictions, options: LocalizationOptions | None = None, seed: int = 0) -> list[Score]:
    """Where, on the action's frames: share of frames with the mask's peak, and that of the evidence for the true class
    (what the pointing game asks for), in the true box; mean IoU of the masks' boxes.

    Controls: the centre (point; box of half width and height), random points and boxes, the full frame.
    """
    if predictions.boxes is None or predictions.evidence is None:
        return []
    inside = ~predictions.boxes.isnan().any(-1)
    truth, masks = predictions.boxes[inside], predictions.masks[inside]
    size = torch.tensor([masks.shape[2], masks.shape[1]] * 2)
    hits = pointing_hit(peak(masks), truth)
    evident = pointing_hit(peak(smooth(predictions.evidence)[inside]), truth)
    overlap = box_iou(mask_boxes(masks, options) / size, truth)
    generator = torch.Generator().manual_seed(seed)
    points = {"centre": torch.full((len(truth), 2), 0.5), "random": torch.rand((len(truth), 2), generator=generator)}
    corner = torch.rand((len(truth), 2), generator=generator) / 2
    boxes = {
        "full frame": torch.tensor([0.0, 0.0, 1.0, 1.0]).expand_as(truth),
        "centre box": torch.tensor([0.25, 0.25, 0.75, 0.75]).expand_as(truth),
        "random box": torch.cat([corner, corner + 0.5], dim=-1),
    }
    pointing = {name: float(pointing_hit(answer, truth).float().mean()) for name, answer in points.items()}
    areas = {name: float(box_iou(answer, truth).mean()) for name, answer in boxes.items()}
    return [
        Score("where: pointing", float(hits.float().mean()), pointing, len(truth)),
        Score("where: pointing, class evidence", float(evident.float().mean()), pointing, len(truth)),
        Score("where: mean box IoU", float(overlap.mean()), areas, len(truth)),
    ]


def all_scores(predictions: Predictions, options: LocalizationOptions | None = None) -> Iterator[Score]:
    """Every measure the truth allows."""
    yield accuracy_score(predictions)
    yield from temporal_scores(predictions, options)
    yield from spatial_scores(predictions, options)
