"""Mosaics as video files, to look at and to explain like any other video."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whenwhere.datasets.mosaic import MosaicDataset, compose, truth
from whenwhere.structures import Clip
from whenwhere.video import make_sampler, read_frames, resize, write_video


def write_walls(
    dataset: MosaicDataset,
    targets: Sequence[Clip],
    fillers: Sequence[Clip],
    classes: Sequence[str],
    folder: Path,
    count: int,
    cell: int = 192,
    fps: float = 10.0,
) -> Path:
    """Write the first ``count`` mosaics of ``dataset`` as mp4 files, and a manifest with their truth.

    Args:
        dataset: says which clip plays where and when.
        targets, fillers: the clips of its banks, in the same order.
        classes: names of its labels.
        folder: where to; made if needed.
        cell: side of a cell in pixels.

    Returns:
        ``manifest.csv`` in ``folder``, with segments in seconds and boxes in pixels.
    """
    options = dataset.options
    stored = (dataset.targets.features.shape[1], dataset.fillers.features.shape[1])

    @lru_cache(maxsize=64)
    def pixels(path: str, frames: int) -> Tensor:
        return resize(read_frames(path, make_sampler("uniform", frames=frames)).pixels, (cell, cell))

    def target_pixels(clip: int) -> Tensor:
        return pixels(targets[clip].path, stored[0])

    def filler_pixels(clip: int) -> Tensor:
        return pixels(fillers[clip].path, stored[1])

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(count):
        layout = dataset.layout(index)
        wall = compose(layout, target_pixels, filler_pixels, options.rows, options.columns)
        name = f"wall_{index:03d}.mp4"
        write_video(folder / name, (frame.permute(1, 2, 0).numpy() for frame in wall), fps)
        active, boxes = truth(layout, options.rows, options.columns, options.frames)
        rows.append([name, classes[layout.label], *_truth_json(active, boxes, fps, classes[layout.label], wall.shape)])
    table = folder / "manifest.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "label", "segments", "boxes"], *rows])
    return table


def _truth_json(active: Tensor, boxes: Tensor, fps: float, label: str, shape: torch.Size) -> tuple[str, str]:
    frames = torch.nonzero(active).flatten().tolist()
    if not frames:
        return "[]", "[]"
    segment = {"start": frames[0] / fps, "end": (frames[-1] + 1) / fps, "label": label}
    scale = np.array([shape[-1], shape[-2]] * 2)
    places = [
        {"time": t / fps, **dict(zip(("x0", "y0", "x1", "y1"), (boxes[t].numpy() * scale).tolist(), strict=True))}
        for t in frames
    ]
    return json.dumps([segment]), json.dumps(places)
