"""Two explanations of one video side by side, and what the page saves, in a real browser."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import Opened, open_page, wait_until
from PIL import Image

from whenwhere.rendering import blend_mask, player_page, video_facts, write_report
from whenwhere.structures import Explanation, Segment

pytestmark = pytest.mark.browser


@pytest.fixture
def other(explanation: Explanation) -> Explanation:
    """Attention in the bottom right cell at 1.2 s, at half strength at 2.4 s; another label, no boxes."""
    masks = np.zeros((5, 2, 2), dtype=np.float32)
    masks[2, 1, 1], masks[4, 1, 1] = 0.8, 0.4
    return replace(
        explanation,
        labels=(("slide left", 0.6), ("slide <right>", 0.4)),
        masks=masks,
        importance=(0.4, 0.1, 0.1, 0.1, 0.3),
        segments=(Segment(0.0, 0.6, "slide left", 0.5),),
        boxes=(),
        model="another <model>",
    )


@pytest.fixture
def opened(browser: Any, explanation: Explanation, other: Explanation, tmp_path: Path) -> Iterator[Opened]:
    write_report(explanation, tmp_path / "report.html", others=[other])
    opened = open_page(browser, tmp_path / "report.html", viewport={"width": 1200, "height": 900})
    yield opened
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    opened.page.context.close()


def seek(page: Any, seconds: float) -> None:
    page.evaluate("seconds => whenwhere.seek(seconds)", seconds)
    wait_until(page, "!whenwhere.video.seeking")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def canvas(page: Any, pane: int, kind: str = "canvas") -> np.ndarray:
    address = page.evaluate(f"whenwhere.panes[{pane}].{kind}.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))).convert("RGBA")).astype(int)


def hot(picture: np.ndarray) -> tuple[float, float]:
    """Centre of what is drawn, as a share of the width and of the height."""
    weight = picture[..., 3].astype(float)
    y, x = np.indices(weight.shape)
    return float((x * weight).sum() / weight.sum() / weight.shape[1]), float(
        (y * weight).sum() / weight.sum() / weight.shape[0]
    )


def test_each_pane_shows_its_own_attention_over_the_same_frame(opened: Opened, square: Any) -> None:
    page = opened.page
    seek(page, 1.25)
    assert hot(canvas(page, 0)) == pytest.approx(((40 + 30) / 320, 30 / 240), abs=0.05)
    assert hot(canvas(page, 1)) == pytest.approx(((160 + 60) / 320, 180 / 240), abs=0.05)
    copy = Image.fromarray(canvas(page, 1, "copy").astype(np.uint8)).convert("RGB").resize((320, 240))
    assert np.abs(np.asarray(copy).astype(int) - square.frame(12)).mean() < 5
    seek(page, 0.05)
    copy = Image.fromarray(canvas(page, 1, "copy").astype(np.uint8)).convert("RGB").resize((320, 240))
    assert np.abs(np.asarray(copy).astype(int) - square.frame(0)).mean() < 5


def test_panes_play_in_step(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press(" ")
    wait_until(page, "whenwhere.video.currentTime > 0.5")
    page.keyboard.press(" ")
    wait_until(page, "whenwhere.video.paused && !whenwhere.video.seeking")
    seek(page, page.evaluate("whenwhere.state.time"))
    left_edge = int(np.argmax(canvas(page, 1, "copy")[:, :, 0].max(0) > 200)) / canvas(page, 1).shape[1] * 320
    assert left_edge == pytest.approx(8 * int(page.evaluate("whenwhere.video.currentTime") * 10), abs=9)


def test_each_has_its_name_label_rows_and_curve(opened: Opened) -> None:
    page = opened.page
    captions = page.locator("figcaption")
    assert captions.nth(0).inner_text().startswith("planted\n\nslide <right>, 87 %")
    assert captions.nth(1).inner_text().startswith("another <model>\n\nslide left, 60 %")
    assert page.locator(".lane").all_inner_texts() == ["planted", "another <model>"]
    assert page.locator(".scrubber svg").count() == 2
    assert page.locator(".scrubber path.importance").nth(0).get_attribute("d") != page.locator(
        ".scrubber path.importance"
    ).nth(1).get_attribute("d")
    names = [button.get_attribute("aria-label") for button in page.locator(".segment").all()]
    assert names == [
        "Repeat slide <right>, 0.9–1.5 s, score 0.80",
        "Repeat slide left, 2.0–2.6 s, score 0.30",
        "Repeat slide left, 0.0–0.6 s, score 0.50",
    ]
    colors = [button.evaluate("b => getComputedStyle(b).backgroundColor") for button in page.locator(".segment").all()]
    assert colors[1] == colors[2] != colors[0]  # a label has one colour for both


def test_each_is_switched_alone_and_a_key_switches_both(opened: Opened) -> None:
    page = opened.page
    seek(page, 1.25)
    before = canvas(page, 0)
    page.get_by_label("Heat map, another <model>").uncheck()
    assert canvas(page, 1).max() == 0
    np.testing.assert_array_equal(canvas(page, 0), before)
    page.keyboard.press("m")
    assert canvas(page, 0).max() == 0
    assert not page.get_by_label("Heat map, planted").is_checked()
    page.keyboard.press("m")
    assert min(canvas(page, 0).max(), canvas(page, 1).max()) > 0


def test_the_second_curve_seeks_too(opened: Opened) -> None:
    page = opened.page
    page.locator(".scrubber").nth(1).scroll_into_view_if_needed()
    box = page.locator(".scrubber").nth(1).bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + box["height"] / 2)
    assert page.evaluate("whenwhere.video.currentTime") == pytest.approx(1.5, abs=0.02)


def test_saved_json_is_each_explanation(opened: Opened, explanation: Explanation, other: Explanation) -> None:
    for name, expected in (("planted", explanation), ("another <model>", other)):
        with opened.page.expect_download() as download:
            opened.page.get_by_role("button", name=f"Explanation (JSON), {name}").click()
        saved = Explanation.from_dict(json.loads(Path(download.value.path()).read_text(encoding="utf-8")))
        told = expected.to_dict()
        assert {**saved.to_dict(), "masks": None} == {**told, "masks": None}
        np.testing.assert_allclose(saved.masks, expected.masks, atol=0.8 / 255)
        assert download.value.suggested_filename.startswith("square")


def test_saved_picture_is_the_frame_with_what_lies_over_it(
    opened: Opened, explanation: Explanation, square: Any
) -> None:
    seek(opened.page, 1.2)
    with opened.page.expect_download() as download:
        opened.page.get_by_role("button", name="This frame (PNG)").click()
    picture = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
    assert picture.shape == (240, 640, 3)
    assert download.value.suggested_filename == "square_1.20s.png"
    first = np.zeros((4, 4), dtype=np.float32)
    first[0, 0] = 1
    expected = blend_mask(square.frame(12), first, explanation.mask_area)
    assert np.abs(picture[:, :320] - expected).mean() < 5
    second = np.zeros((2, 2), dtype=np.float32)
    second[1, 1] = 1
    expected = blend_mask(square.frame(12), second, explanation.mask_area)
    assert np.abs(picture[:, 320:] - expected).mean() < 5


def test_picture_of_a_video_beside_the_page_is_refused_with_a_reason(
    browser: Any, explanation: Explanation, tmp_path: Path
) -> None:
    write_report(explanation, tmp_path / "report.html", inline_limit=10, links={"overlay": "overlay.mp4"})
    page = open_page(browser, tmp_path / "report.html").page
    button = page.get_by_role("button", name="This frame (PNG)")
    assert button.is_disabled()
    reason = page.locator(f"#{button.get_attribute('aria-describedby')}")
    assert "file of its own" in reason.inner_text()
    assert page.get_by_role("link", name="Overlay video (MP4)").get_attribute("href") == "overlay.mp4"
    page.context.close()


def test_page_with_links_offers_them_instead(explanation: Explanation, browser: Any, tmp_path: Path) -> None:
    links = {"json": "/clips/1/explanation.json", "overlay": "/clips/1/overlay.mp4", "png": "/clips/1/frame.png"}
    facts = video_facts(explanation.path)
    page_text = player_page(explanation, facts, Path(explanation.path).as_uri(), links=links, back="/?a=1&b=2")
    (tmp_path / "page.html").write_text(page_text, encoding="utf-8")
    page = open_page(browser, tmp_path / "page.html").page
    assert [link.get_attribute("href") for link in page.locator("#downloads a").all()] == list(links.values())
    assert page.locator("#downloads button").count() == 0
    assert page.get_by_role("link", name="All clips").get_attribute("href") == "/?a=1&b=2"
    page.context.close()


def test_links_and_videos_that_do_not_fit_are_errors(explanation: Explanation, other: Explanation) -> None:
    facts = video_facts(explanation.path)
    with pytest.raises(ValueError, match="links may hold json, overlay, png, got pdf"):
        player_page(explanation, facts, "x.mp4", links={"pdf": "x"})
    with pytest.raises(ValueError, match=r"160 x 120 pixels and .* is 320 x 240"):
        player_page(explanation, facts, "x.mp4", others=[replace(other, width=160, height=120)])
