"""Where, in pixels of the original frame: a box a frame, or several in tubes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from whenwhere.localization.options import LocalizationOptions
from whenwhere.localization.parts import mask_boxes
from whenwhere.localization.segments import find_segments
from whenwhere.localization.suppression import suppress_segments
from whenwhere.localization.tubes import find_tubes
from whenwhere.structures import Box, Segment
from whenwhere.video import grid_to_pixels

Row = tuple[int, np.ndarray, str, float, int | None]  # frame, cells, label, score, tube


def find_boxes(
    masks: Tensor,
    importance: Tensor | np.ndarray,
    times: np.ndarray,
    area: tuple[float, float, float, float],
    size: tuple[int, int],
    label: str,
    options: LocalizationOptions | None = None,
    segments: Sequence[Segment] | None = None,
    probabilities: Mapping[str, float] | None = None,
) -> tuple[Box, ...]:
    """Boxes in pixels of the original frame, inside segments, sorted by time.

    Under the rule ``parts`` these are tubes: ``Box.tube`` is the same over one tube and another for every other, also
    for what one part of the mask does in two segments; of overlapping segments of a class the best counts. A box's
    score is its part's times the class's probability. Under the other rules every frame has one box (or none, see
    :func:`mask_boxes`), whose score is the frame's peak over the clip's.

    Args:
        masks: `(T, H, W)` in [0, 1].
        importance: `(T,)`.
        times: `(T,)` seconds, increasing.
        area: pixels the grid covers.
        size: (width, height) of the original frame.
        label: of boxes in segments found here.
        segments: where boxes are wanted, and their labels; None: found in ``importance``.
        probabilities: of classes by name, for ``parts``; 1 where not given.

    Raises:
        ValueError: shapes do not fit, times do not increase, values are not finite numbers.
    """
    options = options or LocalizationOptions()
    times = np.asarray(times, dtype=float)
    if not len(masks) == len(importance) == len(times) > 0:
        raise ValueError(f"got {len(masks)} masks, {len(importance)} importances, {len(times)} times; expected as many")
    if segments is None:
        segments = find_segments(importance, times, _end(times), label, options)
    if options.rule == "parts":
        rows = list(_tube_rows(masks, importance, times, segments, probabilities or {}, options))
    else:
        rows = list(_frame_rows(masks, times, segments, options))
    if not rows:
        return ()
    corners = grid_to_pixels(np.stack([row[1] for row in rows]), (masks.shape[1], masks.shape[2]), area)
    corners = np.clip(corners, 0, np.array([*size, *size]))
    boxes = [
        Box(float(times[frame]), x0, y0, x1, y1, name, score, tube)
        for (frame, _, name, score, tube), (x0, y0, x1, y1) in zip(rows, corners.tolist(), strict=True)
        if x0 < x1 and y0 < y1
    ]
    return tuple(sorted(boxes, key=lambda box: box.time))


def _frame_rows(
    masks: Tensor, times: np.ndarray, segments: Sequence[Segment], options: LocalizationOptions
) -> Iterator[Row]:
    labels: dict[int, str] = {}
    for segment in sorted(segments, key=lambda s: s.score):  # the best segment has the last word
        first, last = _frames_in(segment, times)
        labels.update(dict.fromkeys(range(first, last + 1), segment.label))
    cells = mask_boxes(masks, options).numpy()
    peaks = masks.flatten(1).amax(1)
    scores = peaks / peaks.max().clamp_min(1e-12)
    for frame in sorted(labels):
        yield frame, cells[frame], labels[frame], float(scores[frame]), None


def _tube_rows(
    masks: Tensor,
    importance: Tensor | np.ndarray,
    times: np.ndarray,
    segments: Sequence[Segment],
    probabilities: Mapping[str, float],
    options: LocalizationOptions,
) -> Iterator[Row]:
    # A moment belongs to one segment of a class: whatever overlaps a better one goes.
    apart = suppress_segments(segments, replace(options, nms="hard", nms_iou=0.0))
    tubes = find_tubes(masks, np.asarray(importance), options)
    number = 0
    for segment in apart:
        first, last = _frames_in(segment, times)
        for tube in tubes:
            cut = tube.within(first, last)
            if len(cut.frames) < max(1, min(options.tube_frames, last - first + 1)):
                continue
            probability = probabilities.get(segment.label, 1.0)
            for frame, cells, score in zip(*cut, strict=True):
                yield int(frame), cells, segment.label, probability * float(score), number
            number += 1


def _frames_in(segment: Segment, times: np.ndarray) -> tuple[int, int]:
    """First and last frame within a segment."""
    first = np.searchsorted(times, segment.start, side="left")
    return int(first), int(np.searchsorted(times, segment.end, side="right")) - 1


def _end(times: np.ndarray) -> float:
    """When a video of unknown length may end: half a step after its last frame."""
    return float(times[-1] + ((times[-1] - times[-2]) / 2 if len(times) > 1 else 1.0))
