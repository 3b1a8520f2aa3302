"""What trivial answers would have scored: boxes drawn without looking at a single frame.

They are told which classes each video has and in which frames; their names say so. The random box stays where it is as
long as the action lasts. A model that is told nothing has the harder task, one that is told all this has to beat them.
"""

from __future__ import annotations

import numpy as np
import torch

from whenwhere.evaluation.ava import AvaRow
from whenwhere.evaluation.box_truth import BoxTruth
from whenwhere.evaluation.predictions import Tube
from whenwhere.metrics.controls import centre_box, full_frame, random_boxes

FULL_FRAME = "full frame, labels and frames given"
CENTRE_BOX = "centre box, labels and frames given"
RANDOM_BOX = "random box, labels and frames given"


def tube_controls(truth: BoxTruth, seed: int = 0) -> dict[str, dict[str, tuple[Tube, ...]]]:
    """Answers by control and video: a tube for each of its classes, on every frame in which that has a box.

    The centre box and the random one have half the frame's width and height. Scores are random.

    Raises:
        ValueError: a video with boxes whose size is not known.
    """
    if missing := [video for video, tubes in truth.tubes.items() if tubes and video not in truth.sizes]:
        raise ValueError(f"the size of the frames of {missing[0]} is not known")
    frames: dict[tuple[str, str], list[np.ndarray]] = {}
    for video, tubes in truth.tubes.items():
        for tube in tubes:
            frames.setdefault((video, tube.label), []).append(tube.frames)
    scores = np.random.default_rng(seed).random(len(frames)).tolist()
    answers: dict[str, dict[str, tuple[Tube, ...]]] = {}
    for control, boxes in _boxes(len(frames), seed).items():
        found: dict[str, tuple[Tube, ...]] = {}
        for ((video, label), known), score, box in zip(frames.items(), scores, boxes):
            shown = np.unique(np.concatenate(known))
            corners = np.tile(box * np.tile(truth.sizes[video], 2), (len(shown), 1))
            found[video] = (*found.get(video, ()), Tube(label, shown, None, corners, score))
        answers[control] = found
    return answers


def ava_controls(truth: list[AvaRow], seed: int = 0) -> dict[str, list[AvaRow]]:
    """Answers by control: a box for each label of each second; as :func:`tube_controls`."""
    told = sorted({(row.video, row.second, row.label) for row in truth})
    scores = np.random.default_rng(seed).random(len(told)).tolist()
    return {
        control: [AvaRow(*key, tuple(box), score) for key, box, score in zip(told, boxes.tolist(), scores)]
        for control, boxes in _boxes(len(told), seed).items()
    }


def _boxes(count: int, seed: int) -> dict[str, np.ndarray]:
    """Boxes in [0, 1] of the frame by control, `(N, 4)` each."""
    generator = torch.Generator().manual_seed(seed)
    return {
        FULL_FRAME: full_frame(count).double().numpy(),
        CENTRE_BOX: centre_box(count).double().numpy(),
        RANDOM_BOX: random_boxes(count, generator).double().numpy(),
    }
