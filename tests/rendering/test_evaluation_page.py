"""What the page plots, and what it leaves to its table."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browsing import open_page
from matplotlib.figure import Figure
from PIL import Image

from whenwhere.evaluation.answers import OWN, is_of_attention, own_measure
from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.scores import Score, own_scores
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


def a_page(scores: list[Score]) -> Page:
    row = {"name": "a", "recall": 0.5, "low": 0.1, "high": 0.9, "count": 4}
    record = {"clips": 4, "broken": 0, "versions": {}, "seed": 0, "model_sha256": None, "data_sha256": "0" * 64}
    logits, maps, line = torch.eye(4), torch.ones(4, 2, 1, 1), torch.ones(4, 2)
    predictions = Predictions(logits, torch.arange(4), maps, None, line, line, None, None)
    diagram = reliability([0.5] * 4, [True] * 4)
    return Page("a run", scores, {**record, "classes": [row]}, predictions, Figure(), diagram, "abcd", "1234")


def test_only_the_attention_is_plotted_and_all_is_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def draw(comparisons: list[Comparison]) -> Figure:
        drawn.extend(comparison.measure for comparison in comparisons)
        return Figure()

    monkeypatch.setattr(evaluation_page, "draw_comparison", draw)
    values = {name: torch.arange(4.0) for name in (*OWN, "all frames")}
    scores = list(own_scores("when: pointing", "a protocol", values))
    write_evaluation_page(a_page(scores), tmp_path / "page.html")
    assert drawn == ["when: pointing"]
    said = (tmp_path / "page.html").read_text()
    assert all(own_measure("when: pointing", own) + "</th>" in said for own in OWN)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_are_dark_where_the_page_is(browser: Any, tmp_path: Path, scheme: str) -> None:
    write_evaluation_page(a_page([]), tmp_path / "page.html")
    opened = open_page(browser, tmp_path / "page.html", ready="document.images.length > 1", color_scheme=scheme)
    picture = opened.page.locator(".plots img").nth(1).screenshot()
    levels = np.asarray(Image.open(BytesIO(picture)).convert("L"))
    ground, ink = np.median(levels), np.abs(levels - np.median(levels)).max()
    assert ground > 200 if scheme == "light" else ground < 60
    assert ink > 150
    assert opened.errors == []
    opened.page.context.close()
