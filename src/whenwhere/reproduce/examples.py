"""Which clips a figure shows: chosen by a rule that is said, never by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from whenwhere.datasets.manifest import ManifestError, read_clips
from whenwhere.localization import mask_boxes
from whenwhere.metrics.spatial import box_iou
from whenwhere.metrics.temporal import frame_iou
from whenwhere.recognizer import Recognizer
from whenwhere.structures import Clip, Explanation
from whenwhere.video import VideoError, grid_to_pixels


@dataclass(frozen=True, eq=False)
class Example:
    """A test clip, what the model says of it and how right that is.

    Attributes:
        frames: numbers of the frames looked at that have a true box.
        true, predicted: `(N, 4)` boxes of those in pixels.
        overlaps: `(N,)` their IoU.
        active: `(T,)` bool, frames looked at within the true segments; None where it is not known when.
        time_iou: IoU of the frames within the segments found and the true ones; NaN where it is not known.
    """

    clip: Clip
    said: Explanation
    frames: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    overlaps: np.ndarray
    active: np.ndarray | None
    time_iou: float

    @property
    def right(self) -> bool:
        return self.said.label == self.clip.label

    @property
    def box_iou(self) -> float:
        """Mean over frames with a true box, NaN without any."""
        return float(self.overlaps.mean()) if len(self.overlaps) else float("nan")


def examples(model: Recognizer, clips: Sequence[Clip], log: Callable[[str], None] = print) -> list[Example]:
    """Explain every clip; those that cannot be read are told and skipped."""
    found = []
    for clip in clips:
        try:
            found.append(_example(clip, model.explain(clip.path)))
        except VideoError as error:
            log(f"skipped: {error}")
    return found


def test_clips(manifest: str | Path, count: int) -> list[Clip]:
    """Test clips (all where there are no splits), at most ``count``, by turns of the classes so that each is there.

    Raises:
        ManifestError: there are none.
    """
    clips = [clip for clip in read_clips(manifest) if clip.split in (None, "test")]
    if not clips:
        raise ManifestError(f"{manifest} has no test clips to choose examples from")
    by_class: dict[str, list[Clip]] = {}
    for clip in clips:
        by_class.setdefault(str(clip.label), []).append(clip)
    turns = [(number, label, clip) for label, own in by_class.items() for number, clip in enumerate(own)]
    return [clip for _, _, clip in sorted(turns, key=lambda turn: turn[:2])[:count]]


def ranked(
    found: Sequence[Example], value: Callable[[Example], float], best: bool, right: bool = True
) -> list[Example]:
    """Those whose value is known, best or worst first; ``right``: only rightly named ones."""
    known = [one for one in found if not np.isnan(value(one)) and (one.right or not right)]
    return sorted(known, key=lambda one: (-value(one) if best else value(one), one.clip.path))


def one_a_class(ordered: Sequence[Example], count: int, skip: int = 0) -> list[Example]:
    """The first of each class, in that order; ``skip`` 1: the second of each class instead."""
    seen: dict[str, int] = {}
    kept = []
    for one in ordered:
        number = seen.get(str(one.clip.label), 0)
        seen[str(one.clip.label)] = number + 1
        if number == skip:
            kept.append(one)
    return kept[:count]


def _example(clip: Clip, said: Explanation) -> Example:
    times = np.array(said.times)
    nearest = {int(np.abs(times - box.time).argmin()): box for box in reversed(clip.boxes)}  # the first box of a frame
    frames = np.array(sorted(nearest), dtype=int)
    grid = (said.masks.shape[1], said.masks.shape[2])
    boxes = grid_to_pixels(mask_boxes(torch.tensor(said.masks)).numpy(), grid, said.mask_area)[frames]
    true = np.array([[box.x0, box.y0, box.x1, box.y1] for box in (nearest[frame] for frame in frames)]).reshape(-1, 4)
    overlaps = box_iou(torch.from_numpy(boxes).double(), torch.from_numpy(true).double()).numpy()
    if not clip.segments:
        return Example(clip, said, frames, true, boxes, overlaps, None, float("nan"))
    active = np.array([any(s.start <= time < s.end for s in clip.segments) for time in times])
    named = np.array([any(s.start <= time < s.end for s in said.segments) for time in times])
    overlap = float(frame_iou(torch.from_numpy(named), torch.from_numpy(active)))
    return Example(clip, said, frames, true, boxes, overlaps, active, overlap)
