"""The list of explained videos: what it holds, and in a real browser how it sorts and filters."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import Opened, open_page
from PIL import Image

from whenwhere.rendering import IndexEntry, blend_mask, thumbnail, write_index, write_thumbnail
from whenwhere.structures import Explanation, Segment


def named(explanation: Explanation, label: str, score: float, **fields: Any) -> Explanation:
    return replace(explanation, labels=((label, score),), **fields)


@pytest.fixture
def index_path(explanation: Explanation, tmp_path: Path) -> Path:
    path = tmp_path / "index.html"
    entries = [
        IndexEntry("bad.mp4", error="bad.mp4: <empty>"),
        IndexEntry("a<b>.mp4", named(explanation, "b & w", 0.5), report="a b/report#1.html"),
        IndexEntry("plain.mp4", explanation),
    ]
    write_index(entries, path)
    return path


def test_index_lists_every_file_failures_last(index_path: Path) -> None:
    source = index_path.read_text(encoding="utf-8")
    rows = re.findall(r"<tr.*?</tr>", source)[1:]
    assert len(rows) == 2
    assert 'href="a%20b/report%231.html"><span>a&lt;b&gt;.mp4</span></a>' in rows[0]
    assert "b &amp; w" in rows[0]
    assert "50 %" in rows[0]
    assert ">slide &lt;right&gt; 0.9–1.5 s, slide left 2.0–2.6 s</td>" in rows[0]
    assert ">0.9–1.5 s, slide left 2.0–2.6 s</td>" in rows[1]
    assert "href" not in rows[1]
    assert "<strong>bad.mp4</strong><br>bad.mp4: &lt;empty&gt;" in source.split("</table>")[1]
    assert "<h1>3 videos, 1 failed</h1>" in source


def test_sparkline_peaks_where_importance_does(index_path: Path) -> None:
    points = re.findall(r'points="([^"]+)"', index_path.read_text(encoding="utf-8"))[0]
    highest = min((tuple(map(float, point.split(","))) for point in points.split()), key=lambda point: point[1])
    assert highest == (40.0, 2.0)  # 1.2 s of 3 s, 2 units under the upper edge


def test_a_long_video_takes_no_more_room_and_keeps_its_peak(explanation: Explanation, tmp_path: Path) -> None:
    count = 20_000
    importance = np.ones(count)
    importance[7_000] = 500.0
    long = replace(
        explanation,
        duration=float(count),
        times=tuple(float(i) for i in range(count)),
        importance=tuple((importance / importance.sum()).tolist()),
        weights=(1 / count,) * count,
        masks=np.zeros((count, 1, 1), dtype=np.float32),
        segments=tuple(Segment(10.0 * i, 10.0 * i + 5, "slide <right>", 1 / (1 + i)) for i in range(2_000)),
        boxes=(),
    )
    write_index([IndexEntry("long.mp4", long)], tmp_path / "index.html")
    (row,) = re.findall(r"<tr data.*?</tr>", (tmp_path / "index.html").read_text(encoding="utf-8"))
    assert len(row) < 8_000
    assert "35.0,2.0" in row
    assert "0.0–5.0 s, 10.0–15.0 s, 20.0–25.0 s and 1997 more" in row


def test_index_entry_is_either_explained_or_failed(explanation: Explanation) -> None:
    for kwargs in ({}, {"explanation": explanation, "error": "no"}):
        with pytest.raises(ValueError, match="either an explanation or an error"):
            IndexEntry("x.mp4", **kwargs)


def test_thumbnail_is_the_most_important_frame_with_its_attention(explanation: Explanation, square: Any) -> None:
    picture = np.asarray(Image.open(io.BytesIO(thumbnail(explanation, width=320)))).astype(int)
    expected = blend_mask(square.frame(12), np.eye(4)[:, :1] @ np.eye(4)[:1], explanation.mask_area)
    assert picture.shape == (240, 320, 3)
    assert np.abs(picture - expected).mean() < 4
    assert np.abs(picture - square.frame(12))[10:50, 50:90].mean() > 40  # the hot cell


@pytest.mark.parametrize("limit, inlined", [(10**6, True), (10, False)])
def test_thumbnails_are_part_of_the_page_up_to_a_limit(
    explanation: Explanation, tmp_path: Path, limit: int, inlined: bool
) -> None:
    (tmp_path / "a b").mkdir()
    write_thumbnail(explanation, tmp_path / "a b" / "thumbnail.jpg")
    write_index([IndexEntry("x.mp4", explanation, thumbnail="a b/thumbnail.jpg")], tmp_path / "i.html", limit)
    (address,) = re.findall(r'<img src="([^"]+)"', (tmp_path / "i.html").read_text(encoding="utf-8"))
    if inlined:
        jpeg = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
        assert jpeg == (tmp_path / "a b" / "thumbnail.jpg").read_bytes()
    else:
        assert address == "a%20b/thumbnail.jpg"


READY = "!document.querySelector('#filters').hidden"


@pytest.fixture
def opened(browser: Any, explanation: Explanation, tmp_path: Path) -> Any:
    """Five videos of three labels with known order in every column."""
    facts = [("10.mp4", "run", 0.9, 4.0), ("9.mp4", "Jump", 0.4, 9.0), ("b.mp4", "run", 0.2, 5.0),
             ("a.mp4", "walk", 0.99, 30.0), ("c.mp4", "walk", 0.6, 3.0)]  # fmt: skip
    write_thumbnail(explanation, tmp_path / "t.jpg")
    entries = [
        IndexEntry(file, named(explanation, label, score, duration=duration), f"{file}.html", thumbnail="t.jpg")
        for file, label, score, duration in facts
    ]
    write_index([*entries, IndexEntry("bad.mp4", error="bad.mp4: is empty")], tmp_path / "index.html")
    opened = open_page(browser, tmp_path / "index.html", READY, viewport={"width": 1200, "height": 900})
    yield opened
    assert opened.errors == []
    assert all(url.startswith(("file:", "data:")) for url in opened.requests)
    opened.page.context.close()


def shown(page: Any) -> list[str]:
    return [name.removesuffix(".mp4") for name in page.locator("tbody tr:visible th").all_inner_texts()]


@pytest.mark.browser
@pytest.mark.parametrize(
    "column, first, second",
    [
        ("File", "9 10 a b c", "c b a 10 9"),  # numbers in names count as numbers
        ("Label", "9 10 b a c", "a c 10 b 9"),
        ("Probability", "a 10 c 9 b", "b 9 c 10 a"),
        ("Length", "c 10 b 9 a", "a 9 b 10 c"),
    ],
)
def test_every_click_sorts(opened: Opened, column: str, first: str, second: str) -> None:
    page = opened.page
    header = page.locator("th", has=page.get_by_role("button", name=column))
    for expected in (first, second):
        header.get_by_role("button").click()
        assert " ".join(shown(page)) == expected
    assert header.get_attribute("aria-sort") in ("ascending", "descending")
    assert page.locator("th[aria-sort]").count() == 1


@pytest.mark.browser
def test_filters_by_label_probability_and_text_add_up(opened: Opened) -> None:
    page = opened.page
    page.get_by_role("combobox", name="Label").select_option("run")
    assert shown(page) == ["10", "b"]
    page.get_by_label("Probability at least").fill("50")
    assert shown(page) == ["10"]
    assert page.locator("#shown").inner_text() == "1 of 5 shown"
    page.get_by_role("button", name="Show all").click()
    page.wait_for_timeout(50)
    assert len(shown(page)) == 5
    page.get_by_label("Name or label").fill("WALK")
    assert shown(page) == ["a", "c"]
    assert page.locator(".failed li").is_visible()


@pytest.mark.browser
def test_two_thousand_rows_are_sorted_and_filtered(browser: Any, explanation: Explanation, tmp_path: Path) -> None:
    (tmp_path / "t.jpg").write_bytes(thumbnail(explanation))
    entries = [
        IndexEntry(f"{i}.mp4", named(explanation, f"class {i % 7}", (i * 37 % 2000) / 2000), thumbnail="t.jpg")
        for i in range(2000)
    ]
    write_index(entries, tmp_path / "index.html")
    opened = open_page(browser, tmp_path / "index.html", READY)
    opened.page.get_by_role("button", name="Probability").click()
    scores = opened.page.eval_on_selector_all("tbody tr", "rows => rows.map(row => Number(row.dataset.score))")
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2000
    opened.page.get_by_role("combobox", name="Label").select_option("class 3")
    assert opened.page.locator("#shown").inner_text() == f"{len(range(3, 2000, 7))} of 2000 shown"
    assert opened.errors == []
    opened.page.context.close()


@pytest.mark.browser
def test_phone_width(browser: Any, opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 390, "height": 844})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.page.evaluate("document.querySelector('.scroll').scrollWidth") <= 390
