"""What a manifest knows of when and where, at the frames a model looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from whenwhere.structures import Clip
from whenwhere.video import Preprocessing, pixels_to_grid, probe

NEAR = 0.5  # seconds: a box says where its actor is in the frames no farther away than this


def clip_truth(clip: Clip, times: Sequence[float], preprocessing: Preprocessing) -> dict[str, Tensor]:
    """Truth of one clip, from the segments and the first tube of boxes of its own class.

    Args:
        times: `(T,)` seconds.
        preprocessing: tells which part of the picture the model's grid covers.

    Returns:
        ``times`` `(T,)`; ``active`` `(T,)` bool; ``boxes`` `(T, 4)` in [0, 1] of the grid, NaN where there is none; and
        ``extent`` `(T, 2)`, width and height of the grid in pixels of the picture, NaN without boxes. Boxes outside
        the segments do not count; where segments are not known, every frame with a box is active.
    """
    moments = np.asarray(times)
    segments = [segment for segment in clip.segments if segment.label in clip.labels]
    active = np.zeros(len(moments), dtype=bool)
    for segment in segments:
        active |= (moments >= segment.start) & (moments < segment.end)
    boxes, extent = np.full((len(moments), 4), np.nan), np.full((len(moments), 2), np.nan)
    own = [box for box in clip.boxes if box.label in clip.labels]
    tube = [box for box in own if box.tube == own[0].tube]
    if tube:
        info = probe(clip.path)
        area = preprocessing.area(info.width, info.height)
        extent[:] = area[2] - area[0], area[3] - area[1]
        seconds = np.array([box.time for box in tube])
        corners = pixels_to_grid(np.array([(box.x0, box.y0, box.x1, box.y1) for box in tube]), (1, 1), area)
        nearest = np.abs(moments[:, None] - seconds).argmin(1)
        known = np.abs(moments - seconds[nearest]) <= NEAR
        boxes[known] = corners[nearest[known]].clip(0, 1)
        if segments:
            boxes[~active] = np.nan
        else:
            active = known
    return {
        "times": torch.from_numpy(moments.astype(np.float64)),
        "active": torch.from_numpy(active),
        "boxes": torch.from_numpy(boxes).float(),
        "extent": torch.from_numpy(extent).float(),
    }


def known_truth(clips: Sequence[Clip]) -> tuple[str, ...]:
    """Which parts of :func:`clip_truth` say something of a split: ``times``, and when and where as far as known."""
    when = any(clip.segments or clip.boxes for clip in clips)
    where = any(clip.boxes for clip in clips)
    return ("times", *(("active",) if when else ()), *(("boxes", "extent") if where else ()))


def split_truth(
    clips: Sequence[Clip], times: Sequence[Sequence[float]], preprocessing: Preprocessing
) -> dict[str, Tensor]:
    """:func:`known_truth` of N clips, `(N, T, ...)` each, at ``times`` `(N, T)`."""
    truth = [clip_truth(clip, moments, preprocessing) for clip, moments in zip(clips, times, strict=True)]
    return {name: torch.stack([one[name] for one in truth]) for name in known_truth(clips)}
