"""What a manifest holds, as tables for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from whenwhere.datasets.counts import SPLITS, class_counts, duration_summary
from whenwhere.datasets.integrity import Finding
from whenwhere.structures import Clip


def class_table(clips: Sequence[Clip]) -> Table:
    """A row a class, a column a split, sums below."""
    counts = class_counts(clips)
    used = [split for split in SPLITS if any(split in row for row in counts.values())]
    table = Table("class", title=f"{len(clips)} clips", show_footer=True)
    table.columns[0].footer = f"{len(counts)} classes"
    totals = Counter(clip.split for clip in clips)
    for split in used:
        table.add_column(split or "no split", str(totals[split]), justify="right")
    for name, row in counts.items():
        table.add_row(name, *(str(row.get(split, 0)) for split in used))
    return table


def duration_line(clips: Sequence[Clip]) -> str:
    """Durations in one sentence."""
    known = duration_summary(clips)
    if not known:
        return "no durations are known"
    return (
        f"{known['clips']:.0f} clips last {known['shortest']:.1f} to {known['longest']:.1f} s, "
        f"median {known['median']:.1f} s, {known['hours']:.2f} hours in all"
    )


def broken_table(findings: Sequence[Finding]) -> Table:
    """Broken files with their causes."""
    table = Table("cause", title=f"{len(findings)} broken clips")
    for finding in findings:
        table.add_row(str(finding.error))
    return table
