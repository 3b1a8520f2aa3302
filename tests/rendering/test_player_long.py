"""A video of hours: the page holds and draws what is on screen, however much there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import Opened, open_page

from whenwhere.rendering import player_page, video_facts
from whenwhere.structures import Box, Explanation, Segment

pytestmark = pytest.mark.browser

COUNT, SECONDS, PEAK = 20_000, 10_000.0, 12_345


@pytest.fixture(scope="module")
def long(explanation: Explanation) -> Explanation:
    """20,000 frames at half a second, one peak of importance among them, 2,000 segments of 2 s, a box every frame."""
    importance = np.full(COUNT, 1.0)
    importance[PEAK] = 50.0
    times = tuple((0.5 * np.arange(COUNT)).tolist())
    masks = np.zeros((COUNT, 16, 16), dtype=np.float32)
    masks[np.arange(COUNT), np.arange(COUNT) % 16, 3] = 1.0
    return replace(
        explanation,
        duration=SECONDS,
        times=times,
        importance=tuple((importance / importance.sum()).tolist()),
        weights=(1 / COUNT,) * COUNT,
        masks=masks,
        segments=tuple(Segment(5.0 * i, 5.0 * i + 2.0, "slide <right>", 0.5) for i in range(2_000)),
        boxes=tuple(Box(time, 10, 10, 100, 100, "slide <right>") for time in times),
    )


@pytest.fixture(scope="module")
def page_path(long: Explanation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "page.html"
    page = player_page(long, video_facts(long.path), Path(long.path).as_uri())
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def opened(browser: Any, page_path: Path) -> Iterator[Opened]:
    opened = open_page(browser, page_path, viewport={"width": 1200, "height": 900})
    yield opened
    assert opened.errors == []
    opened.page.context.close()


def points_of(page: Any) -> np.ndarray:
    """Points of the importance curve in pixels, `(N, 2)`."""
    line = page.locator("path.importance").get_attribute("d")
    return np.array([point.split(",") for point in line[1:].removesuffix("V109Z").split("L")], dtype=float)


def shown(page: Any) -> tuple[float, float]:
    window = page.evaluate("whenwhere.timeline.shown")
    return window["from"], window["to"]


def test_masks_take_a_byte_a_cell(page_path: Path) -> None:
    assert page_path.stat().st_size < 4 / 3 * COUNT * 256 + 300 * COUNT


def test_what_the_page_holds_is_bounded_by_its_width(opened: Opened) -> None:
    page = opened.page
    width = page.evaluate("document.querySelector('#tracks').clientWidth")
    page.keyboard.press("0")
    assert page.evaluate("document.querySelectorAll('*').length") < 400
    assert 100 < len(points_of(page)) <= 2 * width + 10
    assert 0 < page.locator(".segment").count() <= width / 8
    counts = page.eval_on_selector_all(".segment", "all => all.map(each => each.block.segments.length)")
    assert sum(counts) == 2_000  # none is lost where several are put together
    edges = page.eval_on_selector_all(".segment", "all => all.map(({ block }) => [block.left, block.right])")
    assert all(right <= left for (_, right), (left, _) in pairwise(sorted(edges)))  # and none lies over another


def test_the_peak_survives_at_every_width(opened: Opened) -> None:
    page = opened.page
    width = page.evaluate("document.querySelector('#tracks').clientWidth")
    page.keyboard.press("0")
    x, y = points_of(page)[points_of(page)[:, 1].argmin()]
    assert y == pytest.approx(6)  # the top of the curve
    assert x / width * SECONDS == pytest.approx(0.5 * PEAK, abs=SECONDS / width)


def test_zoom_shows_less_in_full(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("0")
    page.evaluate("whenwhere.seek(0)")
    for _ in range(9):
        page.keyboard.press("+")
    start, end = shown(page)
    assert (start, end) == (0, pytest.approx(SECONDS / 2**9))
    frames = int(2 * (end - start)) + 1
    assert frames <= len(points_of(page)) <= frames + 6  # every frame that is in view, and its neighbours
    names = [each.get_attribute("aria-label") for each in page.locator(".segment").all()]
    assert names == [f"Repeat slide <right>, 0:0{5 * i}.0–0:0{5 * i + 2}.0, score 0.50" if i < 2 else
                     f"Repeat slide <right>, 0:{5 * i}.0–0:{5 * i + 2}.0, score 0.50" for i in range(4)]  # fmt: skip
    page.keyboard.press("Shift+ArrowRight")
    assert shown(page)[0] == pytest.approx((end - start) / 2)
    page.get_by_role("button", name="Show an earlier part").click()
    assert shown(page)[0] == 0
    page.get_by_role("button", name="Whole video").click()
    assert shown(page) == (0, SECONDS)


def test_wheel_zooms_about_the_pointer_and_moves(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("0")
    box = page.locator("#scrubber").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 20)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    page.wait_for_timeout(100)
    start, end = shown(page)
    assert end - start == pytest.approx(SECONDS / np.e, rel=0.01)
    assert start + 0.25 * (end - start) == pytest.approx(0.25 * SECONDS, rel=0.01)
    page.mouse.wheel(100, 0)
    page.wait_for_timeout(100)
    assert shown(page)[0] == pytest.approx(start + 100 / box["width"] * (end - start), rel=0.02)
    page.mouse.wheel(0, 100)  # a plain wheel is the page's own
    page.wait_for_timeout(100)
    assert shown(page)[1] - shown(page)[0] == pytest.approx(end - start)


def test_a_crowd_of_segments_opens(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("0")
    crowd = page.locator(".crowd").nth(10)
    count = crowd.evaluate("each => each.block.segments.length")
    assert crowd.get_attribute("aria-label").startswith(f"Zoom in on {count} segments")
    crowd.click()
    counts = page.eval_on_selector_all(".segment", "all => all.map(each => each.block.segments.length)")
    assert count <= sum(counts) <= 1.1 * count + 2
    assert max(counts) < count / 10
    if max(counts) > 1:
        page.locator(".crowd").first.click()
    assert page.locator(".crowd").count() == 0


def test_the_window_follows_the_cursor_out_of_it(opened: Opened) -> None:
    page = opened.page
    page.evaluate("whenwhere.timeline.show(100, 200)")
    page.evaluate("whenwhere.render(150, true)")
    assert shown(page) == (100, 200)
    page.evaluate("whenwhere.render(201)")
    assert shown(page) == (pytest.approx(191), pytest.approx(291))
    page.evaluate("whenwhere.timeline.pan(5)")  # moved away by hand, it stays
    page.evaluate("whenwhere.render(202)")
    assert shown(page)[0] == pytest.approx(691)
    assert page.locator("#cursor").is_hidden()
    page.evaluate("whenwhere.render(203, true)")
    assert shown(page)[0] == pytest.approx(193)


def test_a_frame_changes_only_what_moves(opened: Opened) -> None:
    """Neither curve nor segments are touched while the video plays; masks and boxes are looked up, not searched."""
    page = opened.page
    page.keyboard.press("0")
    changed = page.evaluate(
        """async () => {
            const changed = new Set();
            const observer = new MutationObserver((all) => all.forEach(({ target }) => changed.add(target.id)));
            observer.observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
            for (let i = 0; i < 200; i += 1) whenwhere.render(40 * i + 0.3);
            await new Promise((done) => setTimeout(done));
            observer.disconnect();
            return [...changed];
        }"""
    )
    assert set(changed) <= {"cursor", "clock", "scrubber"}
    # Every read of the explanation while drawing, counted: as many far into the video as at its start.
    reads = page.evaluate(
        """() => [10.3, 9900.3].map((time) => {
            const { explanation } = whenwhere.data.views[0];
            const kept = explanation.boxes;
            let reads = 0;
            explanation.boxes = new Proxy(kept, { get: (all, key) => { reads += 1; return all[key]; } });
            whenwhere.render(time);
            explanation.boxes = kept;
            return [reads, whenwhere.panes[0].attention.boxesAt(time).length];
        })"""
    )
    assert reads == [[0, 1], [0, 1]]


def test_mask_is_of_its_own_moment_far_into_the_video(opened: Opened, long: Explanation) -> None:
    for frame in (0, 7, 19_990):
        seen = opened.page.evaluate(f"[...whenwhere.panes[0].attention.valuesAt({0.5 * frame})]")
        np.testing.assert_allclose(np.reshape(seen, (16, 16)), long.masks[frame], atol=1e-3)


def test_nothing_is_drawn_that_is_scrolled_away(browser: Any, page_path: Path) -> None:
    opened = open_page(browser, page_path, viewport={"width": 390, "height": 500})
    page = opened.page
    page.evaluate("whenwhere.render(100.2)")
    first = page.evaluate("whenwhere.canvas.toDataURL()")
    page.evaluate("window.scrollTo(0, 2000)")
    page.wait_for_timeout(200)
    page.evaluate("whenwhere.render(103.2)")
    assert page.evaluate("whenwhere.canvas.toDataURL()") == first
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(200)
    assert page.evaluate("whenwhere.canvas.toDataURL()") != first
    assert opened.errors == []
    page.context.close()
