"""Scores as tables people and programs can read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from whenwhere.evaluation.scores import Score
from whenwhere.metrics.bootstrap import Estimate


def print_scores(scores: Iterable[Score], title: str) -> None:
    """Print the table, wide enough for its controls where the output is no terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(scores_table(scores, title))


def scores_table(scores: Iterable[Score], title: str) -> Table:
    """One line a measure, controls beside the value; red where the best control is not beaten."""
    table = Table(title=title)
    for heading, justify in (("measure", "left"), ("model (95 %)", "right"), ("controls", "left"), ("n", "right")):
        table.add_column(heading, justify=justify, no_wrap=heading != "controls")  # type: ignore[arg-type]
    table.add_column("in words")
    for score in scores:
        style = "green" if score.value > score.controls[score.best_control].value else "red"
        controls = ", ".join(f"{name} {control.value:.3f}" for name, control in score.controls.items())
        table.add_row(
            score.name,
            f"[{style}]{with_interval(score.estimate)}[/{style}]",
            controls,
            str(score.count),
            f"[{style}]{score.verdict}[/{style}]",
        )
    return table


def with_interval(estimate: Estimate) -> str:
    """``0.812 (0.760 to 0.861)``, or the value alone where there is no interval."""
    if math.isnan(estimate.low):
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def sanity_table(report: dict[str, Any]) -> Table:
    """How explanations change as layers are forgotten, and how they move with the clip."""
    table = Table(title="rank correlation with the trained network, layers made random from the logits down")
    columns = ("mask", "importance", "evidence", "grad_cam", "probability")
    for heading in ("random from here up", *columns):
        table.add_column(heading, justify="left" if " " in heading else "right")
    for row in report["cascade"]:
        table.add_row(row["layer"], *(f"{row[column]:.2f}" for column in columns))
    table.add_section()
    for move, fields in report["stability"].items():
        table.add_row(f"clip {move}", *(f"{fields[column]['correlation']:.2f}" for column in columns[:-1]), "")
    return table
