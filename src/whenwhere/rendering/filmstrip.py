"""The paper's Figure 4 for any explained video: frames, spatial attention over them, importance below."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from whenwhere.rendering.overlay import (
    BOX_COLOR,
    blend_mask,
    boxes_at,
    check_size,
    heat_colors,
    relative_mask_at,
)
from whenwhere.rendering.plots import SUFFIXES, write_figure
from whenwhere.rendering.strip import fit_text, percent, text_font
from whenwhere.structures import Explanation
from whenwhere.video import read_frames

CELL_WIDTH = 1.55  # inches


def filmstrip_indices(count: int, frames: int) -> list[int]:
    """At most ``frames`` of ``count`` indices, evenly spread, the first and the last among them."""
    return sorted(set(np.linspace(0, count - 1, min(frames, count)).round().astype(int).tolist()))


def pictures_at(explanation: Explanation, times: list[float], video_path: str | Path | None = None) -> list[np.ndarray]:
    """The video's frame nearest to each of the increasing ``times`` (seconds), each `(H, W, 3)` uint8.

    Raises:
        VideoError: the video cannot be read.
        ValueError: it does not have the size the explanation was made for.
    """
    path = video_path or explanation.path

    def nearest(timestamps: np.ndarray, duration: float, generator: object) -> np.ndarray:
        return np.abs(timestamps[None] - np.array(times)[:, None]).argmin(axis=1)

    pictures = [picture.permute(1, 2, 0).numpy() for picture in read_frames(path, nearest).pixels]
    check_size(explanation, path, pictures[0])
    return pictures


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_boxes(axes: Axes, explanation: Explanation, time: float) -> None:
    color = tuple(value / 255 for value in BOX_COLOR)
    for box in boxes_at(explanation, time):
        corner, size = (box.x0, box.y0), (box.x1 - box.x0, box.y1 - box.y0)
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="black", linewidth=2.6))
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=color, linewidth=1.4))


def draw_filmstrip(
    explanation: Explanation, pictures: list[np.ndarray], indices: list[int], opacity: float = 0.7
) -> Figure:
    """The figure itself: one column for each of ``indices`` into ``explanation.times`` and its picture."""
    cell_height = CELL_WIDTH * explanation.height / explanation.width
    patch_height, top, side = 0.42, 0.62, 0.95
    width = side + CELL_WIDTH * len(indices) + 0.7
    height = 2 * cell_height + patch_height + top + 0.2
    figure = Figure(figsize=(width, height), dpi=110)
    grid = figure.add_gridspec(
        3,
        len(indices),
        height_ratios=[cell_height, cell_height, patch_height],
        left=side / width,
        right=1 - 0.7 / width,
        top=1 - top / height,
        bottom=0.1 / height,
        wspace=0.04,
        hspace=0.06,
    )
    greatest = max(explanation.importance)
    for column, (index, picture) in enumerate(zip(indices, pictures, strict=True)):
        time, importance = explanation.times[index], explanation.importance[index]
        heat = blend_mask(picture, relative_mask_at(explanation, time), explanation.mask_area, opacity)
        for row, image in enumerate((picture, heat)):
            axes = figure.add_subplot(grid[row, column])
            _bare(axes)
            axes.imshow(image, interpolation="antialiased", aspect="auto")
            axes.set_autoscale_on(False)
            _draw_boxes(axes, explanation, time)
            if row == 0:
                axes.set_title(f"{time:.2f} s", fontsize=9, pad=3)
            if column == 0:
                axes.set_ylabel(("frame", "where")[row], fontsize=9, rotation=0, ha="right", va="center")
        brightness = importance / greatest
        axes = figure.add_subplot(grid[2, column])
        _bare(axes)
        axes.set_facecolor((brightness,) * 3)
        for spine in axes.spines.values():
            spine.set(visible=True, color="0.6", linewidth=0.6)
        ink = "black" if brightness > 0.5 else "white"
        axes.text(0.5, 0.48, f"{100 * importance:.1f} %", color=ink, fontsize=9, ha="center", va="center")
        if column == 0:
            axes.set_ylabel("when", fontsize=9, rotation=0, ha="right", va="center")
    _draw_color_bar(figure, grid[1, len(indices) - 1].get_position(figure).bounds, width)
    probability = "  " + percent(explanation.score)
    font = text_font(19)  # 12 points at this resolution
    room = figure.dpi * (width - side - 0.15) - font.getlength(probability)
    title = fit_text(explanation.label, font, room) + probability
    figure.text(side / width, 1 - 0.24 / height, title, fontsize=12, va="center", parse_math=False)
    return figure


def _draw_color_bar(figure: Figure, cell: tuple[float, float, float, float], width: float) -> None:
    left, bottom, cell_width, height = cell
    axes = figure.add_axes((left + cell_width + 0.08 / width, bottom, 0.09 / width, height))
    bar = figure.colorbar(ScalarMappable(cmap=ListedColormap(heat_colors() / 255)), cax=axes, ticks=[0, 1])
    bar.ax.set_yticklabels(["low", "high"], fontsize=8)
    bar.outline.set_visible(False)  # type: ignore[operator]


def write_filmstrip(
    explanation: Explanation, path: str | Path, frames: int = 8, video_path: str | Path | None = None
) -> None:
    """Write the filmstrip of an explained video.

    Top row: frames evenly spread over the ones the model looked at, with their times. Middle row:
    spatial attention relative to the clip. Bottom row: each frame's importance, brighter
    for a greater one. Source: the paper's Figure 4.

    Args:
        explanation: what to draw.
        path: the file to write; its suffix (``.png``, ``.pdf`` or ``.svg``) is its format.
        frames: how many columns, at most.
        video_path: the video, when it is no longer at ``explanation.path``.

    Raises:
        VideoError: the video cannot be read.
        ValueError: unknown suffix, ``frames`` below 1, or a video of another size than the explanation's.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"cannot write a filmstrip to {path}: expected a file name ending in {', '.join(SUFFIXES)}")
    if frames < 1:
        raise ValueError(f"a filmstrip needs frames >= 1, got {frames}")
    indices = filmstrip_indices(len(explanation.times), frames)
    pictures = pictures_at(explanation, [explanation.times[i] for i in indices], video_path)
    write_figure(draw_filmstrip(explanation, pictures, indices), path, tight=False)
