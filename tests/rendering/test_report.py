from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from whenwhere.rendering import IndexEntry, report, write_index, write_report
from whenwhere.rendering.report import fill, inline_json, video_facts
from whenwhere.structures import Explanation
from whenwhere.video import VideoError, iter_frames


class Page(HTMLParser):
    """Tags with their attributes, and the text inside each kind of tag."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            self.text[self._open[-1]] = self.text.get(self._open[-1], "") + data

    def first(self, tag: str) -> dict[str, str | None]:
        return next(attributes for name, attributes in self.tags if name == tag)


def page_data(path: Path) -> dict:
    match = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.S
    )
    assert match
    return json.loads(match[1])


@pytest.fixture
def page_path(explanation: Explanation, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    write_report(explanation, path, truth_segments=explanation.segments[:1])
    return path


def test_fill_does_not_search_what_it_puts_in() -> None:
    assert fill("{{a}}-{{b}}", {"a": "{{b}}", "b": r"\1"}) == r"{{b}}-\1"


def test_inline_json_cannot_end_its_element() -> None:
    hostile = {"label": "</script><script>alert(1)</script><!--"}
    assert "<" not in inline_json(hostile)
    assert json.loads(inline_json(hostile)) == hostile


def test_page_holds_everything_and_is_the_only_file(page_path: Path, explanation: Explanation) -> None:
    page = Page(page_path)
    addresses = [v for _, attributes in page.tags for k, v in attributes.items() if k in ("src", "href", "poster")]
    assert len(addresses) == 1
    kind, payload = str(addresses[0]).split(",", 1)
    assert kind == "data:video/mp4;base64"
    assert base64.b64decode(payload) == Path(explanation.path).read_bytes()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page_path.read_text(encoding="utf-8"))
    assert list(page_path.parent.iterdir()) == [page_path]


def test_page_carries_the_explanation(page_path: Path, explanation: Explanation) -> None:
    data = page_data(page_path)
    assert Explanation.from_dict(data["explanation"]).to_dict() == explanation.to_dict()
    assert data["truth"][0]["start"] == 0.9
    assert data["frameSeconds"] == pytest.approx(0.1)
    assert data["videoOffset"] == 0
    assert (data["maskLow"], data["maskSpan"]) == (0, 1)


def test_names_are_text_not_markup(page_path: Path) -> None:
    page = Page(page_path)
    assert "slide <right> (87 %): mostly between 0.9 s and 1.5 s" in page.text["h1"]
    assert "right" not in [tag for tag, _ in page.tags]


def test_controls_have_names(page_path: Path) -> None:
    source = page_path.read_text(encoding="utf-8")
    for tag, attributes in Page(page_path).tags:
        if tag == "button" and attributes["id"] != "unloop":
            assert attributes["aria-label"]
        if tag == "input":
            assert re.search(
                rf'<label[^>]*>[^<]*<input id="{attributes["id"]}"|<input id="{attributes["id"]}"[^>]*> \w+', source
            )


def test_video_that_browsers_cannot_play_is_transcoded(
    explanation: Explanation, tmp_path: Path, write_square: Callable[..., Any]
) -> None:
    avi = write_square(tmp_path / "square.avi", codec="mpeg4")
    assert not video_facts(avi.path).playable
    write_report(explanation, tmp_path / "report.html", video_path=avi.path)
    source = str(Page(tmp_path / "report.html").first("video")["src"])
    inlined = tmp_path / "inlined.mp4"
    inlined.write_bytes(base64.b64decode(source.split(",", 1)[1]))
    assert video_facts(inlined).playable
    frames = list(iter_frames(inlined))
    assert [time for time, _ in frames] == pytest.approx(avi.times, abs=1e-3)
    assert abs(frames[10][1].astype(int) - avi.frame(10)).mean() < 4


@pytest.mark.parametrize("name", ["my page.html", "square 1.html"])
def test_large_video_goes_beside_the_page(
    explanation: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(report, "INLINE_LIMIT", 100)
    write_report(explanation, tmp_path / name)
    assert Page(tmp_path / name).first("video")["src"] == name.replace(" ", "%20").replace(".html", ".mp4")
    assert (tmp_path / name).with_suffix(".mp4").read_bytes() == Path(explanation.path).read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_large_video_already_beside_the_page_is_not_copied(
    explanation: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "INLINE_LIMIT", 100)
    (tmp_path / "clip #1.mp4").write_bytes(Path(explanation.path).read_bytes())
    write_report(explanation, tmp_path / "report.html", video_path=tmp_path / "clip #1.mp4")
    assert Page(tmp_path / "report.html").first("video")["src"] == "clip%20%231.mp4"
    assert len(list(tmp_path.iterdir())) == 2


def test_missing_video_is_named_and_nothing_is_left(explanation: Explanation, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        write_report(explanation, tmp_path / "report.html", video_path=tmp_path / "gone.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def index_path(explanation: Explanation, tmp_path: Path) -> Path:
    path = tmp_path / "index.html"
    named = replace(explanation, labels=(("b & w", 0.5),))
    entries = [
        IndexEntry("bad.mp4", error="bad.mp4: <empty>"),
        IndexEntry("a<b>.mp4", named, report="a b/report#1.html"),
        IndexEntry("plain.mp4", explanation),
    ]
    write_index(entries, path)
    return path


def test_index_lists_every_file_failures_last(index_path: Path) -> None:
    source = index_path.read_text(encoding="utf-8")
    rows = re.findall(r"<tr.*?</tr>", source)[1:]
    assert len(rows) == 3
    assert 'href="a%20b/report%231.html">a&lt;b&gt;.mp4</a>' in rows[0]
    assert "b &amp; w" in rows[0]
    assert "50 %" in rows[0]
    assert "<td>0.9–1.5 s, slide left 2.0–2.6 s</td>" in rows[1]
    assert "href" not in rows[1]
    assert "bad.mp4: &lt;empty&gt;" in rows[2]
    assert "<h1>3 videos, 1 failed</h1>" in source


def test_sparkline_peaks_where_importance_does(index_path: Path) -> None:
    points = re.findall(r'points="([^"]+)"', index_path.read_text(encoding="utf-8"))[0]
    highest = min((tuple(map(float, point.split(","))) for point in points.split()), key=lambda point: point[1])
    assert highest == (40.0, 2.0)  # 1.2 s of 3 s, 2 units under the upper edge


def test_index_entry_is_either_explained_or_failed(explanation: Explanation) -> None:
    for kwargs in ({}, {"explanation": explanation, "error": "no"}):
        with pytest.raises(ValueError, match="either an explanation or an error"):
            IndexEntry("x.mp4", **kwargs)
