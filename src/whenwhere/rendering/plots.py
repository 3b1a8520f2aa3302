"""Plots of measured results: confusions, calibration, classes, and the model beside its controls.

Every ``draw_`` function gives a figure; :func:`write_figure` makes a file of it, :func:`figure_png` bytes for a page.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from whenwhere.files import whole_file
from whenwhere.metrics.bootstrap import Estimate, best_of
from whenwhere.metrics.calibration import Reliability
from whenwhere.rendering.letters import choose_fonts
from whenwhere.rendering.strip import fit_text, text_font

SUFFIXES = (".png", ".svg", ".pdf")
# Blue and red that colour-blind readers tell apart, by lightness too; WORSE: no better than a control.
OURS, FILL, CONTROL, WORSE = "#0072B2", "#9CCBE8", "#6B6B6B", "#B2182B"
NAME_WIDTH = 22  # of a name, in heights of its letters; what is longer is cut
FEW_CLASSES = 12  # up to here a confusion matrix has room for its numbers
ROW = 0.21  # inches, a line of text with what is drawn beside it


def figure_png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as a PNG, cut to what is drawn."""
    buffer = io.BytesIO()
    choose_fonts(figure)
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.15)
    return buffer.getvalue()


def write_figure(figure: Figure, path: str | Path, dpi: int = 110, tight: bool = True) -> Path:
    """Write the figure, whole or not at all; the suffix (``.png``, ``.svg``, ``.pdf``) decides.

    Args:
        tight: cut to what is drawn.

    Raises:
        ValueError: another suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"cannot write a plot to {path}: expected a file name ending in {', '.join(SUFFIXES)}")
    cut: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.15} if tight else {}
    choose_fonts(figure)
    # Type 42: text in a PDF stays text that can be searched and edited, as journals ask.
    with whole_file(path) as partial, matplotlib.rc_context({"pdf.fonttype": 42}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # choose_fonts has said so
        figure.savefig(partial, format=path.suffix.lower()[1:], dpi=dpi, **cut)
    return path


def draw_confusion_matrix(matrix: ArrayLike, names: Sequence[str]) -> Figure:
    """Shares of each true class (row) taken for each class (column); numbers of clips in the cells of a small one.

    Shades follow the square root of the share, so that one confusion in fifty can still be seen. Rows of classes
    without clips are hatched.

    Args:
        matrix: `(K, K)` clips, as :func:`whenwhere.metrics.classification.confusion_matrix`.
        names: K.
    """
    matrix, count = np.asarray(matrix), len(names)
    if matrix.shape != (count, count) or count == 0:
        raise ValueError(f"a confusion matrix of {count} classes must be ({count}, {count}), got {matrix.shape}")
    totals = matrix.sum(1)
    cell = min(0.9, max(0.13, 6 / count))  # inches
    figure, (axes,) = _panels(cell * count, [cell * count])
    shares = np.where(totals > 0, matrix.T / np.maximum(totals, 1), 0).T
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest", aspect="auto")
    for row in np.flatnonzero(totals == 0):
        axes.axhspan(row - 0.5, row + 0.5, facecolor="0.95", edgecolor="0.7", hatch="////", linewidth=0)
    lines = np.arange(1, count) - 0.5
    axes.vlines(lines, -0.5, count - 0.5, color="0.88", linewidth=0.5)
    axes.hlines(lines, -0.5, count - 0.5, color="0.88", linewidth=0.5)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
    size = 7 if cell < 0.2 else 9
    axes.set_xticks(range(count), _short(names), rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(range(count), _short(names), fontsize=size, parse_math=False)
    axes.tick_params(length=0)
    if count <= FEW_CLASSES:
        for row, column in np.argwhere(matrix > 0):
            ink = "white" if shares[row, column] > 0.35 else "black"
            axes.text(column, row, str(matrix[row, column]), color=ink, fontsize=10, ha="center", va="center")
    axes.set_xlabel("predicted class", fontsize=10, labelpad=8)
    axes.set_ylabel("true class", fontsize=10, labelpad=8)
    title = f"{int(np.trace(matrix))} of {int(totals.sum())} clips right"
    if missing := int((totals == 0).sum()):
        title += f"; hatched: {missing} {'class' if missing == 1 else 'classes'} without clips"
    axes.set_title(title, fontsize=11, loc="left", pad=10)
    side = cell * count
    bar = axes.inset_axes((1 + 0.15 / side, 1 - min(1, 4 / side), 0.14 / side, min(1, 4 / side)))
    figure.colorbar(image, cax=bar, ticks=[0, 0.01, 0.1, 0.25, 0.5, 1]).set_label("share of the true class", fontsize=9)
    return figure


def draw_reliability(diagram: Reliability) -> Figure:
    """Accuracy in each bin of confidence beside what perfect calibration gives; below, each bin's share of clips."""
    filled = diagram.weight > 0
    total = diagram.weight.sum()
    figure, (top, bottom) = _panels(4.2, [4.2, 1.3], gap=0.18)
    left, width = diagram.edges[:-1], np.diff(diagram.edges)
    bars: dict[str, Any] = {"align": "edge", "edgecolor": "white", "linewidth": 0.8}
    top.bar(left[filled], diagram.accuracy[filled], width[filled], color=FILL, label="accuracy", **bars)
    low = np.minimum(diagram.accuracy, diagram.confidence)[filled]
    gap = np.abs(diagram.accuracy - diagram.confidence)[filled]
    gaps: dict[str, Any] = {
        "align": "edge",
        "facecolor": "none",
        "edgecolor": WORSE,
        "hatch": "////",
        "linewidth": 0.8,
    }
    top.bar(left[filled], gap, width[filled], low, label="gap to the confidence", **gaps)
    top.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="perfectly calibrated")
    top.legend(loc="upper left", fontsize=9, framealpha=0.85, edgecolor="none")
    top.set(xlim=(0, 1), ylim=(0, 1), xticklabels=[])
    top.set_ylabel("accuracy", fontsize=10)
    top.set_title(f"ECE {diagram.error:.3f}, {len(left)} bins, {total:g} clips", fontsize=11, loc="left", pad=8)
    bottom.bar(left, diagram.weight / total, width, color="0.75", **bars)
    confidence, accuracy = (
        np.nansum(diagram.weight * values) / total for values in (diagram.confidence, diagram.accuracy)
    )
    bottom.axvline(confidence, color=WORSE, linewidth=1.6, label=f"mean confidence {confidence:.3f}")
    bottom.axvline(accuracy, color=OURS, linewidth=1.6, linestyle=(0, (4, 2)), label=f"accuracy {accuracy:.3f}")
    bottom.legend(loc="upper left", fontsize=9, framealpha=0.85, edgecolor="none")
    bottom.set(xlim=(0, 1))
    bottom.set_ylabel("share of clips", fontsize=10)
    bottom.set_xlabel("confidence", fontsize=10)
    return figure


def draw_class_bars(estimates: Mapping[str, Estimate], measure: str) -> Figure:
    """One bar a class with its interval and number of clips, and the mean over classes as a line.

    Args:
        estimates: by class name, drawn from the top down, in [0, 1]; a value of NaN is a class without clips.
        measure: what is shown, for instance ``recall``.
    """
    if not estimates:
        raise ValueError("a plot by class needs at least one class")
    values = np.array([estimate.value for estimate in estimates.values()])
    figure, (axes,) = _panels(4.5, [ROW * len(values)])
    known = ~np.isnan(values)
    axes.barh(np.flatnonzero(known), values[known], height=0.72, color=FILL)
    _whiskers(axes, list(estimates.values()), [OURS] * len(values))
    for row, estimate in enumerate(estimates.values()):
        axes.text(1.02, row, f"{estimate.count}", fontsize=8, color="0.35", ha="left", va="center")
        if not known[row]:
            axes.text(0.01, row, "no clips", fontsize=8, color="0.35", ha="left", va="center", style="italic")
    title = f"{measure} by class"
    if known.any():
        mean = values[known].mean()
        axes.axvline(mean, color="black", linestyle="--", linewidth=1)
        title += f", mean {mean:.3f} over {known.sum()} {'class' if known.sum() == 1 else 'classes'}"
    axes.set_yticks(range(len(values)), _short(estimates), fontsize=9, parse_math=False)
    axes.set(xlim=(0, 1), ylim=(len(values) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(measure, fontsize=10)
    axes.set_title(title, fontsize=11, loc="left", pad=8)
    axes.annotate("clips", (1.02, 1), (0, 8), "axes fraction", textcoords="offset points", fontsize=8, color="0.35")
    return figure


@dataclass(frozen=True)
class Comparison:
    """One measure, of the model and of its trivial controls.

    Attributes:
        measure: its name.
        model: its value and interval.
        controls: by name, at least one.
        higher_is_better: False for areas under deletion curves, for instance.
    """

    measure: str
    model: Estimate
    controls: Mapping[str, Estimate]
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not self.controls:
            raise ValueError(f"{self.measure!r} has no control; a figure alone says nothing")

    @property
    def best_control(self) -> str:
        """The control hardest to beat; those that are NaN come last."""
        return best_of(self.controls, self.higher_is_better)

    @property
    def verdict(self) -> str:
        """What is wrong with the model's value, in words; empty when it is better than its best control."""
        best = self.controls[self.best_control].value
        if np.isnan([self.model.value, best]).any():
            return "cannot be compared"
        better = self.model.value > best if self.higher_is_better else self.model.value < best
        return "" if better else f"no better than {self.best_control}"


def draw_comparison(comparisons: Sequence[Comparison]) -> Figure:
    """Model against controls: a panel a measure, the model on top, a dot and an interval an answer.

    The best control's value runs through the panel as a line. Where the model is not better, it is red and the
    title says so.
    """
    if not comparisons:
        raise ValueError("a comparison needs at least one measure")
    heights = [ROW * (1 + len(comparison.controls)) for comparison in comparisons]
    figure, panels = _panels(4.8, heights, gap=0.34)
    estimates = [estimate for each in comparisons for estimate in (each.model, *each.controls.values())]
    ends = np.array([(estimate.value, estimate.low, estimate.high) for estimate in estimates])
    low, high = np.nanmin(ends, initial=0), np.nanmax(ends, initial=1)
    margin = 0.02 * (high - low)
    for axes, comparison in zip(panels, comparisons, strict=True):
        _draw_answers(axes, comparison)
        axes.set(xlim=(low - margin, high + margin))
        if axes is not panels[-1]:  # one scale for all, said once
            axes.set_xticklabels([])
    return figure


def _draw_answers(axes: Axes, comparison: Comparison) -> None:
    verdict, best = comparison.verdict, comparison.controls[comparison.best_control]
    answers = {"model": comparison.model, **comparison.controls}
    colors = [WORSE if verdict else OURS, *[CONTROL] * len(comparison.controls)]
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axvline(best.value, color=CONTROL, linestyle="--", linewidth=0.9, zorder=1)
    _whiskers(axes, list(answers.values()), colors)
    for row, (estimate, color) in enumerate(zip(answers.values(), colors, strict=True)):
        axes.plot(estimate.value, row, "D" if row == 0 else "o", color=color, markersize=7 if row == 0 else 5.5)
        said = "–" if np.isnan(estimate.value) else f"{estimate.value:.3f}"
        axes.annotate(said, (1.01, row), xycoords=axes.get_yaxis_transform(), fontsize=8, color=color, va="center")
    axes.set_yticks(range(len(answers)), _short(answers), fontsize=9, parse_math=False)
    axes.get_yticklabels()[0].set(color=colors[0], fontweight="bold")
    axes.set(ylim=(len(answers) - 0.5, -0.5))
    axes.tick_params(axis="both", length=0)
    direction = "" if comparison.higher_is_better else ", lower is better"
    title = f"{comparison.measure} (n = {comparison.model.count}{direction})" + (verdict and f": {verdict}")
    axes.set_title(title, fontsize=10, loc="left", pad=5, color=WORSE if verdict else "black", parse_math=False)


def _panels(width: float, heights: Sequence[float], gap: float = 0.0) -> tuple[Figure, list[Axes]]:
    """Axes of one width under one another, in inches; labels stand outside, where the tight bounding box finds them."""
    total = sum(heights) + gap * (len(heights) - 1)
    figure = Figure(figsize=(width, total), facecolor="white")
    panels, top = [], total
    for height in heights:
        axes = figure.add_axes((0, (top - height) / total, 1, height / total))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
        panels.append(axes)
        top -= height + gap
    return figure, panels


def _whiskers(axes: Axes, estimates: Sequence[Estimate], colors: Sequence[str]) -> None:
    for row, (estimate, color) in enumerate(zip(estimates, colors, strict=True)):
        axes.plot([estimate.low, estimate.high], [row, row], color=color, linewidth=1.6, solid_capstyle="butt")


def _short(names: Iterable[str]) -> list[str]:
    font = text_font(20)
    return [fit_text(name, font, 20 * NAME_WIDTH) for name in names]
