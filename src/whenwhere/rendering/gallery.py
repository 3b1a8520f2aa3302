"""Many explained videos in one figure: of each the most important frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from whenwhere.rendering.filmstrip import add_boxes, bare, moved, pictures_at
from whenwhere.rendering.letters import fit_inches, text_inches
from whenwhere.rendering.overlay import blend_mask, relative_mask_at
from whenwhere.rendering.plots import write_figure
from whenwhere.rendering.strip import percent
from whenwhere.structures import Box, Explanation

Order = Literal["given", "confidence", "label"]
RIGHT, WRONG = "#0072B2", "#D55E00"  # Okabe and Ito's blue and vermilion; the words say it too


@dataclass(frozen=True, eq=False)
class GalleryCell:
    """One video of a gallery.

    Attributes:
        index: of the frame shown, into ``explanation.times``.
        picture: that frame, `(H, W, 3)` uint8.
        truth: name of its class, where it is known.
        true_boxes: of the whole clip, where they are known.
    """

    explanation: Explanation
    index: int
    picture: np.ndarray
    truth: str | None = None
    true_boxes: Sequence[Box] = ()


def in_order(explanations: Sequence[Explanation], by: Order) -> list[int]:
    """Places of the explanations in the order of a gallery: surest first; by label, within one surest first."""
    places = list(range(len(explanations)))
    if by == "given":
        return places
    if by == "confidence":
        return sorted(places, key=lambda place: -explanations[place].score)
    return sorted(places, key=lambda place: (explanations[place].label, -explanations[place].score))


def draw_gallery(cells: Sequence[GalleryCell], columns: int = 4, width: float = 6.75) -> Figure:
    """A cell a video: the frame with mask and boxes; over it the label, and where the truth is known how it stands.

    True boxes are dashed.
    """
    columns = min(columns, len(cells))
    side = width / columns
    text = 0.2 + (0.15 if any(cell.truth for cell in cells) else 0.0)
    shapes = [cell.explanation.height / cell.explanation.width for cell in cells]
    pictures = [(side - 0.06) * min(max(shapes[i : i + columns]), 1.5) for i in range(0, len(cells), columns)]
    legend = 0.2 if any(cell.true_boxes for cell in cells) else 0.0
    height = sum(pictures) + len(pictures) * (text + 0.06) + legend
    figure = Figure(figsize=(width, height), dpi=110)
    if legend:
        figure.text(0.03 / width, 0.1 / height, "box: found; dashed: truth", fontsize=7, va="center")
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        picture = pictures[row]
        x, top = column * side, height - sum(pictures[:row]) - row * (text + 0.06)
        said, time = cell.explanation, cell.explanation.times[cell.index]
        axes = figure.add_axes(
            ((x + 0.03) / width, (top - text - picture) / height, (side - 0.06) / width, picture / height)
        )
        axes.imshow(blend_mask(cell.picture, relative_mask_at(said, time), said.mask_area))
        axes.set_autoscale_on(False)
        axes.set_anchor("N")
        bare(axes)
        add_boxes(axes, said, time, cell.true_boxes)
        probability = " " + percent(said.score)
        label = fit_inches(said.label, side - 0.08 - text_inches(probability, 7.5), 7.5)
        figure.text((x + 0.03) / width, (top - 0.1) / height, label + probability,
                    fontsize=7.5, va="center", parse_math=False)  # fmt: skip
        if cell.truth is not None:
            right = cell.truth == said.label
            words = "✓ right" if right else f"✗ is {cell.truth}"
            figure.text((x + 0.03) / width, (top - 0.25) / height, fit_inches(words, side - 0.08, 7), fontsize=7,
                        va="center", color=RIGHT if right else WRONG, parse_math=False)  # fmt: skip
    return figure


def write_gallery(
    explanations: Sequence[Explanation],
    path: str | Path,
    columns: int = 4,
    order: Order = "given",
    truths: Sequence[str | None] = (),
    video_path: str | Path | None = None,
    width: float = 6.75,
    dpi: int = 110,
    true_boxes: Sequence[Sequence[Box]] = (),
) -> None:
    """Write a gallery of explained videos, of each the most important frame. Source: the paper's Figures 5, 8 and 9.

    Args:
        truths: names of their classes, None where it is not known.
        video_path: as :func:`~whenwhere.rendering.filmstrip.write_filmstrip`.
        true_boxes: of each video, pixels; those of a frame marked within a tenth of a second are drawn dashed.

    Raises:
        VideoError: a video cannot be read.
        ValueError: unknown suffix, columns below 1, a width too small, or a video of another size than the
            explanation's.
    """
    if columns < 1:
        raise ValueError(f"a gallery needs columns >= 1, got {columns}")
    if width < 0.5 * min(columns, len(explanations)):
        raise ValueError(f"{columns} columns do not fit into {width} inches; give fewer columns or more width")
    cells = []
    for place in in_order(explanations, order):
        one = explanations[place]
        index = int(np.argmax(one.importance))
        (picture,) = pictures_at(one, [one.times[index]], moved(one, video_path))
        truth, boxes = truths[place] if truths else None, true_boxes[place] if true_boxes else ()
        cells.append(GalleryCell(one, index, picture, truth, boxes))
    write_figure(draw_gallery(cells, columns, width), path, dpi, tight=False)
