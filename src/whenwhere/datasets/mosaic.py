"""Mosaics: a wall of clips in which one cell plays the action for a while, so truth is exact.

The space-time form of the grid pointing game. Every cell shows background footage, and every cell
switches to another clip for an interval of its own, drawn in the same way; in one of them that clip
holds the action. So neither a cut nor the number of clips gives the place or the time away, only
the content does. With background from the footage the targets come from, that is the honest form; with
background of another source it is the easy one.

Cells are composed from feature maps, one map a cell: the same as running the backbone on each cell's
frames, without its receptive field leaking over the borders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

ReadClip = Callable[[int], Tensor]


@dataclass(frozen=True)
class MosaicOptions:
    """What the wall looks like.

    Attributes:
        rows: rows of cells in the wall.
        columns: columns of cells in the wall.
        frames: T, frames of a mosaic.
        action_frames: shortest and longest interval, in frames.
        train_action_frames: the same for training mosaics; None: as ``action_frames``. Where features tell little, long
            actions teach what short ones cannot: the label stays that of the whole wall.
        train_grid: rows and columns of training mosaics; None: as ``rows`` and ``columns``. In a wall of one cell the
            label tells of all there is to see; the network is convolutional and then reads larger walls as well.
        absent: share of mosaics without the action; they have a class of their own, the last one.
        mirror: mirror half of the cells of training mosaics left and right.
        clips: mosaics an epoch for training; evaluation sets are as large and always the same.
        eval_clips: mosaics of a validation or test set.
    """

    rows: int = 2
    columns: int = 2
    frames: int = 24
    action_frames: tuple[int, int] = (6, 12)
    train_action_frames: tuple[int, int] | None = None
    train_grid: tuple[int, int] | None = None
    absent: float = 0.0
    mirror: bool = False
    clips: int = 800
    eval_clips: int = 240

    def for_training(self) -> MosaicOptions:
        """The options of training mosaics."""
        rows, columns = self.train_grid or (self.rows, self.columns)
        return replace(self, rows=rows, columns=columns, action_frames=self.train_action_frames or self.action_frames)


class ClipBank(NamedTuple):
    """Feature maps of trimmed clips.

    Attributes:
        features: `(N, F, C, h, w)`, F frames evenly spaced over each clip.
        labels: `(N,)` class indices; not used for background clips.
    """

    features: Tensor
    labels: Tensor


class Layout(NamedTuple):
    """Which clip plays where and when; the whole truth about a mosaic.

    Attributes:
        background: per cell ``(clip, frame indices (T,))``.
        insert: per cell ``(clip, frame indices (L,), start)``; the target's clip is a target of the bank.
        cell: index of the target's cell, None if the action is absent.
        label: class index.
        mirrored: per cell, whether it is shown mirrored; empty: none is.
    """

    background: list[tuple[int, np.ndarray]]
    insert: list[tuple[int, np.ndarray, int]]
    cell: int | None
    label: int
    mirrored: tuple[bool, ...] = ()

    @property
    def interval(self) -> tuple[int, int] | None:
        """First and last + 1 frame of the action."""
        if self.cell is None:
            return None
        _, frames, start = self.insert[self.cell]
        return start, start + len(frames)


def _run(rng: np.random.Generator, available: int, wanted: int) -> np.ndarray:
    """A random run of a clip's frames, at least half of them, resampled to ``wanted`` indices."""
    length = int(rng.integers(max(available // 2, 1), available + 1))
    first = int(rng.integers(0, available - length + 1))
    return first + (np.arange(wanted) * length // wanted)


def draw_layout(
    rng: np.random.Generator, targets: ClipBank, fillers: ClipBank, classes: int, options: MosaicOptions
) -> Layout:
    """Draw a wall; background clips of one wall are all different."""
    cells, frames = options.rows * options.columns, options.frames
    chosen = rng.choice(len(fillers.features), 2 * cells, replace=len(fillers.features) < 2 * cells)
    length = fillers.features.shape[1]
    background = [(int(clip), _run(rng, length, frames)) for clip in chosen[:cells]]
    insert = []
    for clip in chosen[cells:]:
        duration = int(rng.integers(options.action_frames[0], options.action_frames[1] + 1))
        start = int(rng.integers(0, frames - duration + 1))
        insert.append((int(clip), _run(rng, length, duration), start))
    mirrored = tuple(bool(side) for side in rng.integers(0, 2, cells)) if options.mirror else ()
    if rng.random() < options.absent:
        return Layout(background, insert, None, classes, mirrored)
    cell, label = int(rng.integers(cells)), int(rng.choice(targets.labels.unique().numpy()))
    target = int(rng.choice(torch.nonzero(targets.labels == label).flatten().numpy()))
    _, run, start = insert[cell]
    insert[cell] = (target, _run(rng, targets.features.shape[1], len(run)), start)
    return Layout(background, insert, cell, label, mirrored)


def compose(layout: Layout, targets: ReadClip, fillers: ReadClip, rows: int, columns: int) -> Tensor:
    """Lay out what is stored per clip as one wall.

    Args:
        targets, fillers: from the index of a clip to `(F, C, h, w)`, its feature maps or pixels.

    Returns:
        `(T, C, rows * h, columns * w)`.
    """
    played = []
    for index, ((clip, frames), (other, run, start)) in enumerate(zip(layout.background, layout.insert, strict=True)):
        cell = fillers(clip)[frames].clone()
        cell[start : start + len(run)] = (targets if index == layout.cell else fillers)(other)[run]
        played.append(cell.flip(-1) if layout.mirrored and layout.mirrored[index] else cell)
    wall = [torch.cat(played[row * columns : (row + 1) * columns], dim=-1) for row in range(rows)]
    return torch.cat(wall, dim=-2)


def truth(layout: Layout, rows: int, columns: int, frames: int) -> tuple[Tensor, Tensor]:
    """``active`` `(T,)` bool and ``boxes`` `(T, 4)` as x0, y0, x1, y1 in [0, 1] of the wall, NaN when inactive."""
    active = torch.zeros(frames, dtype=torch.bool)
    boxes = torch.full((frames, 4), float("nan"))
    if layout.cell is not None and layout.interval is not None:
        row, column = divmod(layout.cell, columns)
        active[slice(*layout.interval)] = True
        boxes[active] = torch.tensor(
            [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows], dtype=torch.float32
        )
    return active, boxes


def _check(targets: ClipBank, fillers: ClipBank, classes: int, options: MosaicOptions) -> None:
    shapes = tuple(targets.features.shape[2:]), tuple(fillers.features.shape[2:])
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"targets and fillers must have the same (C, h, w), got {shapes[0]} and {shapes[1]}; "
            "extract both with the same backbone and frame size"
        )
    missing = sorted(set(range(classes)) - set(targets.labels.tolist()))
    if missing:
        raise ValueError(f"every class needs a target clip in this split, found none for classes {missing}")
    shortest, longest = options.action_frames
    if not 1 <= shortest <= longest <= options.frames:
        raise ValueError(
            f"action_frames must satisfy 1 <= shortest <= longest <= frames = {options.frames}, "
            f"got {options.action_frames}"
        )


class MosaicDataset(Dataset):
    """Mosaics drawn on the fly, the same for the same ``(seed, epoch, index)`` in any process.

    Args:
        targets: clips that hold the action; labels 0..K-1.
        fillers: clips that don't.
        classes: K, without the class "absent".
        length: number of mosaics.
        seed: of the draw; evaluation sets keep ``epoch`` at 0.

    Yields dicts of ``features`` `(T, C, H, W)` float32, ``label``, ``active`` `(T,)` and ``boxes`` `(T, 4)`.
    """

    def __init__(
        self, targets: ClipBank, fillers: ClipBank, classes: int, options: MosaicOptions, length: int, seed: int
    ) -> None:
        for name, bank in (("target", targets), ("filler", fillers)):
            if not len(bank.features):
                raise ValueError(f"a mosaic needs {name} clips, found none in this split")
        _check(targets, fillers, classes, options)
        self.targets, self.fillers, self.classes = targets, fillers, classes
        self.options, self.length, self.seed = options, length, seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def layout(self, index: int) -> Layout:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        return draw_layout(rng, self.targets, self.fillers, self.classes, self.options)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        layout, options = self.layout(index), self.options
        targets, fillers = self.targets.features.__getitem__, self.fillers.features.__getitem__
        wall = compose(layout, targets, fillers, options.rows, options.columns)
        active, boxes = truth(layout, options.rows, options.columns, options.frames)
        return {"features": wall.float(), "label": torch.tensor(layout.label), "active": active, "boxes": boxes}
