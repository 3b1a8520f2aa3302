from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whenwhere.rendering import video_facts, write_report
from whenwhere.rendering.pages import fill, inline_json
from whenwhere.structures import Explanation
from whenwhere.video import VideoError, iter_frames, write_video


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
    view = data["views"][0]
    masks = np.frombuffer(base64.b64decode(view["masks"]["data"]), np.uint8).reshape(view["masks"]["shape"])
    masks = view["masks"]["low"] + view["masks"]["step"] * masks
    assert Explanation.from_dict({**view["explanation"], "masks": masks}).to_dict() == explanation.to_dict()
    assert data["truth"][0]["start"] == 0.9
    assert data["frameSeconds"] == pytest.approx(0.1)
    assert data["videoOffset"] == 0
    assert (view["maskLow"], view["maskSpan"]) == (0, 1)


def test_names_are_text_not_markup(page_path: Path) -> None:
    page = Page(page_path)
    assert "slide <right> (87 %): mostly between 0.9 s and 1.5 s" in page.text["h1"]
    assert "right" not in [tag for tag, _ in page.tags]


def test_controls_have_names(page_path: Path) -> None:
    source = page_path.read_text(encoding="utf-8")
    for tag, attributes in Page(page_path).tags:
        if tag == "button" and attributes["id"] not in ("unloop", "zoom-all"):
            assert attributes["aria-label"]
        if tag == "input":
            assert re.search(rf'<label[^>]*>[^<]+<input id="{attributes["id"]}"', source)


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
def test_large_video_goes_beside_the_page(explanation: Explanation, tmp_path: Path, name: str) -> None:
    write_report(explanation, tmp_path / name, inline_limit=100)
    assert Page(tmp_path / name).first("video")["src"] == name.replace(" ", "%20").replace(".html", ".mp4")
    assert (tmp_path / name).with_suffix(".mp4").read_bytes() == Path(explanation.path).read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_large_video_already_beside_the_page_is_not_copied(explanation: Explanation, tmp_path: Path) -> None:
    (tmp_path / "clip #1.mp4").write_bytes(Path(explanation.path).read_bytes())
    write_report(explanation, tmp_path / "report.html", video_path=tmp_path / "clip #1.mp4", inline_limit=100)
    assert Page(tmp_path / "report.html").first("video")["src"] == "clip%20%231.mp4"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("spare, inside", [(0, True), (-1, False)])
def test_a_video_of_exactly_the_limit_is_in_the_page(
    explanation: Explanation, tmp_path: Path, spare: int, inside: bool
) -> None:
    limit = Path(explanation.path).stat().st_size + spare
    write_report(explanation, tmp_path / "report.html", inline_limit=limit)
    assert str(Page(tmp_path / "report.html").first("video")["src"]).startswith("data:") == inside
    assert (tmp_path / "report.mp4").exists() != inside


def test_missing_video_is_named_and_nothing_is_left(explanation: Explanation, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        write_report(explanation, tmp_path / "report.html", video_path=tmp_path / "gone.mp4")
    assert list(tmp_path.iterdir()) == []


def test_the_video_itself_is_never_replaced_by_its_copy(
    explanation: Explanation, tmp_path: Path, write_square: Callable[..., Any]
) -> None:
    """A page is often called like its video, and so would be the copy that browsers play."""
    video = write_square(tmp_path / "clip.mp4", codec="mpeg4").path
    before = video.read_bytes()
    write_report(explanation, tmp_path / "clip.html", video_path=video, inline_limit=100)
    assert video.read_bytes() == before
    assert Page(tmp_path / "clip.html").first("video")["src"] == "clip_h264.mp4"
    assert video_facts(tmp_path / "clip_h264.mp4").playable


def test_a_video_of_another_size_is_refused(explanation: Explanation, tmp_path: Path) -> None:
    write_video(tmp_path / "other.mp4", [np.zeros((64, 64, 3), dtype=np.uint8)] * 3, 10.0)
    with pytest.raises(ValueError, match=r"other\.mp4 has frames of 64 x 64 pixels.* made for 320 x 240"):
        write_report(explanation, tmp_path / "report.html", video_path=tmp_path / "other.mp4")
    assert not (tmp_path / "report.html").exists()
