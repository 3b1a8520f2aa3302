"""Run a model over clips and keep what it says of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from whenwhere.datasets.loader import Views, readable
from whenwhere.metrics.controls import frame_difference
from whenwhere.models import AttentionOutput, Network
from whenwhere.models.evidence import class_evidence, grad_cam
from whenwhere.video import VideoError


@dataclass(frozen=True)
class Predictions:
    """What a model said about N clips, and the truth.

    Attributes:
        logits: `(N, K)`.
        labels: `(N,)`.
        masks: `(N, T, H, W)`.
        evidence, grad_cam: `(N, T, H, W)` for the true class; None when neither when nor where is known.
        difference: `(N, T, H, W)`, mean absolute change of the features from the frame before; None as above.
        weights, importance: `(N, T)`.
        active: `(N, T)` bool; None when it is not known when.
        boxes: `(N, T, 4)` in [0, 1], NaN outside; None when it is not known where.
        times: `(N, T)` seconds of the frames; None where there are no video files.
        extent: `(N, T, 2)` width and height of the grid in pixels of the picture; None where there are no video files.
        broken: why further clips could not be decoded; they are part of no number.
        clips: N names, each once; empty where the samples were given none.
    """

    logits: Tensor
    labels: Tensor
    masks: Tensor
    evidence: Tensor | None
    weights: Tensor
    importance: Tensor
    active: Tensor | None
    boxes: Tensor | None
    grad_cam: Tensor | None = None
    difference: Tensor | None = None
    times: Tensor | None = None
    extent: Tensor | None = None
    broken: tuple[str, ...] = ()
    clips: tuple[str, ...] = ()


@torch.no_grad()
def predict(
    network: Network, dataset: Dataset, batch_size: int = 16, workers: int = 0, names: Sequence[str] = ()
) -> Predictions:
    """Run ``network`` over ``dataset``; several views of a video are averaged, and count as samples of a batch.

    Where and when, evidence and Grad-CAM among it, are those of the middle view.

    Args:
        names: of all samples, in their order; those that cannot be decoded are left out.
    """
    network.eval()
    device = next(network.head.parameters()).device
    views: Views = getattr(dataset, "views", Views())
    columns: dict[str, list[Tensor]] = {}
    broken: list[str] = []
    kept: list[bool] = []
    for loaded in DataLoader(dataset, max(1, batch_size // views.count), num_workers=workers):
        kept += (loaded["label"] >= 0).tolist()
        whole, causes = readable(loaded)
        broken += causes
        if not len(whole["label"]):
            continue
        batch = {name: value.to(device) for name, value in whole.items()}
        if views.count > 1:
            batch |= {name: batch[name].flatten(0, 1) for name in ("features", "frames") if name in batch}
        features = network.features(batch)
        row: dict[str, Tensor] = {}
        if {"active", "boxes"} & batch.keys():
            middle = features[views.middle :: views.count]
            output, row["evidence"] = class_evidence(network.head, middle, batch["label"])
            row["grad_cam"] = grad_cam(network.head, middle, batch["label"])[1]
            row["difference"] = frame_difference(middle)
        if views.count > 1 or not row:
            output = _average_views(network.head(features), len(batch["label"]), views)
        row |= {
            "logits": output.logits,
            "labels": batch["label"],
            "masks": output.mask[:, :, 0],
            "weights": output.weights.mean(1),
            "importance": output.importance,
        }
        row |= {name: batch[name] for name in ("active", "boxes", "extent", "times") if name in batch}
        for name, value in row.items():
            columns.setdefault(name, []).append(value.float().cpu() if value.is_floating_point() else value.cpu())
    joined = {name: torch.cat(parts) for name, parts in columns.items()}
    if not joined:
        raise VideoError(f"none of the clips can be decoded; the first: {broken[0]}")
    known: dict[str, Any] = {"active": None, "boxes": None, "evidence": None, **joined}
    clips = [name for name, there in zip(names, kept, strict=True) if there] if names else []
    return Predictions(**known, broken=tuple(broken), clips=tuple(clips))


def _average_views(output: AttentionOutput, videos: int, views: Views) -> AttentionOutput:
    """Mean probabilities of each video's views, as logits, or their mean logits; attention of the middle one."""
    if len(output.logits) == videos:
        return output
    logits, mask, weights = (value.unflatten(0, (videos, -1)) for value in output[:3])
    of_probabilities = logits.log_softmax(-1).logsumexp(1) - math.log(views.count)
    mean = logits.mean(1) if views.average == "logits" else of_probabilities
    return AttentionOutput(mean, mask[:, views.middle], weights[:, views.middle])
