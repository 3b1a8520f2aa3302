"""Where over time: parts of masks linked into tubes, or cut out of the volume of mask and importance at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from whenwhere.geometry import box_iou
from whenwhere.localization.options import LocalizationOptions
from whenwhere.localization.parts import Parts, mask_parts, volume_parts


class Tube(NamedTuple):
    """One thing followed over neighbouring frames.

    Attributes:
        frames: `(N,)` frame numbers, each one more than the last.
        boxes: `(N, 4)` x0, y0, x1, y1 in cells of the grid.
        scores: `(N,)` in [0, 1]; those of bridged frames are interpolated, as their boxes are.
    """

    frames: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    @property
    def score(self) -> float:
        """Mean over frames."""
        return float(self.scores.mean())

    def within(self, first: int, last: int) -> Tube:
        """The part of the tube in frames ``first`` to ``last``, the latter included; it may be empty."""
        inside = (self.frames >= first) & (self.frames <= last)
        return Tube(self.frames[inside], self.boxes[inside], self.scores[inside])


def find_tubes(masks: Tensor, importance: np.ndarray, options: LocalizationOptions | None = None) -> tuple[Tube, ...]:
    """Tubes of a clip, best first, by ``options.tubes``.

    Linked tubes follow a part for as long as it is seen; it is segments that say when, see :meth:`Tube.within`. Tubes
    cut out of the volume have their time from the importance.

    Args:
        masks: `(T, H, W)`, at least 0.
        importance: `(T,)`, at least 0.

    Raises:
        ValueError: shapes do not fit, or a value is not a finite number.
    """
    options = options or LocalizationOptions()
    importance = np.asarray(importance, dtype=float)
    if importance.shape != (len(masks),) or not np.isfinite(importance).all():
        raise ValueError(f"expected a finite importance for each of {len(masks)} masks, got {importance.shape}")
    if options.tubes == "volume":
        tubes = volume_tubes(masks, importance, options)
    else:
        tubes = link_parts(mask_parts(masks, options), options)
    tubes = [tube for tube in tubes if len(tube.frames) >= min(options.tube_frames, len(masks))]
    best = max((tube.score for tube in tubes), default=0.0)
    tubes = [tube for tube in tubes if tube.score >= options.score_floor * best]
    return tuple(sorted(tubes, key=lambda tube: -tube.score))


def link_parts(parts: Parts, options: LocalizationOptions | None = None) -> list[Tube]:
    """Follow parts from frame to frame; each belongs to one tube.

    Parts of neighbouring frames are assigned to each other so that the sum of IoU plus mean score over all links is
    greatest. What then still begins or ends is assigned across one missing frame, then across two, up to
    ``options.tube_gap``, and boxes in between are interpolated. Nothing here depends on the direction of time.

    Args:
        parts: as :func:`mask_parts` gives them.
    """
    options = options or LocalizationOptions()
    count = len(parts.frames)
    if count == 0:
        return []
    follower, leader = np.full(count, -1), np.full(count, -1)
    present, starts = np.unique(parts.frames, return_index=True)
    by_frame = dict(zip(present.tolist(), np.split(np.arange(count), starts[1:]), strict=True))
    for step in range(1, options.tube_gap + 2):
        for frame, indices in by_frame.items():
            here = indices[follower[indices] < 0]
            there = by_frame.get(frame + step, indices[:0])
            there = there[leader[there] < 0]
            if len(here) and len(there):
                before, after = _assign(parts, here, there, options.link_iou)
                follower[before], leader[after] = after, before
    return [_follow(parts, int(head), follower) for head in np.flatnonzero(leader < 0)]


def _assign(parts: Parts, here: np.ndarray, there: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Those of parts ``here`` and of later parts ``there`` that are linked."""
    iou = box_iou(parts.boxes[here][:, None], parts.boxes[there])
    value = iou + (parts.scores[here][:, None] + parts.scores[there][None]) / 2
    value[(iou < least) | (iou == 0)] = 0
    rows, columns = linear_sum_assignment(value, maximize=True)
    linked = value[rows, columns] > 0
    return here[rows[linked]], there[columns[linked]]


def _follow(parts: Parts, head: int, follower: np.ndarray) -> Tube:
    chain = [head]
    while follower[chain[-1]] >= 0:
        chain.append(int(follower[chain[-1]]))
    known = parts.frames[chain]
    frames = np.arange(known[0], known[-1] + 1)
    columns = np.column_stack([parts.boxes[chain], parts.scores[chain]])
    filled = np.column_stack([np.interp(frames, known, column) for column in columns.T])
    return Tube(frames, filled[:, :4], filled[:, 4])


def volume_tubes(masks: Tensor, importance: np.ndarray, options: LocalizationOptions | None = None) -> list[Tube]:
    """A tube for each part of mask times importance that is connected in space and time, above a share of its maximum.

    Args:
        masks: `(T, H, W)`, at least 0.
        importance: `(T,)`, at least 0.
    """
    numbers, slices = volume_parts(masks, importance, options or LocalizationOptions())
    starts = np.unique(numbers, return_index=True)[1]
    pieces = (np.split(column, starts[1:]) for column in slices)
    return [Tube(*piece) for piece in zip(*pieces, strict=True) if len(piece[0])]
