"""Importance over time as a figure for papers: peaks as pictures, the curve, segments and the truth under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch

from whenwhere.rendering.filmstrip import add_boxes, bare, moved, pictures_at
from whenwhere.rendering.letters import fit_inches, text_inches
from whenwhere.rendering.overlay import blend_mask, relative_mask_at
from whenwhere.rendering.plots import write_figure
from whenwhere.rendering.strip import PALETTE, percent
from whenwhere.structures import Explanation, Segment

_CURVE, _BAR, _TEXT = 0.75, 0.17, 0.3  # inches
_LEFT, _RIGHT = 0.95, 0.2
_WEIGHTS: dict[str, Any] = {"color": "0.35", "linewidth": 0.7, "linestyle": (0, (3, 2))}


@dataclass(frozen=True, eq=False)
class Timeline:
    """An explanation's part of the figure.

    Attributes:
        truth: true segments of the video.
        indices: of the frames that are shown, into ``explanation.times``.
        pictures: of each of them, `(H, W, 3)` uint8.
    """

    explanation: Explanation
    truth: Sequence[Segment] = ()
    indices: Sequence[int] = ()
    pictures: Sequence[np.ndarray] = ()


def peaks(explanation: Explanation, count: int) -> list[int]:
    """Indices of the ``count`` most important frames that are not close together, in order of time.

    Two are close when less than half of an even spacing over the video lies between them.
    """
    apart = explanation.duration / (2 * max(count, 1))
    chosen: list[int] = []
    for index in np.argsort(explanation.importance, kind="stable")[::-1].tolist():
        if len(chosen) == count:
            break
        if all(abs(explanation.times[index] - explanation.times[other]) >= apart for other in chosen):
            chosen.append(index)
    return sorted(chosen)


def draw_timelines(timelines: Sequence[Timeline], width: float = 6.75) -> Figure:
    """One under another, each on its own seconds; those of one video stand under each other second by second.

    Args:
        width: inches; 6.75 is two columns of a usual paper, 3.25 one.
    """
    labels = dict.fromkeys(
        label for one in timelines for label in (one.explanation.label, *(s.label for s in _segments(one)))
    )
    colors = {label: PALETTE[number % len(PALETTE)] for number, label in enumerate(labels)}
    heights = [_heights(one, width) for one in timelines]
    figure = Figure(figsize=(width, sum(map(sum, heights)) + 0.1), dpi=110)
    parts = figure.subfigures(len(timelines), 1, squeeze=False, height_ratios=[sum(each) for each in heights], hspace=0)
    for part, one, each in zip(parts[:, 0], timelines, heights, strict=True):
        _draw(part, one, each, width, colors)
    return figure


def write_timeline(
    explanations: Sequence[Explanation],
    path: str | Path,
    frames: int = 4,
    truths: Sequence[Sequence[Segment]] = (),
    video_path: str | Path | None = None,
    width: float = 6.75,
    dpi: int = 110,
) -> None:
    """Write the timelines of explanations: of several videos, or of several models on one.

    Curve and area: importance. Dashed: temporal attention alone. Below: segments found, by class; then the truth,
    hatched. Source: the paper's Figures 6 and 10.

    Args:
        frames: pictures at the peaks of each; 0: none, and no video is read.
        truths: true segments of each, where they are known.
        video_path: as :func:`~whenwhere.rendering.filmstrip.write_filmstrip`.

    Raises:
        VideoError: a video cannot be read.
        ValueError: unknown suffix, frames below 0, a width below 2, or a video of another size than the explanation's.
    """
    if frames < 0:
        raise ValueError(f"a timeline needs frames >= 0, got {frames}")
    if width < 2:
        raise ValueError(f"a timeline needs a width of 2 inches or more, got {width}")
    timelines = []
    for number, one in enumerate(explanations):
        truth = truths[number] if truths else ()
        indices = peaks(one, frames)
        pictures = pictures_at(one, [one.times[i] for i in indices], moved(one, video_path)) if indices else []
        timelines.append(Timeline(one, truth, indices, pictures))
    write_figure(draw_timelines(timelines, width), path, dpi, tight=False)


def _segments(one: Timeline) -> list[Segment]:
    return [*one.explanation.segments, *one.truth]


def _rows(one: Timeline) -> list[tuple[str, bool, list[Segment]]]:
    """Label, whether it is the truth, and segments of each bar."""
    rows = []
    for segments, true in ((one.explanation.segments, False), (one.truth, True)):
        for label in dict.fromkeys(s.label for s in segments):
            rows.append((label, true, [s for s in segments if s.label == label]))
    return rows


def _heights(one: Timeline, width: float) -> list[float]:
    """Inches of title, pictures, curve, bars and axis."""
    said = one.explanation
    cell = (width - _LEFT - _RIGHT) / max(len(one.indices), 3)
    pictures = cell * said.height / said.width + 0.12 if one.indices else 0.0
    return [_TEXT, pictures, _CURVE, _BAR * len(_rows(one)) + 0.02, 0.42]


def _draw(figure: Figure, one: Timeline, heights: list[float], width: float, colors: dict[str, str]) -> None:
    said, total = one.explanation, sum(heights)
    left, right = _LEFT / width, 1 - _RIGHT / width

    def place(row: int) -> tuple[float, float, float, float]:
        return left, sum(heights[row + 1 :]) / total, right - left, heights[row] / total

    figure.text(
        left, 1 - 0.5 * _TEXT / total, _title(said, width - _LEFT - 0.08), fontsize=8, va="center", parse_math=False
    )
    curve = figure.add_axes(place(2))
    _draw_curve(curve, said, colors[said.label])
    bars = figure.add_axes(place(3), sharex=curve)
    _draw_bars(bars, _rows(one), colors)
    bars.set_xlabel("seconds", fontsize=7, labelpad=1)
    bars.set_xlim(0, said.duration)
    if one.indices:
        _draw_pictures(figure, one, place(1), curve, 0.12 / heights[1])


def _title(said: Explanation, room: float) -> str:
    """Video, label, probability and model in a line of ``room`` inches; long names are cut, none takes all of it."""
    model = fit_inches(f"   {Path(said.model).name}", room / 4, 8) if said.model else ""
    end = f" {percent(said.score)}{model}"
    room -= text_inches(f": {end}", 8)
    video = fit_inches(Path(said.path).name, max(room / 2, room - text_inches(said.label, 8)), 8)
    return f"{video}: {fit_inches(said.label, room - text_inches(video, 8), 8)}{end}"


def _draw_curve(axes: Axes, said: Explanation, color: str) -> None:
    greatest = max(said.importance)
    axes.fill_between(said.times, np.array(said.importance) / greatest, color=color, alpha=0.35, linewidth=0)
    axes.plot(said.times, np.array(said.importance) / greatest, color=color, linewidth=1.2)
    axes.plot(said.times, np.array(said.weights) / max(said.weights), **_WEIGHTS)
    axes.set_ylim(0, 1.08)
    axes.set_yticks([])
    axes.tick_params(labelbottom=False, bottom=False)
    for spine in ("top", "right"):
        axes.spines[spine].set_visible(False)
    axes.set_ylabel(
        "importance;\ndashed: temporal\nattention", fontsize=6.5, rotation=0, ha="right", va="center", labelpad=4
    )


def _draw_bars(axes: Axes, rows: list[tuple[str, bool, list[Segment]]], colors: dict[str, str]) -> None:
    axes.set_ylim(max(len(rows), 1), 0)
    for spine in ("top", "right", "left"):
        axes.spines[spine].set_visible(False)
    for number, (label, true, segments) in enumerate(rows):
        spans = [(s.start, s.duration) for s in segments]
        look: dict[str, Any] = (
            {"facecolor": "white", "hatch": "/////", "edgecolor": colors[label], "linewidth": 0.8} if true else {}
        )
        axes.broken_barh(spans, (number + 0.15, 0.7), **(look or {"facecolor": colors[label]}))
    axes.set_yticks([number + 0.5 for number in range(len(rows))])
    names = [f"true {label}" if true else label for label, true, _ in rows]
    axes.set_yticklabels([fit_inches(name, _LEFT - 0.1, 6.5) for name in names], fontsize=6.5, parse_math=False)
    axes.tick_params(left=False, labelsize=6.5, pad=2)


def _draw_pictures(
    figure: Figure, one: Timeline, place: tuple[float, float, float, float], curve: Axes, gap: float
) -> None:
    """Frames at the peaks, each tied to its moment; spread evenly, for peaks may lie close together."""
    said, (left, bottom, width, height) = one.explanation, place
    slot = width / max(len(one.indices), 3)
    first = left + (width - slot * len(one.indices)) / 2
    for column, (index, picture) in enumerate(zip(one.indices, one.pictures, strict=True)):
        time = said.times[index]
        axes = figure.add_axes((first + column * slot, bottom + gap * height, 0.96 * slot, (1 - gap) * height))
        axes.imshow(blend_mask(picture, relative_mask_at(said, time), said.mask_area))
        axes.set_autoscale_on(False)
        bare(axes)
        add_boxes(axes, said, time)
        axes.text(0.03, 0.96, f"{time:.1f} s", transform=axes.transAxes, fontsize=6.5, color="white", va="top",
                  bbox={"facecolor": "black", "alpha": 0.6, "pad": 1, "linewidth": 0})  # fmt: skip
        line = ConnectionPatch(
            (0.5, 0), (time, said.importance[index] / max(said.importance)), axes.transAxes, curve.transData,
            color="0.5", linewidth=0.6,
        )  # fmt: skip
        figure.add_artist(line)
