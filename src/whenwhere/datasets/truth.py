"""What a manifest knows of when and where, at the frames a model looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from whenwhere.structures import Clip
from whenwhere.video import Preprocessing, probe

NEAR = 0.5  # seconds: a box says where its actor is in the frames no farther away than this


def clip_truth(clip: Clip, times: Sequence[float], preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """Truth of one clip, from the segments and the first tube of boxes of its own class.

    Args:
        times: `(T,)` seconds.
        preprocessing: tells which part of the picture the model's grid covers.

    Returns:
        ``active`` `(T,)` bool, and ``boxes`` `(T, 4)` in [0, 1] of the grid, NaN where there is none. Boxes outside
        the segments do not count; where segments are not known, every frame with a box is active.
    """
    moments = np.asarray(times)
    segments = [segment for segment in clip.segments if segment.label in clip.labels]
    active = np.zeros(len(moments), dtype=bool)
    for segment in segments:
        active |= (moments >= segment.start) & (moments < segment.end)
    boxes = np.full((len(moments), 4), np.nan)
    own = [box for box in clip.boxes if box.label in clip.labels]
    tube = [box for box in own if box.tube == own[0].tube]
    if tube:
        info = probe(clip.path)
        x0, y0, x1, y1 = preprocessing.area(info.width, info.height)
        seconds = np.array([box.time for box in tube])
        corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box in tube])
        corners = (corners - [x0, y0, x0, y0]) / [x1 - x0, y1 - y0, x1 - x0, y1 - y0]
        nearest = np.abs(moments[:, None] - seconds).argmin(1)
        known = np.abs(moments - seconds[nearest]) <= NEAR
        boxes[known] = corners[nearest[known]].clip(0, 1)
        if segments:
            boxes[~active] = np.nan
        else:
            active = known
    return torch.from_numpy(active), torch.from_numpy(boxes).float()


def split_truth(
    clips: Sequence[Clip], times: Sequence[Sequence[float]], preprocessing: Preprocessing
) -> dict[str, Tensor]:
    """``times`` `(N, T)`, and ``active`` `(N, T)` and ``boxes`` `(N, T, 4)` where the manifest tells of any."""
    seconds = {"times": torch.tensor(times, dtype=torch.float64)}
    if not any(clip.segments or clip.boxes for clip in clips):
        return seconds
    active, boxes = zip(*(clip_truth(clip, moments, preprocessing) for clip, moments in zip(clips, times, strict=True)))
    truth = {**seconds, "active": torch.stack(active)}
    if any(clip.boxes for clip in clips):
        truth["boxes"] = torch.stack(boxes)
    return truth
