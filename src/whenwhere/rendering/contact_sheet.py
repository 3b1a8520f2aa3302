"""A picture of a data set: the middle frames of a few clips of every class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from whenwhere.structures import Clip
from whenwhere.video import VideoError, frames_at, read_frames


def middle_frame(clip: Clip) -> tuple[np.ndarray, float]:
    """`(H, W, 3)` uint8 and its time: the middle box's frame where there are boxes, else that of the clip.

    Raises:
        VideoError: the clip cannot be read.
    """

    def pick(timestamps: np.ndarray, duration: float, generator: object) -> np.ndarray:
        wanted = clip.boxes[len(clip.boxes) // 2].time if clip.boxes else duration / 2
        return frames_at(timestamps, np.array([wanted]))

    frames = read_frames(clip.path, pick)
    return frames.pixels[0].permute(1, 2, 0).numpy(), float(frames.times[0])


def contact_sheet(clips: Sequence[Clip], path: str | Path, columns: int = 6, classes: int = 40) -> Path:
    """Write a PNG with a row for each class, up to ``columns`` clips in it spread over the class's clips.

    True boxes of the frame are drawn; a clip that cannot be read shows as an empty place with its name.

    Args:
        classes: most rows; the first by name.
    """
    by_class: dict[str, list[Clip]] = {}
    for clip in clips:
        for label in clip.labels or ("(no label)",):
            by_class.setdefault(label, []).append(clip)
    rows = sorted(by_class.items())[:classes]
    figure = Figure(figsize=(1.9 * columns + 0.3, 1.55 * len(rows) + 0.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for row, (label, members) in zip(grid, rows, strict=True):
        chosen = [members[i] for i in np.unique(np.linspace(0, len(members) - 1, columns).round().astype(int))]
        for axis in row:
            axis.axis("off")
        for axis, clip in zip(row, chosen):
            _show(axis, clip)
        row[0].text(0, 1.12, f"{label} ({len(members)})", transform=row[0].transAxes, fontsize=9, weight="bold")
    path = Path(path)
    with path.open("wb") as file:
        canvas.print_png(file)
    return path


def _show(axis: object, clip: Clip) -> None:
    try:
        image, time = middle_frame(clip)
    except VideoError:
        axis.text(0.5, 0.5, "cannot be read", ha="center", va="center", fontsize=7)  # type: ignore[attr-defined]
    else:
        axis.imshow(image)  # type: ignore[attr-defined]
        for box in clip.boxes:
            if abs(box.time - time) < 1e-3:
                corner, size = (box.x0, box.y0), (box.x1 - box.x0, box.y1 - box.y0)
                axis.add_patch(Rectangle(corner, *size, fill=False, color="#ffcc00"))  # type: ignore[attr-defined]
    name = Path(clip.path).stem
    shown = name if len(name) <= 26 else f"{name[:12]}…{name[-12:]}"
    axis.set_title(f"{shown}{f' · {clip.split}' if clip.split else ''}", fontsize=5.5, pad=2)  # type: ignore[attr-defined]
