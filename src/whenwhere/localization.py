"""From attention to results: importance to segments, masks to boxes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from whenwhere.structures import Box, Segment
from whenwhere.video import grid_to_pixels


@dataclass(frozen=True)
class LocalizationOptions:
    """How attention is cut.

    Attributes:
        time_threshold: of the min-max normalised importance (0.5 in the paper).
        mask_threshold: of the mask over its maximum in the clip (the paper: 0.5 of the mask itself).
        flat: importance whose range is below this share of its mean says nothing: the whole clip is the segment.
        upsample: finer grid on which the mask is cut.
    """

    time_threshold: float = 0.5
    mask_threshold: float = 0.5
    flat: float = 0.1
    upsample: int = 4


def important_frames(importance: Tensor, options: LocalizationOptions | None = None) -> Tensor:
    """Frames that matter, `(..., T)` importance to `(..., T)` bool (the paper's rule, Sec. 4.2.2).

    Min-max normalisation makes a clear segment out of any noise, so flat importance gives all frames.
    """
    options = options or LocalizationOptions()
    low, high = importance.amin(-1, keepdim=True), importance.amax(-1, keepdim=True)
    flat = (high - low) < options.flat * importance.mean(-1, keepdim=True)
    return ((importance - low) > options.time_threshold * (high - low)) | flat


def find_segments(
    importance: Tensor, times: np.ndarray, duration: float, label: str, options: LocalizationOptions | None = None
) -> tuple[Segment, ...]:
    """Runs of important frames as segments in seconds.

    A frame stands for the time halfway to its neighbours. The score is the share of the clip's importance
    within the segment.

    Args:
        importance: `(T,)`, sums to 1.
        times: `(T,)` seconds, increasing.
    """
    active = important_frames(importance, options).tolist()
    middles = (times[1:] + times[:-1]) / 2
    starts, ends = [0.0, *middles.tolist()], [*middles.tolist(), duration]
    segments, first = [], None
    for index, on in enumerate([*active, False]):
        if on and first is None:
            first = index
        elif not on and first is not None:
            score = float(importance[first:index].sum())
            segments.append(Segment(starts[first], max(ends[index - 1], starts[first] + 1e-3), label, min(score, 1.0)))
            first = None
    return tuple(segments)


def mask_boxes(masks: Tensor, options: LocalizationOptions | None = None) -> Tensor:
    """Tightest box around the part of each mask that holds its peak.

    Args:
        masks: `(T, H, W)`.

    Returns:
        `(T, 4)` x0, y0, x1, y1 in cells of the grid.
    """
    options = options or LocalizationOptions()
    fine = F.interpolate(masks.unsqueeze(1).float(), scale_factor=options.upsample, mode="bilinear")[:, 0]
    boxes = []
    for mask in fine:
        top = int(mask.argmax())
        on = (mask >= options.mask_threshold * mask.max()).numpy()
        boxes.append(_box_around(on, (top // mask.shape[1], top % mask.shape[1])))
    return torch.tensor(boxes, dtype=torch.float32) / options.upsample


def _box_around(on: np.ndarray, seed: tuple[int, int]) -> tuple[int, int, int, int]:
    """Bounding box of the 4-connected part of ``on`` that holds ``seed``."""
    seen = np.zeros_like(on)
    seen[seed] = True
    queue = deque([seed])
    while queue:
        row, column = queue.popleft()
        for y, x in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= y < on.shape[0] and 0 <= x < on.shape[1] and on[y, x] and not seen[y, x]:
                seen[y, x] = True
                queue.append((y, x))
    rows, columns = np.nonzero(seen.any(1))[0], np.nonzero(seen.any(0))[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def find_boxes(
    masks: Tensor,
    importance: Tensor,
    times: np.ndarray,
    area: tuple[float, float, float, float],
    size: tuple[int, int],
    label: str,
    options: LocalizationOptions | None = None,
) -> tuple[Box, ...]:
    """A box in pixels of the original frame for every important frame, scored by its peak over the clip's.

    Args:
        masks: `(T, H, W)` in [0, 1].
        importance: `(T,)`.
        times: `(T,)` seconds.
        area: pixels the grid covers.
        size: (width, height) of the original frame.
    """
    active = important_frames(importance, options)
    cells = mask_boxes(masks, options).numpy()
    pixels = grid_to_pixels(cells, (masks.shape[1], masks.shape[2]), area)
    pixels = np.clip(pixels, 0, np.array([*size, *size]))
    best = float(masks.max().clamp_min(1e-12))
    return tuple(
        _box(float(times[t]), pixels[t], label, float(masks[t].max()) / best)
        for t in torch.nonzero(active).flatten().tolist()
        if pixels[t][0] < pixels[t][2] and pixels[t][1] < pixels[t][3]
    )


def _box(time: float, corners: np.ndarray, label: str, score: float) -> Box:
    x0, y0, x1, y1 = corners.tolist()
    return Box(time, x0, y0, x1, y1, label, score)
