"""Rendered clips whose what, when and where are known exactly; made on the fly, no files needed.

Tier A: the class is which glyph appears for a while. Tier B: the class is the direction in which one sweeps for a
while, which only the order of the frames tells. :mod:`whenwhere.datasets.scenes` says how and why.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from whenwhere.datasets.scenes import DIRECTIONS, SPLITS, SyntheticOptions, draw_scene, random_stream, sample_scene
from whenwhere.files import whole_file

OPPOSITE = {"right": "left", "left": "right", "up": "down", "down": "up"}
FPS = 8.0


@dataclass(frozen=True)
class SyntheticClip:
    """A rendered clip with its truth.

    Attributes:
        pixels: `(T, 3, size, size)` uint8 RGB.
        label: index into the classes.
        interval: first frame of the event and one past its last.
        boxes: `(T, 4)` x0, y0, x1, y1 of the target in pixels; NaN outside the interval.
        active: `(T,)` bool, True inside the interval.
    """

    pixels: np.ndarray
    label: int
    interval: tuple[int, int]
    boxes: np.ndarray
    active: np.ndarray


def render_clip(options: SyntheticOptions, index: int, split: str = "train") -> SyntheticClip:
    """Render clip ``index`` of ``split``; depends on nothing but the options, the split and the index.

    Raises:
        IndexError: ``index`` is not in ``[0, options.clips)``.
        ValueError: unknown split.
    """
    scene = sample_scene(options, index, split)
    active = np.zeros(options.frames, dtype=bool)
    active[slice(*scene.interval)] = True
    boxes = np.where(active[:, None], scene.tracks[scene.target].boxes, np.nan).astype(np.float32)
    pixels = draw_scene(scene, random_stream(options, index, split, purpose=1), options.noise)
    return SyntheticClip(pixels, scene.label, scene.interval, boxes, active)


def reverse(clip: SyntheticClip) -> SyntheticClip:
    """The clip of tier B played backwards: the opposite class, the same frames."""
    names = tuple(DIRECTIONS)
    start, end = clip.interval
    return SyntheticClip(
        pixels=clip.pixels[::-1].copy(),
        label=names.index(OPPOSITE[names[clip.label]]),
        interval=(len(clip.pixels) - end, len(clip.pixels) - start),
        boxes=clip.boxes[::-1].copy(),
        active=clip.active[::-1].copy(),
    )


class SyntheticDataset(Dataset[dict[str, torch.Tensor]]):
    """Clips of one split as tensors.

    Items: ``pixels`` `(T, 3, size, size)` uint8, ``label`` int64, ``interval`` `(2,)` int64 in frames, ``boxes``
    `(T, 4)` float32 in pixels (NaN outside the interval), ``active`` `(T,)` bool. :meth:`clip` gives the same as
    a :class:`SyntheticClip`.
    """

    def __init__(self, options: SyntheticOptions, split: str = "train") -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        self.options = options
        self.split = split
        self.classes = options.classes

    def __len__(self) -> int:
        return self.options.clips

    def clip(self, index: int) -> SyntheticClip:
        return render_clip(self.options, index, self.split)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        clip = self.clip(index)
        return {
            "pixels": torch.from_numpy(clip.pixels),
            "label": torch.tensor(clip.label),
            "interval": torch.tensor(clip.interval),
            "boxes": torch.from_numpy(clip.boxes),
            "active": torch.from_numpy(clip.active),
        }


MANIFEST_COLUMNS = ("path", "label", "split", "group", "segments", "boxes")


def _enlarged(pixels: np.ndarray, scale: int) -> Iterator[np.ndarray]:
    """Frames `(H, W, 3)`, every pixel repeated ``scale`` times both ways."""
    for frame in pixels.transpose(0, 2, 3, 1):
        yield np.ascontiguousarray(frame.repeat(scale, axis=0).repeat(scale, axis=1))


def _manifest_row(clip: SyntheticClip, label: str, path: str, split: str, scale: int) -> dict[str, str]:
    start, end = clip.interval
    segments = [{"start": start / FPS, "end": end / FPS, "label": label}]
    boxes = [
        {"time": t / FPS, **dict(zip(("x0", "y0", "x1", "y1"), (clip.boxes[t] * scale).tolist())), "label": label}
        for t in range(start, end)
    ]
    group = Path(path).stem
    values = (path, label, split, group, json.dumps(segments), json.dumps(boxes))
    return dict(zip(MANIFEST_COLUMNS, values, strict=True))


def write_dataset(
    options: SyntheticOptions, folder: str | Path, clips: Mapping[str, int] | None = None, scale: int = 4
) -> Path:
    """Write the clips as mp4 files, ``folder/<class>/<split>-00042.mp4``, 8 frames per second, and a manifest.

    The manifest is written last, so a folder with one is complete.

    Args:
        options: what to render.
        folder: made if missing.
        clips: clips per split; by default ``options.clips`` for train and a quarter of it for val and test.
        scale: enlargement; a file is ``size * scale`` pixels wide and its boxes are in those pixels.

    Returns:
        ``folder/manifest.csv``: columns path (relative to the folder), label, split, group (each clip is its own),
        segments and boxes as JSON.
    """
    from whenwhere.video import write_video

    folder = Path(folder)
    clips = clips or {"train": options.clips, "val": max(1, options.clips // 4), "test": max(1, options.clips // 4)}
    rows = []
    for split, count in clips.items():
        wanted = replace(options, clips=count)
        for index in range(count):
            clip = render_clip(wanted, index, split)
            label = options.classes[clip.label]
            path = f"{label}/{split}-{index:05d}.mp4"
            (folder / label).mkdir(parents=True, exist_ok=True)
            times = [t / FPS for t in range(options.frames)]
            write_video(folder / path, _enlarged(clip.pixels, scale), times)
            rows.append(_manifest_row(clip, label, path, split, scale))
    manifest = folder / "manifest.csv"
    with whole_file(manifest) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, MANIFEST_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return manifest
