"""The paper's Figure 4 for any explained video: frames, spatial attention over them, importance below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from whenwhere.files import moved_file
from whenwhere.rendering.letters import fit_inches, text_inches
from whenwhere.rendering.overlay import (
    BOX_COLOR,
    blend_mask,
    boxes_at,
    check_size,
    heat_colors,
    relative_mask_at,
)
from whenwhere.rendering.plots import SUFFIXES, write_figure
from whenwhere.rendering.strip import percent
from whenwhere.structures import Box, Explanation
from whenwhere.video import VideoError, read_frames

CELL_WIDTH = 1.55  # inches, as all of these
_TRUE: dict[str, Any] = {"edgecolor": "white", "linestyle": (0, (3, 2))}
_LEFT, _RIGHT, _TOP, _PATCH = 0.65, 0.65, 0.62, 0.42
_POINTS, _LEAST_POINTS = 9.0, 5.0  # of the text over and below a picture; what is smaller cannot be read


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
    check_size(explanation, path, pictures[0].shape[1], pictures[0].shape[0])
    return pictures


def bare(axes: Axes) -> None:
    """Neither ticks nor a frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def add_boxes(axes: Axes, explanation: Explanation, time: float, truth: Sequence[Box] = ()) -> None:
    """Boxes at ``time`` seconds, onto axes in pixels of the video; true ones of the clip dashed."""
    color = tuple(value / 255 for value in BOX_COLOR)
    found = boxes_at(explanation, time)
    for box, top in [*((box, {"edgecolor": color}) for box in found), *((box, _TRUE) for box in true_at(truth, time))]:
        corner, size = (box.x0, box.y0), (box.x1 - box.x0, box.y1 - box.y0)
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="black", linewidth=2.6))
        axes.add_patch(Rectangle(corner, *size, fill=False, linewidth=1.4, **top))


def true_at(truth: Sequence[Box], time: float, near: float = 0.1) -> list[Box]:
    """Those of the marked frame nearest to ``time``, if it is at most ``near`` seconds away."""
    marked = min((box.time for box in truth), key=lambda one: abs(one - time), default=np.inf)
    return [box for box in truth if box.time == marked] if abs(marked - time) <= near else []


@dataclass(frozen=True, eq=False)
class Strip:
    """A video's part of a figure.

    Attributes:
        indices: of the frames shown, into ``explanation.times``.
        pictures: of each of them, `(H, W, 3)` uint8.
        cell: width of a picture in inches.
    """

    explanation: Explanation
    indices: list[int]
    pictures: list[np.ndarray]
    cell: float = CELL_WIDTH

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        cell_height = self.cell * self.explanation.height / self.explanation.width
        return _LEFT + self.cell * len(self.indices) + _RIGHT, 2 * cell_height + _PATCH + _TOP + 0.2

    @property
    def points(self) -> float:
        """Size of the text over and below the pictures, so that no two touch."""
        texts = ["99.9 %", *(f"{self.explanation.times[index]:.2f} s" for index in self.indices)]
        return min(_POINTS, 0.9 * self.cell / max(text_inches(text, 1.0) for text in texts))


def draw_filmstrips(strips: Sequence[Strip], opacity: float = 0.7, boxes: bool = True) -> Figure:
    """One under another: a column for each frame, with or without boxes."""
    sizes = [strip.size for strip in strips]
    width, heights = max(width for width, _ in sizes), [height for _, height in sizes]
    figure = Figure(figsize=(width, sum(heights)), dpi=110)
    parts = figure.subfigures(len(strips), 1, squeeze=False, height_ratios=heights, hspace=0)
    for part, strip, height in zip(parts[:, 0], strips, heights, strict=True):
        _draw_strip(part, strip, width, height, opacity, boxes)
    return figure


def _draw_strip(figure: SubFigure, strip: Strip, width: float, height: float, opacity: float, boxes: bool) -> None:
    explanation, indices = strip.explanation, strip.indices
    cell_height = strip.cell * explanation.height / explanation.width
    grid = figure.add_gridspec(
        3,
        len(indices),
        height_ratios=[cell_height, cell_height, _PATCH],
        left=_LEFT / width,
        right=(strip.size[0] - _RIGHT) / width,
        top=1 - _TOP / height,
        bottom=0.1 / height,
        wspace=0.04,
        hspace=0.06,
    )
    greatest = max(explanation.importance)
    for column, (index, picture) in enumerate(zip(indices, strip.pictures, strict=True)):
        time, importance = explanation.times[index], explanation.importance[index]
        heat = blend_mask(picture, relative_mask_at(explanation, time), explanation.mask_area, opacity)
        for row, image in enumerate((picture, heat)):
            axes = figure.add_subplot(grid[row, column])
            bare(axes)
            axes.imshow(image, interpolation="antialiased", aspect="auto")
            axes.set_autoscale_on(False)
            if boxes:
                add_boxes(axes, explanation, time)
            if row == 0:
                axes.set_title(f"{time:.2f} s", fontsize=strip.points, pad=3)
            if column == 0:
                axes.set_ylabel(("frame", "where")[row], fontsize=9, rotation=0, ha="right", va="center")
        brightness = importance / greatest
        axes = figure.add_subplot(grid[2, column])
        bare(axes)
        axes.set_facecolor((brightness,) * 3)
        for spine in axes.spines.values():
            spine.set(visible=True, color="0.6", linewidth=0.6)
        ink = "black" if brightness > 0.5 else "white"
        axes.text(0.5, 0.48, f"{100 * importance:.1f} %", color=ink, fontsize=strip.points, ha="center", va="center")
        if column == 0:
            axes.set_ylabel("when", fontsize=9, rotation=0, ha="right", va="center")
    cell = grid[1, len(indices) - 1].get_position(figure).bounds  # type: ignore[arg-type]
    _draw_color_bar(figure, cell, width)
    probability = "  " + percent(explanation.score)
    room = width - _LEFT - 0.15 - text_inches(probability, 12)
    title = fit_inches(explanation.label, room, 12) + probability
    figure.text(_LEFT / width, 1 - 0.24 / height, title, fontsize=12, va="center", parse_math=False)


def _draw_color_bar(figure: SubFigure, cell: tuple[float, float, float, float], width: float) -> None:
    left, bottom, cell_width, height = cell
    axes = figure.add_axes((left + cell_width + 0.08 / width, bottom, 0.09 / width, height))
    bar = figure.colorbar(ScalarMappable(cmap=ListedColormap(heat_colors() / 255)), cax=axes, ticks=[0, 1])
    bar.ax.set_yticklabels(["low", "high"], fontsize=8)
    bar.outline.set_visible(False)  # type: ignore[operator]


def write_filmstrip(
    explanation: Explanation | Sequence[Explanation],
    path: str | Path,
    frames: int = 8,
    video_path: str | Path | None = None,
    width: float | None = None,
    dpi: int = 110,
    boxes: bool = True,
) -> None:
    """Write the filmstrip of an explained video, or those of several one under another.

    Top row: frames evenly spread over the ones the model looked at, with their times. Middle row:
    spatial attention relative to the clip. Bottom row: each frame's importance, brighter
    for a greater one. Source: the paper's Figure 4.

    Args:
        explanation: what to draw.
        path: the file to write; its suffix (``.png``, ``.pdf`` or ``.svg``) is its format.
        frames: how many columns, at most.
        video_path: the video, when it is no longer at ``explanation.path``; of several the folder they are in.
        width: of the figure in inches; None: what the pictures need.
        dpi: dots an inch of a PNG.
        boxes: draw them.

    Raises:
        VideoError: the video is missing or cannot be read.
        ValueError: unknown suffix, ``frames`` below 1, a width too small, or a video of another size than the
            explanation's.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"cannot write a filmstrip to {path}: expected a file name ending in {', '.join(SUFFIXES)}")
    if frames < 1:
        raise ValueError(f"a filmstrip needs frames >= 1, got {frames}")
    several = [explanation] if isinstance(explanation, Explanation) else explanation
    strips = []
    for one in several:
        indices = filmstrip_indices(len(one.times), frames)
        cell = CELL_WIDTH if width is None else (width - _LEFT - _RIGHT) / len(indices)
        if Strip(one, indices, [], cell).points < _LEAST_POINTS:
            raise ValueError(f"{len(indices)} frames do not fit into {width} inches; give fewer frames or more width")
        pictures = pictures_at(one, [one.times[i] for i in indices], moved(one, video_path))
        strips.append(Strip(one, indices, pictures, cell))
    write_figure(draw_filmstrips(strips, boxes=boxes), path, dpi, tight=False)


def moved(explanation: Explanation, place: str | Path | None) -> Path:
    """Where an explained video is now: in the folder ``place``, at it, or where it was.

    Raises:
        VideoError: it is not there.
    """
    path = Path(explanation.path if place is None else place)
    if path.is_dir():
        path = moved_file(explanation.path, path)
    if not path.is_file():
        raise VideoError(f"{path}: no such file; if the video has moved, give it or the folder it is in with --video")
    return path
