"""Segments, boxes and runs of frames as plain arrays."""

from __future__ import annotations

import numpy as np


def temporal_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of each segment of ``a`` with its counterpart in ``b``, `(..., 2)` start and end, to `(...)` in [0, 1].

    Leading axes broadcast: ``temporal_iou(a[:, None], b)`` is `(N, M)`, each with each. A segment of no length shares
    nothing with anything, not even with itself: 0. Nothing is checked.
    """
    shared = np.clip(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0, None)
    either = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - shared
    return np.divide(shared, either, out=np.zeros(shared.shape), where=shared > 0)


def box_iou(a: np.ndarray, b: np.ndarray, inclusive: bool = False) -> np.ndarray:
    """IoU of each box of ``a`` with its counterpart in ``b``, `(..., 4)` to `(...)` in [0, 1]; leading axes broadcast.

    A box without area, or with its corners swapped, overlaps nothing: 0. A box with NaN gives NaN. Parts beyond the
    frame count like any other.

    Args:
        a, b: `(..., 4)` x0, y0, x1, y1 in any one unit.
        inclusive: corners are the first and the last pixel of the box, so that a side is ``x1 - x0 + 1`` pixels long
            (Pascal VOC devkit; ACT, Kalogeiton et al. 2017); otherwise they are points of the plane.
    """
    extra = 1 if inclusive else 0
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    shared, first, second = (
        np.maximum(end - start + extra, 0).prod(-1)
        for start, end in ((low, high), (a[..., :2], a[..., 2:]), (b[..., :2], b[..., 2:]))
    )
    return shared / np.maximum(first + second - shared, 1e-12)


def true_runs(active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of True in each row of `(M, T)`: their rows `(N,)`, and `(N, 2)` first frame and the one after the last."""
    edges = np.diff(np.pad(active.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    return rows, np.stack([starts, np.nonzero(edges == -1)[1]], axis=1)
