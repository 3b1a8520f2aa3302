"""Whether a network's explanations name what it decides by, beside Grad-CAM of the same network and trivial maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from whenwhere.localization import LocalizationOptions, important_frames
from whenwhere.metrics.baselines import mean_baseline
from whenwhere.metrics.faithfulness import (
    CurveOptions,
    Over,
    Probability,
    RegionDeletion,
    confidence_drop,
    confidence_increase,
    delete_region,
    deletion_curve,
    insertion_curve,
    keep_salient,
    probabilities,
)
from whenwhere.models import Network
from whenwhere.models.evidence import class_evidence, grad_cam


class Explained(NamedTuple):
    """What a head says of N clips, and why.

    Attributes:
        mask: `(N, T, H, W)` in [0, 1].
        weights: `(N, T)`, mean over steps.
        importance: `(N, T)`, sums to 1.
        evidence: `(N, T, H, W)` for the class, see :func:`class_evidence`.
        grad_cam: `(N, T, H, W)` for the class, pooled frame by frame.
        probability: `(N,)` of the class.
    """

    mask: Tensor
    weights: Tensor
    importance: Tensor
    evidence: Tensor
    grad_cam: Tensor
    probability: Tensor


@torch.no_grad()
def explain_features(head: nn.Module, features: Tensor, classes: Tensor, clips: int = 16) -> Explained:
    """Everything a head explains by, ``clips`` at a time; the head in evaluation mode.

    Args:
        features: `(N, T, C, H, W)`, on the head's device.
        classes: `(N,)` that are explained.
    """
    parts = []
    for some, wanted in zip(features.float().split(clips), classes.split(clips)):
        output, evidence = class_evidence(head, some, wanted)
        _, cam = grad_cam(head, some, wanted)
        probability = output.logits.softmax(1).gather(1, wanted[:, None])[:, 0]
        parts.append((output.mask[:, :, 0], output.weights.mean(1), output.importance, evidence, cam, probability))
    return Explained(*(torch.cat(columns) for columns in zip(*parts)))


def saliency_maps(explained: Explained, seed: int = 0) -> dict[str, Tensor]:
    """Maps `(N, T, H, W)` by name: the network's own first, then the controls.

    ``attention`` is the mask times the temporal weights, what of a clip passes both; its sum over a frame's cells is,
    but for a factor, the frame's contribution (:func:`whenwhere.layers.frame_contribution`). ``centre`` falls with the
    distance from the middle in space and time.
    """
    shape = explained.mask.shape
    generator = torch.Generator().manual_seed(seed)
    middles = [torch.linspace(-1, 1, size) if size > 1 else torch.zeros(1) for size in shape[1:]]
    rows = torch.meshgrid(*middles, indexing="ij")
    centre = -torch.stack([row.square() for row in rows]).sum(0)
    return {
        "attention": explained.mask * explained.weights[..., None, None],
        "class evidence": explained.evidence,
        "Grad-CAM": explained.grad_cam,
        "random": torch.rand(shape, generator=generator).to(explained.mask.device),
        "centre": (centre - centre.min()).to(explained.mask.device).expand(shape),
    }


def explained_region(explained: Explained, options: LocalizationOptions | None = None) -> Tensor:
    """Where and when, as the results say: the mask above its threshold in the important frames, `(N, T, H, W)` bool."""
    options = options or LocalizationOptions()
    peak = explained.mask.amax(dim=(1, 2, 3), keepdim=True)
    return important_frames(explained.importance, options)[..., None, None] & (
        explained.mask >= options.mask_threshold * peak
    )


@dataclass(frozen=True)
class FaithfulnessOptions:
    """How faithfulness is measured.

    Attributes:
        over: which deletion and insertion curves are taken, see :class:`CurveOptions`.
        steps: of each curve; ``2 (steps - 1)`` forward passes a clip, map and kind of curve.
        baseline: what stands where features are gone: mean of the ``clip`` or of the ``set`` of all clips given, see
            :func:`mean_baseline`, or ``zero``.
        draws: random tubes beside each explained region.
        clips: at a time.
        seed: of tubes and of ties.
    """

    over: tuple[Over, ...] = ("joint", "space", "time")
    steps: int = 10
    baseline: Literal["clip", "set", "zero"] = "clip"
    draws: int = 8
    clips: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.baseline not in ("clip", "set", "zero"):
            raise ValueError(f"FaithfulnessOptions.baseline must be clip, set or zero, got {self.baseline!r}")


def lower_is_better(measure: str) -> bool:
    """Of a measure's name: true of deletion and average drop."""
    return measure.startswith(("deletion", "average drop"))


@torch.no_grad()
def measure_faithfulness(
    network: Network,
    features: Tensor,
    classes: Tensor,
    maps: Mapping[str, Tensor],
    options: FaithfulnessOptions | None = None,
) -> dict[str, dict[str, Tensor]]:
    """Deletion, insertion, average drop and average increase of every map.

    Args:
        network: its head is asked; it is put into evaluation mode.
        features: `(N, T, C, H, W)`.
        classes: `(N,)` whose probability is watched.
        maps: saliency `(N, T, H, W)` by name; over time its mean over cells ranks the frames.

    Returns:
        By map, by measure (``deletion, joint``, ``insertion, joint``, ..., ``average drop``, ``average increase``):
        a value for each clip, `(N,)`, on the processor, to be averaged.
    """
    options = options or FaithfulnessOptions()
    _check_maps(features, classes, maps)
    device = next(network.head.parameters()).device
    network.eval()
    baselines = _baseline(features, options)
    columns: dict[str, dict[str, list[Tensor]]] = {name: {} for name in maps}
    for start in range(0, len(features), options.clips):
        some = slice(start, start + options.clips)
        content, baseline = features[some].float().to(device), baselines[some].to(device)
        probability = _probability(network, classes[some].to(device))
        ends = probabilities(probability, torch.stack([content, baseline.expand_as(content)]), options.clips)
        for name, saliency in maps.items():
            for measure, values in _measure(
                probability, content, saliency[some].to(device), baseline, ends, options
            ).items():
                columns[name].setdefault(measure, []).append(values.cpu())
    return {
        name: {measure: torch.cat(parts) for measure, parts in by_measure.items()}
        for name, by_measure in columns.items()
    }


def _measure(
    probability: Probability,
    content: Tensor,
    saliency: Tensor,
    baseline: Tensor,
    ends: Tensor,
    options: FaithfulnessOptions,
) -> dict[str, Tensor]:
    """Every measure of one map of a few clips."""
    measured = {}
    for over in options.over:
        ranked = saliency.mean(dim=(2, 3)) if over == "time" else saliency
        curve = CurveOptions(over, options.steps, options.clips, options.seed)
        for name, take in (("deletion", deletion_curve), ("insertion", insertion_curve)):
            measured[f"{name}, {over}"] = take(probability, content, ranked, curve, baseline=baseline, ends=ends).area
    kept = probability(keep_salient(content, saliency, baseline))
    measured["average drop"] = confidence_drop(ends[0], kept)
    measured["average increase"] = confidence_increase(ends[0], kept)
    return measured


@torch.no_grad()
def measure_region(
    network: Network,
    features: Tensor,
    classes: Tensor,
    regions: Tensor,
    options: FaithfulnessOptions | None = None,
) -> RegionDeletion:
    """What the explained regions `(N, T, H, W)` bool weigh beside random tubes of equal volume, on the processor.

    Their comparison is :func:`loss_ratio` of the two losses; other arguments as :func:`measure_faithfulness`.
    """
    options = options or FaithfulnessOptions()
    _check_maps(features, classes, {"region": regions})
    device = next(network.head.parameters()).device
    network.eval()
    baselines = _baseline(features, options)
    parts = []
    for start in range(0, len(features), options.clips):
        some = slice(start, start + options.clips)
        part = delete_region(
            _probability(network, classes[some].to(device)),
            features[some].float().to(device),
            regions[some].to(device),
            baseline=baselines[some].to(device),
            draws=options.draws,
            seed=options.seed + start,
            rows=options.clips,
        )
        parts.append([values.cpu() for values in part])
    return RegionDeletion(*(torch.cat(columns) for columns in zip(*parts)))


def _probability(network: Network, classes: Tensor) -> Probability:
    """Of each clip's class, for several versions of the clips one after another."""

    def probability(versions: Tensor) -> Tensor:
        wanted = classes.repeat(len(versions) // len(classes))
        return network.head(versions).logits.softmax(1).gather(1, wanted[:, None])[:, 0]

    return probability


def _baseline(features: Tensor, options: FaithfulnessOptions) -> Tensor:
    """`(N, 1, C, 1, 1)`."""
    if options.baseline == "zero":
        return features.new_zeros(len(features), 1, features.shape[2], 1, 1, dtype=torch.float32)
    return mean_baseline(features.float(), options.baseline).expand(len(features), -1, -1, -1, -1)


def _check_maps(features: Tensor, classes: Tensor, maps: Mapping[str, Tensor]) -> None:
    clips, frames, _, height, width = features.shape
    if classes.shape != (clips,):
        raise ValueError(f"{clips} clips need as many classes, got {tuple(classes.shape)}")
    for name, saliency in maps.items():
        if saliency.shape != (clips, frames, height, width):
            raise ValueError(
                f"map {name!r} must be {(clips, frames, height, width)} as the features, got {tuple(saliency.shape)}"
            )
