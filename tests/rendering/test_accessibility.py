"""No page has a serious fault for those who do not see it, or see it dark, or on a phone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accessibility import violations
from browsing import PLAYER_READY, open_page
from matplotlib.figure import Figure

from whenwhere.evaluation.answers import OWN
from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.scores import own_scores
from whenwhere.metrics.calibration import reliability
from whenwhere.rendering import IndexEntry, write_index, write_report, write_thumbnail
from whenwhere.rendering.evaluation_page import Page, write_evaluation_page
from whenwhere.structures import Clip, Explanation, Segment

pytestmark = pytest.mark.browser


def write_single(explanation: Explanation, path: Path) -> None:
    write_report(explanation, path, truth_segments=(Segment(0.8, 1.6, "slide <right>"),))


def write_comparison(explanation: Explanation, path: Path) -> None:
    other = replace(explanation, model="another", segments=(Segment(0.2, 2.0, "slide left", 0.5),))
    write_report(explanation, path, others=[other], links={"overlay": "overlay.mp4"}, inline_limit=10)


def write_list(explanation: Explanation, path: Path) -> None:
    write_thumbnail(explanation, path.with_name("t.jpg"))
    entries = [IndexEntry(f"{i}.mp4", explanation, f"{i}.html", thumbnail="t.jpg") for i in range(3)]
    write_index([*entries, IndexEntry("bad.mp4", error="bad.mp4: is empty")], path)


def write_evaluation(explanation: Explanation, path: Path) -> None:
    scores = list(
        own_scores("when: pointing", "a protocol", {name: torch.arange(4.0) for name in (*OWN, "all frames")})
    )
    classes = [{"name": "a", "recall": 0.5, "low": 0.1, "high": 0.9, "count": 4}]
    record = {"clips": 4, "broken": 0, "versions": {}, "seed": 0, "model_sha256": None, "data_sha256": "0" * 64}
    line = torch.ones(4, 2)
    predictions = Predictions(torch.eye(4), torch.arange(4), torch.ones(4, 2, 1, 1), None, line, line, None, None)
    clips = [Clip(path=explanation.path, label=label) for label in "abcd"]
    diagram = reliability([0.5] * 4, [True] * 4)
    page = Page("a run", scores, {**record, "classes": classes}, predictions, Figure(), diagram, "abcd", "1234", clips)
    write_evaluation_page(page, path)


PAGES = {
    "report": (write_single, PLAYER_READY),
    "comparison": (write_comparison, PLAYER_READY),
    "index": (write_list, "!document.querySelector('#filters').hidden"),
    "evaluation": (write_evaluation, "document.readyState === 'complete'"),
}


@pytest.mark.parametrize("width, scheme", [(1200, "light"), (390, "dark")])
@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible_asks_for_nothing_and_fits(
    browser: Any, explanation: Explanation, tmp_path: Path, name: str, width: int, scheme: str
) -> None:
    write: Callable[[Explanation, Path], None]
    write, ready = PAGES[name]
    write(explanation, tmp_path / "page.html")
    opened = open_page(
        browser, tmp_path / "page.html", ready, viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    assert violations(opened.page) == []
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.page.context.close()


def test_a_page_with_a_fault_is_found_out(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html lang=en><title>t</title><button></button>")
    opened = open_page(browser, tmp_path / "page.html", "document.readyState === 'complete'")
    assert "button-name" in violations(opened.page)[0]
    opened.page.context.close()
