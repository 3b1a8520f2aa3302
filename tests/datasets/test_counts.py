from __future__ import annotations

from whenwhere.datasets.counts import class_counts, duration_summary
from whenwhere.structures import Clip


def test_counts_by_class_and_split() -> None:
    clips = [Clip("a", "run", "train"), Clip("b", "run", "train"), Clip("c", "walk", "test"), Clip("d")]
    clips.append(Clip("e", labels=("run", "walk"), split="test"))
    assert class_counts(clips) == {"(no label)": {None: 1}, "run": {"train": 2, "test": 1}, "walk": {"test": 2}}


def test_durations_of_those_that_are_known() -> None:
    clips = [Clip("a", duration=1.0), Clip("b", duration=2.0), Clip("c", duration=6.0), Clip("d")]
    assert duration_summary(clips) == {
        "clips": 3, "shortest": 1.0, "median": 2.0, "mean": 3.0, "longest": 6.0, "hours": 9 / 3600,
    }  # fmt: skip
    assert duration_summary([Clip("d")]) == {}
