"""Scores as tables people and programs can read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.table import Table

from whenwhere.evaluation.measure import Score


def scores_table(scores: Iterable[Score], title: str) -> Table:
    """One line a measure, controls beside the value; red where the best control is not beaten."""
    table = Table(title=title)
    for heading, justify in (("measure", "left"), ("model", "right"), ("trivial controls", "left"), ("n", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for score in scores:
        style = "red" if score.value <= score.best_control else "green"
        controls = ", ".join(f"{name} {value:.3f}" for name, value in score.controls.items())
        table.add_row(score.name, f"[{style}]{score.value:.3f}[/{style}]", controls, str(score.count))
    return table


def scores_json(scores: Iterable[Score]) -> list[dict[str, Any]]:
    return [asdict(score) for score in scores]
