"""Tables in the paper's layout: on the screen, as Markdown, LaTeX and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.table import Table

from whenwhere.evaluation.predictions import write_json
from whenwhere.files import write_text
from whenwhere.reproduce.measures import MEASURES, Figures
from whenwhere.reproduce.results import RowResult, TableResult

Grid = tuple[list[str], list[list[str]]]
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "<": "$<$",
    ">": "$>$",
}


def grid(result: TableResult) -> Grid:
    """Headings and rows as text: Tables 1 and 2 a row a method, Tables 3 and 4 up to three lines a method."""
    return _by_threshold(result) if result.plan.key in ("table3", "table4") else _by_method(result)


def notes(result: TableResult) -> list[str]:
    """What a reader must know, in sentences."""
    plan, same = result.plan, _same_data(result)
    names = ", ".join(map(str, result.seeds))
    seeds = f"seed {names}" if len(result.seeds) == 1 else f"mean ± standard deviation of seeds {names}"
    said = [
        f"Here: {plan.setting.title}, {result.clips} clips; {seeds}; in brackets 95 % bootstrap intervals over clips.",
        "Difference: here minus published."
        if same
        else f"Difference: here minus {plan.table.reference!r} here, on the same clips; published numbers are on "
        f"{', '.join(plan.table.columns if plan.key == 'table1' else plan.table.datasets)}, not on these data.",
    ]
    said += [f"{name}: {MEASURES[name].protocol}." for name in plan.table.measures]
    if any(row.row.unbuilt for row in result.rows):
        said.append("* strongly supervised: stands as published, is not built here.")
    if others := [f"{row.row.name} ({row.row.published_by})" for row in result.rows if row.row.published_by]:
        said.append(
            f"Published by another measure than {plan.table.measures[0]}, never subtracted: {'; '.join(others)}."
        )
    if result.controls:
        said.append(f"Controls: on the clips and frames that the run {result.controls} looked at.")
    if any(row.row.answer in ("Grad-CAM", "class evidence") for row in result.rows):
        said.append("Class given: the map is that of the true class, which the other rows are not told.")
    said += list(result.default_places.values())
    problems = [row for row in result.rows if row.problem and not row.row.unbuilt]
    said += [f"{row.row.name}: {row.remark}." for row in result.rows if row.remark]
    said += [f"{row.row.name}: {row.problem}." for row in problems if row.problem != "left out"]
    if left_out := [row.row.name for row in problems if row.problem == "left out"]:
        said.append(f"Left out: {'; '.join(left_out)}.")
    return said


def rich_table(result: TableResult) -> Table:
    headings, rows = grid(result)
    table = Table(title=_title(result), caption="\n".join(notes(result)), caption_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number == 0 else "right")
    for row in rows:
        # The interval on a line of its own, or ten columns do not fit.
        cells = [row[0], *(cell.replace(" (", "\n(") for cell in row[1:])]
        table.add_row(*(cell.replace("[", r"\[") for cell in cells))
    return table


def markdown(result: TableResult) -> str:
    headings, rows = grid(result)
    lines = [[*headings], ["---", *["---:"] * (len(headings) - 1)], *rows]
    body = "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
    return f"# {_title(result)}\n\n{body}\n\n" + "\n".join(f"* {note}" for note in notes(result)) + "\n"


def latex(result: TableResult) -> str:
    """A ``tabular`` in a ``table``; needs no package."""
    headings, rows = grid(result)
    lines = [" & ".join(map(escape_latex, line)) + r" \\" for line in (headings, *rows)]
    body = "\n".join(["\\hline", lines[0], "\\hline", *lines[1:], "\\hline"])
    said = " ".join(escape_latex(note) for note in notes(result))
    return (
        f"\\begin{{table}}\n\\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}\n{body}\n\\end{{tabular}}\n"
        f"\\caption{{{escape_latex(_title(result))}. {said}}}\n\\end{{table}}\n"
    )


def escape_latex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)


def as_json(result: TableResult) -> dict[str, Any]:
    """All numbers, shares of 1; published ones per cent as printed."""
    plan = result.plan
    rows = []
    for row in result.rows:
        cells = {
            name: {
                "columns": list(MEASURES[name].columns),
                "protocol": MEASURES[name].protocol,
                **_numbers(cell.figures),
                "from_reference": _numbers(cell.lead) if cell.lead else None,
            }
            for name, cell in row.cells.items()
        }
        published = dict(zip(plan.table.columns, row.row.published))
        runs = sorted({job.name for (method, _), job in plan.jobs.items() if method in row.row.methods})
        said = {"name": row.row.name, "modality": row.row.modality, "published_percent": published, "here": cells}
        more = {"published_by": row.row.published_by or None, "remark": row.remark or None}
        rows.append({**said, **more, "problem": row.problem or None, "runs": runs})
    return {
        "table": plan.key,
        "title": plan.table.title,
        "data": plan.setting.title,
        "published_on": list(plan.table.datasets),
        "same_data": _same_data(result),
        "seeds": list(result.seeds),
        "clips": result.clips,
        "controls_on": result.controls or None,
        "rows": rows,
        "default": dict(result.default_places),
    }


def write_table(result: TableResult, out: Path) -> list[Path]:
    """``tableN.md``, ``tableN.tex`` and ``tableN.json`` in ``out``, each whole or not at all."""
    key = result.plan.key
    written = [write_json(out / f"{key}.json", as_json(result))]
    for suffix, text in ((".md", markdown(result)), (".tex", latex(result))):
        written.append(write_text(out / f"{key}{suffix}", text))
    return written


def _by_method(result: TableResult) -> Grid:
    plan, same = result.plan, _same_data(result)
    with_modality = plan.key == "table2"
    here = [(name, heading) for name in plan.table.measures for heading in MEASURES[name].columns]
    headings = [
        "model",
        *(["modality"] if with_modality else []),
        *(f"{name}, published" for name in plan.table.columns),
    ]
    headings += [f"{heading} here" for _, heading in here] + [f"{heading}, difference" for _, heading in here]
    rows = []
    for row in result.rows:
        cells = [_named(row), *([row.row.modality] if with_modality else [])]
        cells += [_percent(value, 2) for value in _padded(row, len(plan.table.columns))]
        cells += [_ours(row, name, 0) for name, _ in here]
        for number, (name, _) in enumerate(here):
            at = _published_column(result, number)
            cells.append(_gap(row, name, 0, row.row.published[at] if same and row.row.published else None, same))
        rows.append(cells)
    return headings, rows


def _by_threshold(result: TableResult) -> Grid:
    plan, same = result.plan, _same_data(result)
    here = [(name, number) for name in plan.table.measures for number in range(len(MEASURES[name].columns))]
    headings = ["method", ""]
    headings += [f"IoU {c}" if c[0].isdigit() else c for name, number in here for c in [MEASURES[name].columns[number]]]
    rows: list[list[str]] = []
    for row in result.rows:
        first = len(rows)
        published = _padded(row, len(plan.table.columns))
        if any(value is not None for value in published):
            blank = [""] * (len(here) - len(published))
            by = f", {row.row.published_by}" if row.row.published_by else ""
            rows.append([_named(row), f"published{by}", *(_percent(value, 1) for value in published), *blank])
        if row.cells or (row.problem and not row.row.unbuilt):
            rows.append([_named(row), "here", *(_ours(row, name, number) for name, number in here)])
        gaps = []
        for place, (name, number) in enumerate(here):
            comparable = place < len(published) and not row.row.published_by
            gaps.append(_gap(row, name, number, published[place] if comparable else None, same))
        if any(gap not in ("", "-") for gap in gaps):
            rows.append([_named(row), "difference", *gaps])
        for line in rows[first + 1 :]:
            line[0] = ""  # one name for all lines of a method
    return headings, rows


def _published_column(result: TableResult, number: int) -> int:
    """Which published column a measured one is held against."""
    plan = result.plan
    if plan.key != "table1":
        return number
    known = plan.setting.dataset in plan.table.datasets
    return plan.table.datasets.index(str(plan.setting.dataset)) if known else 0


def _same_data(result: TableResult) -> bool:
    return result.plan.setting.dataset in result.plan.table.datasets


def _padded(row: RowResult, count: int) -> list[float | None]:
    return list(row.row.published) or [None] * count


def _named(row: RowResult) -> str:
    return row.row.name + (" *" if row.row.unbuilt else "")


def _ours(row: RowResult, name: str, number: int) -> str:
    if name not in row.cells:
        return row.problem.partition(":")[0] if row.problem and not row.row.unbuilt else "-"
    figures = row.cells[name].figures
    spread = "" if math.isnan(figures.spread[number]) else f" ± {100 * figures.spread[number]:.1f}"
    return f"{100 * figures.mean[number]:.1f}{spread}{_interval(figures, number)}"


def _gap(row: RowResult, name: str, number: int, published: float | None, same: bool) -> str:
    if name not in row.cells:
        return "-"
    cell = row.cells[name]
    if same:
        return "-" if published is None else _signed(100 * cell.figures.mean[number] - published)
    if cell.lead is None:
        return "-"
    return _signed(100 * cell.lead.mean[number]) + _interval(cell.lead, number, signed=True)


def _interval(figures: Figures, number: int, signed: bool = False) -> str:
    low, high = 100 * figures.low[number], 100 * figures.high[number]
    if math.isnan(low):
        return ""
    return f" ({_signed(low)} to {_signed(high)})" if signed else f" ({low:.1f} to {high:.1f})"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _percent(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _numbers(figures: Figures) -> dict[str, Any]:
    def plain(values: Iterable[float]) -> list[float | None]:
        return [None if math.isnan(value) else float(value) for value in values]

    return {
        "mean": plain(figures.mean),
        "spread": plain(figures.spread),
        "low": plain(figures.low),
        "high": plain(figures.high),
        "by_seed": [plain(seed) for seed in figures.seeds],
        "clips": figures.clips,
    }


def _title(result: TableResult) -> str:
    return f"Table {result.plan.key[-1]}: {result.plan.table.title}"
