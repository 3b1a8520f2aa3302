"""Where, on the feature grid: connected parts of masks and the boxes around them.

Boxes are x0, y0, x1, y1 in cells: cell (row, column) spans [column, column + 1] x [row, row + 1].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from whenwhere.localization.options import LocalizationOptions

_WITHIN_FRAME = np.zeros((3, 3, 3), dtype=bool)
_WITHIN_FRAME[1] = ndimage.generate_binary_structure(2, 1)
_WITHIN_FRAME_DIAGONALLY = np.zeros((3, 3, 3), dtype=bool)
_WITHIN_FRAME_DIAGONALLY[1] = True
_ACROSS_FRAMES = ndimage.generate_binary_structure(3, 1)

# The public scripts resize masks to the size of UCF101's frames and cut bytes.
_SCRIPTS_SIZE, _SCRIPTS_THRESHOLD = (240, 320), 200 / 255
_FRAMES_AT_ONCE = 256


class Parts(NamedTuple):
    """Boxes around connected parts, by frame.

    Attributes:
        frames: `(N,)` frame numbers, not decreasing.
        boxes: `(N, 4)` cells.
        scores: `(N,)` in [0, 1].
    """

    frames: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of every box of ``a`` `(N, 4)` with every one of ``b`` `(M, 4)`: `(N, M)` in [0, 1], 0 for empty boxes."""
    a, b = a[:, None], b[None]
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    shared = sides.prod(-1)
    either = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return np.divide(shared, either, out=np.zeros(shared.shape), where=either > 0)


def mask_boxes(masks: Tensor, options: LocalizationOptions | None = None) -> Tensor:
    """One box for each mask, by ``options.rule``; for ``parts`` that of the best part.

    Args:
        masks: `(T, H, W)`, in [0, 1].

    Returns:
        `(T, 4)` x0, y0, x1, y1 in cells of the grid; 0, 0, 0, 0 where no part of a mask passes the threshold.

    Raises:
        ValueError: masks are not `(T, H, W)`, or hold a value that is not a finite number.
    """
    options = options or LocalizationOptions()
    _check(masks)
    if options.rule == "parts":
        parts = mask_parts(masks, options)
        boxes = _best_of_frames(parts, len(masks))
    else:
        one_box = {"paper": _paper_boxes, "scripts": _scripts_boxes}.get(options.rule, _peak_boxes)
        chunks = masks.float().split(_FRAMES_AT_ONCE) if len(masks) else ()
        boxes = np.concatenate([np.zeros((0, 4)), *(one_box(chunk, options) for chunk in chunks)])
    return torch.from_numpy(boxes).float()


def mask_parts(masks: Tensor, options: LocalizationOptions | None = None) -> Parts:
    """Every 4-connected part of every mask above a threshold relative to the clip's maximum.

    Values below 0, as evidence against a class has them, count as 0.

    A part's score is the mean of the mask in its box over the clip's maximum, times the share of the frame's mass that
    the box holds: high for one bright, filled box, low for a speck and for a box around a faint spread.

    Args:
        masks: `(T, H, W)`.

    Raises:
        ValueError: as :func:`mask_boxes`.
    """
    options = options or LocalizationOptions()
    _check(masks)
    fine = refine(masks.clamp_min(0), options)
    labels = ndimage.label(_above(fine, options.mask_threshold), _WITHIN_FRAME)[0]
    _, frames, boxes = boxes_of_labels(labels)
    order = np.argsort(frames, kind="stable")
    frames, boxes = frames[order], boxes[order]
    return Parts(frames, boxes / options.upsample, box_scores(fine, frames, boxes))


def volume_parts(masks: Tensor, importance: np.ndarray, options: LocalizationOptions) -> tuple[np.ndarray, Parts]:
    """Slices of the parts of mask times importance that are connected in space and time.

    Args:
        masks: `(T, H, W)`.
        importance: `(T,)`.

    Returns:
        `(N,)` number of the connected part that each slice belongs to, and the slices, by part and frame.
    """
    _check(masks)
    volume = refine(masks.clamp_min(0), options) * np.asarray(importance, dtype=float)[:, None, None]
    labels = ndimage.label(_above(volume, options.mask_threshold), _ACROSS_FRAMES)[0]
    numbers, frames, boxes = boxes_of_labels(labels)
    return numbers, Parts(frames, boxes / options.upsample, box_scores(volume, frames, boxes))


def refine(masks: Tensor, options: LocalizationOptions) -> np.ndarray:
    """Masks `(T, H, W)` on the finer grid `(T, upsample H, upsample W)` on which they are cut."""
    masks = masks.detach().float().cpu()
    if len(masks) and options.upsample > 1:
        masks = F.interpolate(masks.unsqueeze(1), scale_factor=options.upsample, mode="bilinear")[:, 0]
    return masks.numpy()


def boxes_of_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tightest box around what each label covers in each frame.

    Args:
        labels: `(T, H, W)` whole numbers, 0: nothing.

    Returns:
        `(N,)` labels, `(N,)` frames, `(N, 4)` boxes in cells, sorted by label, then frame.
    """
    total, height, width = labels.shape
    t, y, x = np.nonzero(labels)
    keys, which = np.unique(labels[t, y, x].astype(np.int64) * total + t, return_inverse=True)
    boxes = np.empty((len(keys), 4))
    for column, (values, start, reduce) in enumerate(
        [(x, width, np.minimum), (y, height, np.minimum), (x + 1, 0, np.maximum), (y + 1, 0, np.maximum)]
    ):
        extreme = np.full(len(keys), start)
        reduce.at(extreme, which, values)
        boxes[:, column] = extreme
    return keys // max(total, 1), keys % max(total, 1), boxes


def box_scores(values: np.ndarray, frames: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Mean inside each box over the largest value of all, times the share of its frame's mass: `(N,)` in [0, 1].

    Args:
        values: `(T, H, W)`, at least 0.
        frames: `(N,)`.
        boxes: `(N, 4)` whole cells, not empty.
    """
    # Integral image: sums over any box from four corners.
    sums = np.pad(values.astype(float).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    x0, y0, x1, y1 = boxes.astype(np.int64).T
    inside = sums[frames, y1, x1] - sums[frames, y0, x1] - sums[frames, y1, x0] + sums[frames, y0, x0]
    mean = inside / ((x1 - x0) * (y1 - y0))
    return np.clip(mean / values.max(initial=1e-30) * inside / np.maximum(sums[frames, -1, -1], 1e-30), 0, 1)


def _above(values: np.ndarray, threshold: float) -> np.ndarray:
    greatest = values.max(initial=0.0)
    return (values >= threshold * greatest) & (values > 0)


def _peak_boxes(masks: Tensor, options: LocalizationOptions) -> np.ndarray:
    """Box of the 4-connected part that holds the frame's peak; the whole grid where a mask is constant."""
    fine = refine(masks, options)
    total = len(fine)
    on = fine >= options.mask_threshold * fine.max((1, 2), keepdims=True)
    labels = ndimage.label(on, _WITHIN_FRAME)[0]
    # A label lies in one frame and label i is row i - 1.
    holds_peak = labels.reshape(total, -1)[np.arange(total), fine.reshape(total, -1).argmax(1)]
    return boxes_of_labels(labels)[2][holds_peak - 1] / options.upsample


def _paper_boxes(masks: Tensor, options: LocalizationOptions) -> np.ndarray:
    boxes = np.zeros((len(masks), 4))
    _, frames, found = boxes_of_labels((masks > 0.5).cpu().numpy())
    boxes[frames] = found
    return boxes


def _scripts_boxes(masks: Tensor, options: LocalizationOptions) -> np.ndarray:
    low, high = masks.amin((1, 2), keepdim=True), masks.amax((1, 2), keepdim=True)
    normalised = (masks - low) / (high - low).clamp_min(1e-12)
    large = F.interpolate(normalised.unsqueeze(1), size=_SCRIPTS_SIZE, mode="bilinear")[:, 0]
    labels = ndimage.label((large > _SCRIPTS_THRESHOLD).cpu().numpy(), _WITHIN_FRAME_DIAGONALLY)[0]
    _, frames, boxes = boxes_of_labels(labels)
    sizes = np.bincount(labels.ravel(), minlength=len(frames) + 1)[1:]
    scale = np.array([masks.shape[2] / _SCRIPTS_SIZE[1], masks.shape[1] / _SCRIPTS_SIZE[0]] * 2)
    return _best_of_frames(Parts(frames, boxes * scale, sizes), len(masks))


def _best_of_frames(parts: Parts, total: int) -> np.ndarray:
    """The box with the best score in each frame, `(total, 4)`, zeros in frames without one; the first of equals."""
    boxes = np.zeros((total, 4))
    order = np.lexsort((-parts.scores, parts.frames))
    first = np.unique(parts.frames[order], return_index=True)[1]
    boxes[parts.frames[order][first]] = parts.boxes[order][first]
    return boxes


def _check(masks: Tensor) -> None:
    if masks.ndim != 3 or 0 in masks.shape[1:]:
        raise ValueError(f"masks must be (T, H, W), got {tuple(masks.shape)}")
    if not masks.isfinite().all():
        wrong = int((~masks.isfinite()).flatten(1).any(1).sum())
        raise ValueError(f"masks of {wrong} of {len(masks)} frames hold values that are not finite numbers")
