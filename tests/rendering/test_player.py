"""The report in a real browser, opened from disk."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from browsing import Opened, open_page, wait_until
from PIL import Image

from whenwhere.rendering import mask_at, write_report
from whenwhere.rendering.overlay import blend_mask
from whenwhere.structures import Explanation, Segment
from whenwhere.video import iter_frames

pytestmark = pytest.mark.browser


@pytest.fixture
def opened(browser: Any, explanation: Explanation, tmp_path: Path) -> Iterator[Opened]:
    write_report(explanation, tmp_path / "report.html", truth_segments=(Segment(0.8, 1.6, "slide <right>"),))
    opened = open_page(browser, tmp_path / "report.html", viewport={"width": 1200, "height": 900})
    yield opened
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    opened.page.context.close()


def seek(page: Any, seconds: float) -> None:
    page.evaluate("seconds => whenwhere.seek(seconds)", seconds)
    wait_until(page, "!whenwhere.video.seeking")


def decoded(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))).convert("RGBA"))


def pixels(page: Any) -> np.ndarray:
    """The canvas over the video, `(H, W, 4)`."""
    return decoded(page.evaluate("whenwhere.canvas.toDataURL()"))


def now(page: Any) -> float:
    return page.evaluate("whenwhere.video.currentTime")


def test_video_plays_and_time_moves_the_cursor(opened: Opened) -> None:
    page = opened.page
    assert page.evaluate("whenwhere.video.duration") == pytest.approx(3.0, abs=0.05)
    page.keyboard.press(" ")
    wait_until(page, "whenwhere.video.currentTime > 0.4 && whenwhere.state.time > 0.3")
    assert page.locator("#play").inner_text() == "Pause"
    page.keyboard.press(" ")
    wait_until(page, "whenwhere.video.paused && document.querySelector('#play').innerText === 'Play'")


def test_mask_is_drawn_where_and_when_attention_is(opened: Opened) -> None:
    page = opened.page
    seek(page, 1.2)
    alpha = pixels(page)[..., 3]
    scale = alpha.shape[1] / 320
    hot = alpha[round(10 * scale) : round(50 * scale), round(50 * scale) : round(90 * scale)]
    assert hot.min() > 60
    assert alpha[:, : int(39 * scale)].max() == 0  # left of the area the grid covers
    assert alpha[round(100 * scale) :].max() <= 2
    seek(page, 0.3)
    assert pixels(page).max() == 0
    seek(page, 0.9)
    assert 0 < pixels(page)[..., 3].max() < alpha.max()  # half-way in time, fainter


def test_page_and_overlay_draw_the_same_heat_map(opened: Opened, explanation: Explanation) -> None:
    seek(opened.page, 1.2)
    drawn = pixels(opened.page).astype(float)
    scale = drawn.shape[1] / 320
    gray = np.full((*drawn.shape[:2], 3), 90, dtype=np.uint8)
    area = tuple(value * scale for value in explanation.mask_area)
    expected = blend_mask(gray, mask_at(explanation, 1.2), area, opacity=0.7)
    alpha = drawn[..., 3:] / 255
    difference = np.abs(gray * (1 - alpha) + drawn[..., :3] * alpha - expected)
    assert np.percentile(difference, 99) < 6
    assert difference.mean() < 1


def test_mask_toggle_and_opacity(opened: Opened) -> None:
    page = opened.page
    seek(page, 1.2)
    full = pixels(page)
    page.keyboard.press("m")
    assert pixels(page).max() == 0
    assert not page.locator("#show-mask").is_checked()
    page.locator("#show-mask").check()
    np.testing.assert_array_equal(pixels(page), full)
    page.locator("#opacity").fill("0.2")
    assert pixels(page)[..., 3].max() == pytest.approx(full[..., 3].max() * 0.2 / 0.7, abs=3)


def test_boxes_are_drawn_near_their_time_and_toggle(opened: Opened) -> None:
    page = opened.page
    seek(page, 2.4)
    shown = pixels(page)
    scale = shown.shape[1] / 320
    assert shown[round(150 * scale) : round(220 * scale), round(200 * scale), 3].min() == 255
    assert shown[round(160 * scale) : round(210 * scale), round(220 * scale) : round(290 * scale), 3].max() == 0
    page.keyboard.press("b")
    assert pixels(page).max() == 0
    page.locator("#show-boxes").check()
    assert pixels(page).max() == 255
    seek(page, 1.9)
    assert pixels(page).max() == 0


def test_timeline_click_drag_and_keys_seek(opened: Opened) -> None:
    page = opened.page
    box = page.locator("#scrubber").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.click(box["x"] + 0.5 * box["width"], y)
    assert now(page) == pytest.approx(1.5, abs=0.02)
    page.mouse.move(box["x"] + 0.2 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], y, steps=4)
    page.mouse.up()
    page.mouse.move(box["x"], y)
    assert now(page) == pytest.approx(2.4, abs=0.02)
    cursor = page.locator("#cursor").bounding_box()
    assert cursor["x"] + 1 - box["x"] == pytest.approx(0.8 * box["width"], abs=4)
    page.keyboard.press("ArrowRight")
    assert now(page) == pytest.approx(2.55, abs=0.02)  # the middle of the next frame
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert now(page) == pytest.approx(2.25, abs=0.02)
    page.keyboard.press("Home")
    assert now(page) == 0


def test_segment_click_repeats_the_segment(opened: Opened) -> None:
    page = opened.page
    segments = page.locator(".segment:not(.truth)")
    assert segments.count() == 2
    assert page.locator(".segment.truth").count() == 1
    segment = segments.first
    assert segment.get_attribute("aria-label") == "Repeat slide <right>, 0.9–1.5 s, score 0.80"
    scrubber, bar = page.locator("#scrubber").bounding_box(), segment.bounding_box()
    assert (bar["x"] - scrubber["x"]) / scrubber["width"] == pytest.approx(0.3, abs=0.01)
    assert bar["width"] / scrubber["width"] == pytest.approx(0.2, abs=0.01)
    segment.click()
    wait_until(page, "!whenwhere.video.paused && !whenwhere.video.seeking")
    page.evaluate("() => { window.seen = []; setInterval(() => seen.push(whenwhere.video.currentTime), 20); }")
    wait_until(page, "seen.filter((t, i) => i && t < seen[i - 1] - 0.3).length >= 2")
    times = page.evaluate("seen")
    assert segment.get_attribute("aria-pressed") == "true"
    assert min(times) >= 0.89
    assert max(times) < 2.0  # past the end by no more than the machine is late, and never as far as the next one
    page.keyboard.press("Escape")
    assert segment.get_attribute("aria-pressed") == "false"
    wait_until(page, "whenwhere.video.currentTime > 1.8")


def test_labels_are_text(opened: Opened) -> None:
    rows = opened.page.locator("#labels li")
    assert [rows.nth(i).inner_text().split("\n") for i in range(2)] == [
        ["slide <right>", "87 %"],
        ["slide left", "13 %"],
    ]
    assert opened.page.evaluate("document.querySelector('right')") is None


def test_every_control_can_be_reached_by_keyboard(opened: Opened) -> None:
    page = opened.page
    reached = set()
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"play", "back", "forward", "speed", "scrubber", "segment", "show-mask", "show-boxes", "opacity"} <= reached


def test_the_timeline_is_a_slider(opened: Opened) -> None:
    page = opened.page
    seek(page, 1.0)
    page.locator("#scrubber").focus()
    for key, expected in [("ArrowUp", 1.1), ("ArrowDown", 1.0), ("PageUp", 1.3), ("PageDown", 1.0)]:
        page.keyboard.press(key)
        wait_until(page, "!whenwhere.video.seeking")
        assert float(page.locator("#scrubber").get_attribute("aria-valuenow")) == pytest.approx(expected, abs=0.1), key
    seek(page, 0.1)
    page.keyboard.press("PageDown")
    assert page.evaluate("whenwhere.state.time") == 0
    page.locator("#play").focus()  # elsewhere these keys scroll the page
    page.keyboard.press("PageUp")
    assert page.evaluate("whenwhere.state.time") == 0


@pytest.mark.parametrize("scheme, dark", [("light", False), ("dark", True)])
def test_phone_width_and_color_scheme(
    browser: Any, explanation: Explanation, tmp_path: Path, scheme: str, dark: bool
) -> None:
    write_report(explanation, tmp_path / "report.html")
    viewport = {"width": 390, "height": 844}
    page = open_page(browser, tmp_path / "report.html", viewport=viewport, color_scheme=scheme).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    video, canvas = page.locator("#video").bounding_box(), page.locator("#canvas").bounding_box()
    assert video == canvas
    assert video["width"] / video["height"] == pytest.approx(320 / 240, rel=0.01)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) < 200) == dark
    page.context.close()


def test_video_beside_the_page_plays(browser: Any, explanation: Explanation, tmp_path: Path) -> None:
    write_report(explanation, tmp_path / "report.html", inline_limit=100)
    opened = open_page(browser, tmp_path / "report.html")
    assert opened.page.evaluate("whenwhere.video.duration") == pytest.approx(3.0, abs=0.05)
    assert opened.errors == []
    assert all(url.startswith("file:") for url in opened.requests)
    opened.page.context.close()


def test_a_lost_video_is_told_and_its_attention_still_shown(
    browser: Any, explanation: Explanation, tmp_path: Path
) -> None:
    write_report(explanation, tmp_path / "report.html", inline_limit=100)
    (tmp_path / "report.mp4").unlink()
    opened = open_page(browser, tmp_path / "report.html", ready="window.whenwhere && !!whenwhere.video.error")
    page = opened.page
    wait_until(page, "!document.getElementById('error').hidden")
    assert page.locator("#play").is_disabled()
    page.keyboard.press(" ")
    for _ in range(12):  # attention is at 1.2 s
        page.keyboard.press("ArrowRight")
    assert page.evaluate("whenwhere.state.time") == pytest.approx(1.25, abs=0.01)
    assert pixels(page)[..., 3].max() > 100
    page.locator(".segment").first.click()
    assert page.evaluate("whenwhere.state.time") == pytest.approx(explanation.segments[0].start, abs=0.01)
    assert not page.locator("#unloop").is_visible()  # there is nothing to repeat
    opened.page.context.close()


def test_video_that_starts_after_its_sound_stays_in_step(
    browser: Any, explanation: Explanation, square: Any, tmp_path: Path
) -> None:
    """A player's clock starts with the sound, an explanation's with the first frame."""
    late = tmp_path / "late.mp4"
    with av.open(str(late), "w") as container:
        video, sound = container.add_stream("libx264", rate=10), container.add_stream("aac", rate=8000)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for i in range(40):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 8000, 800 * i, Fraction(1, 8000)
            container.mux(sound.encode(samples))
            if i >= 10:
                frame = av.VideoFrame.from_ndarray(square.frame(i - 10), format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 10)
                container.mux(video.encode(frame))
        container.mux(video.encode())
        container.mux(sound.encode())
    assert next(iter_frames(late))[0] == 0
    write_report(explanation, tmp_path / "report.html", video_path=late)
    page = open_page(browser, tmp_path / "report.html").page
    for index in (0, 12, 29):
        seek(page, index / 10 + 0.05)
        address = page.evaluate(
            """() => { const c = document.createElement("canvas"); c.width = 320; c.height = 240;
            c.getContext("2d").drawImage(whenwhere.video, 0, 0, 320, 240); return c.toDataURL(); }"""
        )
        assert np.abs(decoded(address)[..., :3].astype(int) - square.frame(index)).mean() < 5
    page.context.close()
