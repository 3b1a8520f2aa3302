"""From finished runs to the numbers of a table: published, ours, interval, difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from whenwhere.evaluation.late_fusion import mean_logits
from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.predictions import PredictionsError
from whenwhere.evaluation.protocol_result import Measured
from whenwhere.evaluation.recorded import load_predictions
from whenwhere.reproduce.measures import CONTROLS, MEASURES, Figures, difference, figures
from whenwhere.reproduce.pairing import AGAIN, Seen, only, shared_clips
from whenwhere.reproduce.plan import PREDICTIONS, Job, TablePlan
from whenwhere.reproduce.rows import Row

OUR_DEFAULT = "Our default"


@dataclass(frozen=True)
class Cell:
    """A row's numbers by one measure.

    Attributes:
        figures: ours.
        lead: ours minus those of the table's reference row on the clips of both; None for that row, or without it.
    """

    figures: Figures
    lead: Figures | None = None


@dataclass(frozen=True)
class RowResult:
    """Attributes:
    cells: by measure; what cannot be measured on these data is not there.
    problem: why there are none: published only, not available, failed, not run yet.
    remark: what a reader must know of them: that they are of fewer clips, or cannot be compared.
    """

    row: Row
    cells: Mapping[str, Cell]
    problem: str = ""
    remark: str = ""


@dataclass(frozen=True)
class TableResult:
    """Attributes:
    default_places: by measure, in words, where our default stands among the rows that are no controls.
    clips: test clips; 0 where nothing is measured yet.
    controls: name of the run on whose clips and frames all controls are measured; empty where there are none.
    """

    plan: TablePlan
    seeds: tuple[int, ...]
    rows: tuple[RowResult, ...]
    default_places: Mapping[str, str]
    clips: int
    controls: str = ""

    @property
    def failed(self) -> list[RowResult]:
        return [row for row in self.rows if row.problem.startswith(("failed", "missing"))]


@dataclass(frozen=True)
class _Scored:
    """What a row scores by measure and seed, and on which clips; or why it has no scores."""

    seeds: Mapping[str, list[Measured]] = field(default_factory=dict)
    tested: Seen | None = None
    problem: str = ""


def table_result(plan: TablePlan, seeds: Sequence[int]) -> TableResult:
    """Score every row whose runs are finished."""
    said = _Said(plan)
    scored: dict[str, _Scored] = {}
    for row in plan.table.rows:
        try:
            scored[row.name] = _row(row, plan, said, seeds)
        except PredictionsError as error:
            scored[row.name] = _Scored(problem=f"failed: {error}")
    clips = max((one.videos for row in scored.values() for ours in row.seeds.values() for one in ours), default=0)
    rows = tuple(_result(row, plan.table.reference, scored, clips) for row in plan.table.rows)
    controls = [row for row in plan.table.rows if not row.methods and not row.unbuilt]
    run = control_run(plan, seeds[0]) if controls else None
    return TableResult(plan, tuple(seeds), rows, _places(plan, rows, scored), clips, run.name if run else "")


def control_run(plan: TablePlan, seed: int) -> Job | None:
    """The run on whose clips and frames controls are measured: the reference row's, else our default's."""
    reference = [method for row in plan.table.rows if row.name == plan.table.reference for method in row.methods]
    jobs = [plan.jobs.get((method, seed)) for method in (*reference, "default")]
    return next((job for job in jobs if job is not None and job.state == "done"), None)


def _result(row: Row, reference: str, scored: Mapping[str, _Scored], clips: int) -> RowResult:
    """Figures of a row, and its lead over the reference."""
    cells, remarks, other = {}, {}, scored.get(reference, _Scored()).seeds
    for name, ours in scored[row.name].seeds.items():
        lead, of = None, figures(ours)
        if of.clips < clips:
            remarks["clips"] = f"on {of.clips} clips"
        if row.name != reference and name in other:
            try:
                lead = _lead(row.name, reference, name, scored)
                if lead.clips < max(of.clips, other[name][0].videos):
                    remarks["lead"] = f"compared with {reference!r} on the {lead.clips} clips of both"
            except PredictionsError as error:
                remarks["lead"] = f"not compared: {error}"
        cells[name] = Cell(of, lead)
    return RowResult(row, cells, scored[row.name].problem, "; ".join(remarks.values()))


def _lead(name: str, other: str, measure: str, scored: Mapping[str, _Scored]) -> Figures:
    """One row minus another on the clips of both.

    Raises:
        PredictionsError: as :func:`shared_clips`.
    """
    pair = {each: scored[each] for each in (name, other)}
    shared = shared_clips({each: row.tested for each, row in pair.items() if row.tested})
    ours, theirs = (row.seeds[measure] for row in pair.values())
    return difference(ours, theirs, [place.numpy() for place in shared])


class _Said:
    """Predictions by run, each file read once and only the latest kept."""

    def __init__(self, plan: TablePlan) -> None:
        self.plan = plan
        self.kept: tuple[Job, Predictions] | None = None

    def of(self, job: Job) -> Predictions:
        if self.kept is None or self.kept[0] is not job:
            self.kept = (job, load_predictions(job.predictions)[0])
        return self.kept[1]

    def fused(self, weights: Mapping[str, float], seed: int) -> Predictions:
        parts = {method: self.of(self.plan.jobs[method, seed]) for method in weights}
        places = shared_clips({method: Seen.of(part) for method, part in parts.items()})
        logits = [part.logits[place] for part, place in zip(parts.values(), places, strict=True)]
        first = only(next(iter(parts.values())), places[0])
        return replace(first, logits=mean_logits(logits, list(weights.values())))


def _row(row: Row, plan: TablePlan, said: _Said, seeds: Sequence[int]) -> _Scored:
    """What a row scores, or why it has no scores.

    Raises:
        PredictionsError: predictions that do not read, or are of different clips by different seeds or streams.
    """
    if row.unbuilt:
        return _Scored(problem=f"published only: {row.unbuilt}")
    if why := plan.unavailable(row):
        return _Scored(problem=why)
    for method, seed in [(method, seed) for method in row.methods for seed in seeds]:
        job = plan.jobs[method, seed]
        if job.state != "done":
            why = f"failed: {job.failure}" if job.failure else f"missing: {job.name} is not finished"
            return _Scored(problem=why)
    control = None if row.methods else control_run(plan, seeds[0])
    if not row.methods and control is None:
        return _Scored(problem=f"not measured: neither {plan.table.reference!r} nor our default is finished")
    scores: dict[str, list[Measured]] = {}
    tested: dict[str, Seen] = {}
    for seed in seeds if control is None else seeds[:1]:
        if control is not None:
            predictions = said.of(control)
        elif row.fused:
            predictions = said.fused(row.fused, seed)
        else:
            predictions = said.of(plan.jobs[str(row.method), seed])
        tested[f"seed {seed}"] = Seen.of(predictions)
        for name in plan.table.measures:
            measured = MEASURES[name].of(predictions, row.answer, row.rule)
            if measured is not None:
                scores.setdefault(name, []).append(measured)
    first = next(iter(tested.values()))
    everything = torch.arange(len(first.labels))
    if any(not torch.equal(place, everything) for place in shared_clips(tested)):
        raise PredictionsError(f"{' and '.join(tested)} were tested on different clips; {AGAIN}")
    return _Scored(scores, first, "" if scores else _unmeasured(row, predictions))


def _unmeasured(row: Row, predictions: Predictions) -> str:
    known = predictions.active is not None or predictions.boxes is not None
    if known and row.answer in ("Grad-CAM", "class evidence") and predictions.grad_cam is None:
        return f"not measured: its predictions hold no {row.answer}; delete {PREDICTIONS} in its run and run again"
    return "not measured: these data do not say where or when"


def _places(plan: TablePlan, rows: Sequence[RowResult], scored: Mapping[str, _Scored]) -> dict[str, str]:
    """Where our default stands by the middle column of each measure, and what is ahead of it by how much."""
    places = {}
    for name in plan.table.measures:
        if OUR_DEFAULT not in scored or name not in scored[OUR_DEFAULT].seeds:
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
        places[name] = f"{title}: our default is number {len(ahead) + 1} of {len(values)}; {best} is ahead"
        with suppress(PredictionsError):  # of other clips: then by how much is not known
            gap = _lead(best, OUR_DEFAULT, name, scored)
            low, high = _points(gap.low[column]), _points(gap.high[column])
            places[name] += f" by {_points(gap.mean[column])} points ({low} to {high})"
    return places


def _points(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.1f}"
