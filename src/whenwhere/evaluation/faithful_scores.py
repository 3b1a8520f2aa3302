"""Whether what the network points at is what it decides by, as scores beside controls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from whenwhere.datasets.loader import readable
from whenwhere.evaluation.faithfulness import (
    FaithfulnessOptions,
    explain_features,
    explained_region,
    lower_is_better,
    measure_faithfulness,
    measure_region,
    saliency_maps,
)
from whenwhere.evaluation.scores import Score, mean_score, own_scores
from whenwhere.metrics.faithfulness import loss_ratio
from whenwhere.models import Network

_WHAT = {"joint": "cells of frames", "space": "cells, ranked within each frame,", "time": "whole frames"}
PROTOCOL = {
    **{
        f"deletion, {over}": f"1 - area under the class's probability as {what} go, the most salient first (RISE)"
        for over, what in _WHAT.items()
    },
    **{
        f"insertion, {over}": f"area under the class's probability as {what} come back, the most salient first (RISE)"
        for over, what in _WHAT.items()
    },
    "average drop": "1 - mean drop of the probability when only what is salient is kept (Grad-CAM++)",
    "average increase": "share of clips whose probability rises when only what is salient is kept (Grad-CAM++)",
}


def faithfulness_scores(
    network: Network, features: Tensor, labels: Tensor, options: FaithfulnessOptions | None = None
) -> Iterator[Score]:
    """Deletion, insertion, average drop and increase, and the weight of the explained region.

    Args:
        features: `(N, T, C, H, W)`; every clip costs some fifty forward passes of the head.
        labels: `(N,)`.
    """
    options = options or FaithfulnessOptions(over=("joint",))
    explained = explain_features(network.head, features, labels, options.clips)
    maps = saliency_maps(explained, options.seed)
    measured = measure_faithfulness(network, features, labels, maps, options)
    for measure in measured["attention"]:
        values = {name: columns[measure] for name, columns in measured.items()}
        if lower_is_better(measure):
            values = {name: 1 - value for name, value in values.items()}
        yield from own_scores(f"faithful: {measure}", PROTOCOL[measure], values)
    yield _region_score(network, features, labels, explained_region(explained), options)


def _region_score(
    network: Network, features: Tensor, labels: Tensor, regions: Tensor, options: FaithfulnessOptions
) -> Score:
    deleted = measure_region(network, features, labels, regions, replace(options, draws=4))
    random = deleted.random_loss
    times = float(loss_ratio(deleted.explained_loss, random))
    protocol = f"probability lost with the explained region; {times:.1f} times that of random tubes of equal volume"
    return mean_score("faithful: explained region", protocol, deleted.explained_loss, {"random tube": random})


@torch.no_grad()
def some_features(network: Network, dataset: Dataset, clips: int) -> tuple[Tensor, Tensor]:
    """Features `(N, T, C, H, W)` and labels `(N,)` of clips evenly spaced over a set."""
    network.eval()
    total = len(dataset)  # type: ignore[arg-type]
    picked = torch.linspace(0, total - 1, min(clips, total)).round().long().unique().tolist()
    batch, _ = readable(default_collate([dataset[index] for index in picked]))
    device = next(network.head.parameters()).device
    tensors = {name: value.to(device) for name, value in batch.items()}
    return network.features(tensors).float(), tensors["label"]
