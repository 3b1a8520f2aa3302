"""From finished runs to the numbers of a table: published, ours, interval, difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from whenwhere.evaluation.late_fusion import mean_logits
from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.predictions import PredictionsError
from whenwhere.evaluation.protocol_result import Measured
from whenwhere.evaluation.recorded import load_predictions
from whenwhere.reproduce.measures import CONTROLS, MEASURES, Figures, difference, figures
from whenwhere.reproduce.plan import Job, TablePlan
from whenwhere.reproduce.rows import Row

OUR_DEFAULT = "Our default"


@dataclass(frozen=True)
class Cell:
    """A row's numbers by one measure.

    Attributes:
        figures: ours.
        lead: ours minus those of the table's reference row on the same clips; None for that row, or without it.
    """

    figures: Figures
    lead: Figures | None = None


@dataclass(frozen=True)
class RowResult:
    """Attributes:
    cells: by measure; what cannot be measured on these data is not there.
    problem: why there are none: published only, not available, failed, not run yet.
    """

    row: Row
    cells: Mapping[str, Cell]
    problem: str = ""


@dataclass(frozen=True)
class TableResult:
    """Attributes:
    default_places: by measure, in words, where our default stands among the rows that are no controls.
    clips: test clips; 0 where nothing is measured yet.
    """

    plan: TablePlan
    seeds: tuple[int, ...]
    rows: tuple[RowResult, ...]
    default_places: Mapping[str, str]
    clips: int

    @property
    def failed(self) -> list[RowResult]:
        return [row for row in self.rows if row.problem.startswith(("failed", "missing"))]


def table_result(plan: TablePlan, seeds: Sequence[int]) -> TableResult:
    """Score every row whose runs are finished."""
    said = _Said(plan)
    measured: dict[str, dict[str, list[Measured]]] = {}
    problems: dict[str, str] = {}
    for row in plan.table.rows:
        try:
            measured[row.name], problems[row.name] = _row(row, plan, said, seeds)
        except PredictionsError as error:
            measured[row.name], problems[row.name] = {}, f"failed: {error}"
    reference = measured.get(plan.table.reference, {})
    rows = []
    for row in plan.table.rows:
        cells = {}
        for name, ours in measured[row.name].items():
            other = reference.get(name) if row.name != plan.table.reference else None
            cells[name] = Cell(figures(ours), difference(ours, other) if other else None)
        rows.append(RowResult(row, cells, problems[row.name]))
    clips = max((cell.figures.clips for row in rows for cell in row.cells.values()), default=0)
    return TableResult(plan, tuple(seeds), tuple(rows), _places(plan, rows, measured), clips)


class _Said:
    """Predictions by run, each file read once and only the latest kept."""

    def __init__(self, plan: TablePlan) -> None:
        self.plan = plan
        self.kept: tuple[Job, Predictions] | None = None

    def of(self, method: str, seed: int) -> Predictions:
        job = self.plan.jobs[method, seed]
        if self.kept is None or self.kept[0] is not job:
            self.kept = (job, load_predictions(job.predictions)[0])
        return self.kept[1]

    def any(self, seed: int) -> Predictions | None:
        """Of whichever run is finished: what controls are held against."""
        for (method, other), job in self.plan.jobs.items():
            if other == seed and job.state == "done":
                return self.of(method, seed)
        return None

    def fused(self, weights: Mapping[str, float], seed: int) -> Predictions:
        parts = {method: self.of(method, seed) for method in weights}
        first = next(iter(parts.values()))
        if any(not torch.equal(part.labels, first.labels) for part in parts.values()):
            raise PredictionsError(f"{' and '.join(parts)} were tested on different clips, so they cannot be fused")
        return replace(first, logits=mean_logits([part.logits for part in parts.values()], list(weights.values())))


def _row(row: Row, plan: TablePlan, said: _Said, seeds: Sequence[int]) -> tuple[dict[str, list[Measured]], str]:
    """What a row scores by measure and seed, or why it has no scores."""
    if row.unbuilt:
        return {}, f"published only: {row.unbuilt}"
    if why := plan.unavailable(row):
        return {}, why
    control = not row.methods
    for method, seed in [(method, seed) for method in row.methods for seed in seeds]:
        job = plan.jobs[method, seed]
        if job.state != "done":
            return {}, f"failed: {job.failure}" if job.failure else f"missing: {job.name} is not finished"
    scores: dict[str, list[Measured]] = {}
    for seed in seeds[:1] if control else seeds:
        if control:
            predictions = said.any(seed)
            if predictions is None:
                return {}, "missing: no run is finished, so the test clips are not known"
        elif row.fused:
            predictions = said.fused(row.fused, seed)
        else:
            predictions = said.of(str(row.method), seed)
        for name in plan.table.measures:
            measured = MEASURES[name].of(predictions, row.answer, row.rule)
            if measured is not None:
                scores.setdefault(name, []).append(measured)
    return scores, "" if scores else "not measured: these data do not say where or when"


def _places(
    plan: TablePlan, rows: Sequence[RowResult], measured: Mapping[str, Mapping[str, list[Measured]]]
) -> dict[str, str]:
    """Where our default stands by the middle column of each measure, and what is ahead of it by how much."""
    places = {}
    for name in plan.table.measures:
        ours = measured.get(OUR_DEFAULT, {}).get(name)
        if not ours:
            continue
        column = (len(MEASURES[name].columns) - 1) // 2
        values = {
            row.row.name: float(row.cells[name].figures.mean[column])
            for row in rows
            if name in row.cells and row.row.answer not in (*CONTROLS, "class evidence")
        }
        ahead = [other for other, value in values.items() if value > values[OUR_DEFAULT]]
        title = f"{name} {MEASURES[name].columns[column]}" if len(MEASURES[name].columns) > 1 else name
        if not ahead:
            places[name] = f"{title}: our default is first of {len(values)}"
            continue
        best = max(ahead, key=lambda other: values[other])
        gap = difference(measured[best][name], ours)
        places[name] = (
            f"{title}: our default is number {len(ahead) + 1} of {len(values)}; {best} is ahead by "
            f"{_points(gap.mean[column])} points ({_points(gap.low[column])} to {_points(gap.high[column])})"
        )
    return places


def _points(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.1f}"
