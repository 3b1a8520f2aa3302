"""The timeline under fingers, as a phone's browser tells of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Opened, open_page, wait_until

from whenwhere.rendering import player_page, video_facts
from whenwhere.structures import Explanation

pytestmark = pytest.mark.browser

Touch = Callable[[str, list[tuple[float, float]]], None]


@pytest.fixture
def phone(browser: Any, explanation: Explanation, tmp_path: Path) -> Iterator[Opened]:
    page = player_page(explanation, video_facts(explanation.path), Path(explanation.path).as_uri())
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    viewport = {"width": 390, "height": 600}
    opened = open_page(browser, tmp_path / "page.html", viewport=viewport, has_touch=True, is_mobile=True)
    opened.page.locator("#scrubber").scroll_into_view_if_needed()
    yield opened
    assert opened.errors == []
    opened.page.context.close()


@pytest.fixture
def touch(phone: Opened) -> Touch:
    """Tell the browser where fingers are, in shares of the curve's width and pixels below its top."""
    box = phone.page.locator("#scrubber").bounding_box()
    devtools = phone.page.context.new_cdp_session(phone.page)

    def tell(kind: str, fingers: list[tuple[float, float]]) -> None:
        points = [
            {"x": box["x"] + share * box["width"], "y": box["y"] + below, "id": number}
            for number, (share, below) in enumerate(fingers)
        ]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        phone.page.wait_for_timeout(30)

    return tell


def shown(page: Any) -> tuple[float, float]:
    window = page.evaluate("whenwhere.timeline.shown")
    return window["from"], window["to"]


def moment(page: Any) -> float:
    return page.evaluate("whenwhere.video.currentTime")


def test_two_fingers_magnify_what_lies_under_them_and_move_it(phone: Opened, touch: Touch) -> None:
    before, (_, length) = moment(phone.page), shown(phone.page)
    touch("touchStart", [(0.2, 30)])
    touch("touchStart", [(0.2, 30), (0.7, 30)])
    for step in (0.05, 0.1):
        touch("touchMove", [(0.2 - step, 30), (0.7 + step, 30)])
    start, end = shown(phone.page)
    assert end - start == pytest.approx(length * 0.5 / 0.7, rel=0.02)
    assert start + 0.1 * (end - start) == pytest.approx(0.2 * length, abs=0.01 * length)
    for step in (0.03, 0.06):
        touch("touchMove", [(0.1 - step, 30), (0.8 - step, 30)])
    assert shown(phone.page)[0] == pytest.approx(start + 0.06 * (end - start), abs=0.01 * length)
    touch("touchEnd", [(0.04, 30)])
    touch("touchMove", [(0.9, 30)])  # the finger that is left does not scrub
    touch("touchEnd", [])
    assert moment(phone.page) == before


def test_one_finger_scrubs_along_the_curve_and_scrolls_the_page_across_it(phone: Opened, touch: Touch) -> None:
    page, length = phone.page, shown(phone.page)[1]
    touch("touchStart", [(0.2, 30)])
    for share in (0.3, 0.4, 0.5):
        touch("touchMove", [(share, 30)])
    wait_until(page, f"Math.abs(whenwhere.video.currentTime - {0.5 * length}) < 0.06")
    touch("touchEnd", [])
    touch("touchStart", [(0.8, 30)])  # a tap
    touch("touchEnd", [])
    wait_until(page, f"Math.abs(whenwhere.video.currentTime - {0.8 * length}) < 0.06")
    stood, scrolled = moment(page), page.evaluate("scrollY")
    touch("touchStart", [(0.3, 80)])
    for below in (60, 20, -40, -100):
        touch("touchMove", [(0.3, below)])
    touch("touchEnd", [])
    wait_until(page, f"scrollY > {scrolled} + 50")
    assert moment(page) == stood
