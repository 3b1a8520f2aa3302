"""What the page plots, and what it leaves to its table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from whenwhere.evaluation.answers import OWN, is_of_attention, own_measure
from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.scores import own_scores
from whenwhere.metrics.calibration import reliability
from whenwhere.rendering import evaluation_page
from whenwhere.rendering.evaluation_page import Page, write_evaluation_page
from whenwhere.rendering.plots import Comparison


def test_names_of_own_answers_are_told_apart() -> None:
    assert [own_measure("when: pointing", own) for own in OWN] == [
        "when: pointing",
        "when: pointing, class evidence",
        "when: pointing, temporal weights",
    ]
    assert [is_of_attention(own_measure("when: pointing", own)) for own in OWN] == [True, False, False]
    assert is_of_attention("faithful: deletion, joint")


def test_only_the_attention_is_plotted_and_all_is_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def draw(comparisons: list[Comparison]) -> Figure:
        drawn.extend(comparison.measure for comparison in comparisons)
        return Figure()

    monkeypatch.setattr(evaluation_page, "draw_comparison", draw)
    values = {name: torch.arange(4.0) for name in (*OWN, "all frames")}
    scores = list(own_scores("when: pointing", "a protocol", values))
    row = {"name": "a", "recall": 0.5, "low": 0.1, "high": 0.9, "count": 4}
    record = {"clips": 4, "broken": 0, "versions": {}, "seed": 0, "model_sha256": None, "data_sha256": "0" * 64}
    logits, maps, line = torch.eye(4), torch.ones(4, 2, 1, 1), torch.ones(4, 2)
    predictions = Predictions(logits, torch.arange(4), maps, None, line, line, None, None)
    diagram = reliability([0.5] * 4, [True] * 4)
    page = Page("a run", scores, {**record, "classes": [row]}, predictions, Figure(), diagram, "abcd", "1234")
    write_evaluation_page(page, tmp_path / "page.html")
    assert drawn == ["when: pointing"]
    said = (tmp_path / "page.html").read_text()
    assert all(own_measure("when: pointing", own) + "</th>" in said for own in OWN)
