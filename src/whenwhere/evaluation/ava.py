"""AVA's files: boxes of labelled actions at single moments, as CSV, and the list of labels.

A row is ``video, second, x0, y0, x1, y1, label`` with corners in [0, 1] of the frame and the label's number; then, in
predictions, the score, and in the truth, the number of the person. A box with several labels has a row for each.
"""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import NamedTuple

from whenwhere.evaluation.predictions import PredictionsError


class AvaRow(NamedTuple):
    """A box with one label; ``score`` is 1 in the truth."""

    video: str
    second: int
    label: int
    corners: tuple[float, float, float, float]
    score: float


def read_ava(path: str | Path, scored: bool) -> list[AvaRow]:
    """Rows of predictions (``scored``) or of the truth.

    Predicted boxes without area are left out, as the kit does; empty lines too.

    Raises:
        PredictionsError: no such file, or a line that is not as above; names the line.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise PredictionsError(f"{path} cannot be read as a CSV in AVA's format: {error}") from error
    rows = []
    for number, cells in enumerate(lines, start=1):
        if not cells:
            continue
        try:
            row = _row(cells, scored)
        except ValueError as error:
            raise PredictionsError(f"{path}, line {number}: {error}") from error
        x0, y0, x1, y1 = row.corners
        if x0 < x1 and y0 < y1:
            rows.append(row)
        elif not scored:
            raise PredictionsError(f"{path}, line {number}: a true box needs x0 < x1 and y0 < y1, got {row.corners}")
    return rows


def _row(cells: list[str], scored: bool) -> AvaRow:
    columns = "video, second, x0, y0, x1, y1, label" + (", score" if scored else " and perhaps person")
    if len(cells) not in ((8,) if scored else (7, 8)):
        raise ValueError(f"expected {columns}, found {len(cells)} columns: {','.join(cells)}")
    try:
        second, label = int(float(cells[1])), int(cells[6])
        x0, y0, x1, y1 = map(float, cells[2:6])
        score = float(cells[7]) if scored else 1.0
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected numbers in {columns}, found {','.join(cells)}") from error
    if not all(map(math.isfinite, (x0, y0, x1, y1, score))) or second < 0 or label < 0:
        raise ValueError(f"numbers must be finite, the second and the label >= 0, found {','.join(cells)}")
    return AvaRow(cells[0], second, label, (x0, y0, x1, y1), score)


def read_action_list(path: str | Path) -> dict[int, str]:
    """Number and name of each label that counts, from a label map: ``item { name: "..." id: 1 }`` for each.

    Raises:
        PredictionsError: no such file, or no items in it.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PredictionsError(f"{path} cannot be read as a label map: {error}") from error
    names = {}
    for item in re.findall(r"(?:item|label)\s*{(.*?)}", text, re.DOTALL):
        name, number = re.search(r'name:\s*"(.*?)"', item), re.search(r"\b(?:label_)?id:\s*(\d+)", item)
        if not name or not number:
            raise PredictionsError(f"{path}: every item needs a name in quotes and an id, found {item.split()}")
        names[int(number[1])] = name[1]
    if not names:
        raise PredictionsError(f'{path} holds no labels; expected item {{ name: "..." id: 1 }} for each')
    return names
