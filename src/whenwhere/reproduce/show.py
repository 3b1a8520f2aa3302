"""A plan on the screen."""

from __future__ import annotations

from rich.table import Table

from whenwhere.reproduce.estimate import estimate
from whenwhere.reproduce.plan import Plan


def plan_table_view(plan: Plan, parallel: int) -> Table:
    """Every run with its state, the tables it is for and the time it will take; totals below."""
    expected = estimate(plan)
    users: dict[str, list[str]] = {}
    for table in plan.tables:
        for (method, seed), job in table.jobs.items():
            users.setdefault(job.name, []).append(f"{table.key} {method}" + (f" seed {seed}" if seed else ""))
    total = sum(expected.seconds.values()) / max(1, parallel) + expected.feature_seconds
    todo = len(expected.seconds)
    said = [
        f"{todo} of {len(plan.jobs)} runs to do, {parallel} at once: about {duration(total)}, of which "
        f"{duration(expected.feature_seconds)} for features; disk: features {size(expected.feature_bytes)}, "
        f"runs {size(expected.run_bytes)}",
    ]
    said += [f"first: whenwhere {' '.join(step.command)}" for step in plan.steps_to_do]
    absent = {f"{method}: {why}" for table in plan.tables for method, why in table.missing.items() if why != "left out"}
    view = Table(title=f"plan, in {plan.out}", caption="\n".join([*said, *sorted(absent)]), caption_justify="left")
    for heading in ("run", "for", "state", "about"):
        view.add_column(heading, justify="right" if heading == "about" else "left")
    for job in plan.jobs:
        rest = expected.seconds.get(job.name)
        about = duration(rest) if rest is not None else ""
        view.add_row(job.name, ", ".join(users[job.name]), job.state, about)
    return view


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def size(count: float) -> str:
    """``3.2 MB``, ``1.4 GB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
