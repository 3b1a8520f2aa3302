"""What a network says about when and where, and what answers that need no training say, in one form.

The network's own answers are its attention, its class evidence and, of when, its temporal weights without the masks.
Everything else is a control: Grad-CAM of the same
network, the change from frame to frame, and answers that never look.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from whenwhere.evaluation.measure import Predictions
from whenwhere.localization import LocalizationOptions, important_frames, mask_boxes
from whenwhere.metrics.controls import (
    all_frames,
    centre_box,
    energy_boxes,
    full_frame,
    random_boxes,
    random_half,
    random_run,
    uniform_weights,
)
from whenwhere.metrics.spatial import box_coverage, peak
from whenwhere.models.evidence import smooth, temporal_profile

CAM = "Grad-CAM"
OWN = ("attention", "class evidence", "temporal weights")


def own_measure(measure: str, own: str) -> str:
    """A measure's name for one of the network's own answers; the attention, which comes first, has the bare name."""
    return measure if own == OWN[0] else f"{measure}, {own}"


def is_of_attention(measure: str) -> bool:
    """Whether a name is bare, see :func:`own_measure`."""
    return not any(measure.endswith(own_measure("", own)) for own in OWN[1:])


class When(NamedTuple):
    """Attributes:
    frames: `(N, T)` bool, frames that are named.
    profile: `(N, T)`, how much each frame matters, where that is said.
    """

    frames: Tensor
    profile: Tensor | None


class Where(NamedTuple):
    """Attributes:
    maps: `(N, T, H, W)` >= 0, how much each cell matters.
    boxes: `(N, T, 4)` in [0, 1].
    points: `(N, T, 2)` in [0, 1], where a point is named.
    """

    maps: Tensor
    boxes: Tensor
    points: Tensor | None


def when_answers(
    predictions: Predictions, length: int, options: LocalizationOptions | None = None, seed: int = 0
) -> dict[str, When]:
    """Everything that is said of when, by name: the network's own first.

    Args:
        length: frames of a random run.
        options: how importance is cut; profiles of controls are cut alike.
        seed: of the random answers.
    """
    clips, frames = predictions.importance.shape
    generator = torch.Generator().manual_seed(seed)
    profiles = {"attention": predictions.importance, "temporal weights": predictions.weights}
    if predictions.evidence is not None and predictions.grad_cam is not None:
        profiles["class evidence"] = predictions.evidence.sum((-2, -1)).clamp_min(0)
        profiles[CAM] = temporal_profile(predictions.grad_cam)
    if predictions.difference is not None:
        profiles["frame difference"] = predictions.difference.mean((-2, -1))
    answers = {name: When(important_frames(profile, options), profile) for name, profile in profiles.items()}
    answers["all frames"] = When(all_frames(clips, frames), None)
    answers["uniform weights"] = When(all_frames(clips, frames), uniform_weights(clips, frames))
    answers["random half"] = When(random_half(clips, frames, generator), None)
    answers["random run"] = When(random_run(clips, frames, length, generator), None)
    return answers


def where_answers(
    predictions: Predictions, options: LocalizationOptions | None = None, seed: int = 0
) -> dict[str, Where]:
    """Everything that is said of where, by name: the network's own first; arguments as :func:`when_answers`."""
    clips, frames, height, width = predictions.masks.shape
    size = torch.tensor([width, height] * 2)
    maps = {"attention": predictions.masks}
    if predictions.evidence is not None and predictions.grad_cam is not None:
        maps["class evidence"] = predictions.evidence.clamp_min(0)
        maps[CAM] = predictions.grad_cam
    answers = {
        name: Where(where, mask_boxes(where.flatten(0, 1), options).view(clips, frames, 4) / size, peak(where))
        for name, where in maps.items()
    }
    if predictions.evidence is not None and "class evidence" in answers:
        answers["class evidence"] = answers["class evidence"]._replace(points=peak(smooth(predictions.evidence)))
    if predictions.difference is not None:
        energy = predictions.difference
        answers["frame difference"] = Where(energy, energy_boxes(energy), peak(energy))
    boxes = {
        "full frame": full_frame(clips * frames),
        "centre box": centre_box(clips * frames),
        "random box": random_boxes(clips * frames, torch.Generator().manual_seed(seed)),
    }
    for name, box in boxes.items():
        middle = None if name == "full frame" else ((box[:, :2] + box[:, 2:]) / 2).view(clips, frames, 2)
        covered = box_coverage(box, height, width).view(clips, frames, height, width)
        answers[name] = Where(covered, box.view(clips, frames, 4), middle)
    return answers
