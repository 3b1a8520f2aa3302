"""The server's pages in a real browser."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accessibility import violations
from browsing import Opened, open_page, wait_until
from PIL import Image
from playwright.sync_api import Error as PlaywrightError
from serving import Served, served, until

from whenwhere.video import probe

pytestmark = pytest.mark.browser
READY = "document.querySelector('#samples button') !== null"


@pytest.fixture
def home(browser: Any, server: Served) -> Iterator[Opened]:
    opened = open_page(browser, server.address + "/", READY, viewport={"width": 1200, "height": 900})
    yield opened
    assert opened.errors == []
    outside = [url for url in opened.requests if not url.startswith((server.address + "/", "data:", "blob:"))]
    assert outside == []
    opened.page.context.close()
    for status in server.client.clips():
        server.client.delete(status["id"])
    until(lambda: not server.files(), "nothing is left")


def wait_for_player(page: Any) -> None:
    until(lambda: page.wait_for_timeout(50) or "/clips/" in page.url, "the player opens", 60)
    wait_until(page, "window.whenwhere && whenwhere.video.readyState >= 2")


def test_from_upload_to_deletion(home: Opened, long_clip: Path) -> None:
    page = home.page
    page.set_input_files("#files", long_clip)
    texts, shares = set[str](), set[float]()
    clips = "[...document.querySelectorAll('.clip')]"
    shown_now = clips + ".map((c) => [c.querySelector('.state').textContent, c.querySelector('progress').value])"
    while "/clips/" not in page.url:
        with suppress(PlaywrightError):  # the page gives way to the player in between
            for text, share in page.evaluate(shown_now):
                texts.add(text)
                shares.add(share)
        page.wait_for_timeout(20)
    assert any(text.startswith("Decoding: ") and text.endswith(" of 12 frames") for text in texts), texts
    assert len(shares) > 2
    wait_for_player(page)
    assert page.evaluate("whenwhere.video.videoWidth") == 640
    assert page.locator("#labels li").count() == 5
    segment = page.locator(".segment").last
    start, end = page.evaluate("(s => [s.start, s.end])(whenwhere.data.views[0].explanation.segments.at(-1))")
    segment.click()
    wait_until(page, "!whenwhere.video.seeking && whenwhere.video.currentTime > 0")
    assert start - 0.1 <= page.evaluate("whenwhere.video.currentTime") <= end + 0.1

    def drawn() -> np.ndarray:
        page.evaluate("whenwhere.seek(1)")
        wait_until(page, "!whenwhere.video.seeking")
        picture = base64.b64decode(page.evaluate("whenwhere.canvas.toDataURL()").split(",", 1)[1])
        return np.asarray(Image.open(io.BytesIO(picture)))

    page.keyboard.press("Space")  # stop
    page.keyboard.press("b")  # boxes off
    shown = drawn()
    page.keyboard.press("m")
    hidden = drawn()
    assert shown.any()
    assert not hidden.any()

    page.get_by_role("link", name="All clips").click()
    page.get_by_role("link", name="noise.mp4").wait_for()
    image = page.get_by_role("img", name="Most important frame of noise.mp4")
    until(lambda: image.evaluate("e => e.naturalWidth") == 160, "the thumbnail is there")
    page.get_by_role("button", name="Delete noise.mp4").click()
    page.get_by_text("None yet.").wait_for()
    assert page.locator(".clip").count() == 0


def test_sample_by_keyboard(home: Opened) -> None:
    home.page.locator("#files").focus()
    home.page.keyboard.press("Tab")
    assert home.page.evaluate("document.activeElement.textContent") == "a sample.mp4"
    home.page.keyboard.press("Enter")
    wait_for_player(home.page)
    assert "a sample.mp4" in home.page.title()


def test_cancel_and_several_files_and_a_refusal(home: Opened, clip: Path, long_clip: Path, tmp_path: Path) -> None:
    page, text = home.page, tmp_path / "<b>notes<b>.mp4"
    text.write_text("no video")
    page.set_input_files("#files", [long_clip, clip])
    cancel = page.get_by_role("button", name="Cancel noise.mp4")
    until(lambda: "frames" in (page.locator(".clip .state").last.text_content() or ""), "at work")
    cancel.click()
    until(lambda: page.locator(".clip", has_text="noise.mp4").count() == 0, "it is gone from the list")
    page.get_by_role("link", name="moving.mp4").wait_for(timeout=60_000)
    # The last of the two that is said: a busy server may remove the one after it has finished the other.
    assert page.locator("#said").text_content().startswith(("moving.mp4: ", "noise.mp4 removed"))
    page.set_input_files("#files", text)
    alert = page.get_by_role("alert").get_by_text("not a video this server knows")
    alert.wait_for()
    assert alert.text_content().startswith("<b>notes<b>.mp4: ")
    assert home.errors.pop().startswith("Failed to load resource: the server responded with a status of 415")


def test_files_can_be_dropped(home: Opened, clip: Path) -> None:
    transfer = home.page.evaluate_handle(
        """bytes => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "dropped.mp4", { type: "video/mp4" }));
          return transfer;
        }""",
        list(clip.read_bytes()),
    )
    home.page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    wait_for_player(home.page)
    assert "dropped.mp4" in home.page.title()


def test_every_file_that_is_refused_is_named(home: Opened, tmp_path: Path) -> None:
    texts = [tmp_path / f"{number}.mp4" for number in range(3)]
    for text in texts:
        text.write_text("no video")
    home.page.set_input_files("#files", texts)
    said = home.page.get_by_role("alert").get_by_text("not a video this server knows")
    until(lambda: home.page.wait_for_timeout(50) or said.count() == 3, "three sentences")
    assert [said.nth(number).text_content()[:5] for number in range(3)] == ["0.mp4", "1.mp4", "2.mp4"]
    assert len(home.errors) == 3  # the browser's own lines about status 415
    home.errors.clear()


@pytest.mark.slow
def test_overlay_video_with_progress(home: Opened, server: Served, many_frames_clip: Path, tmp_path: Path) -> None:
    page = home.page
    page.set_input_files("#files", many_frames_clip)
    wait_for_player(page)
    said, bar = page.locator("#overlay-said"), page.locator("#overlay-progress")
    shares = set[float]()
    with page.expect_download(timeout=120_000) as download:
        page.get_by_role("link", name="Overlay video (MP4)").click()
        until(lambda: said.text_content() == "Drawing", "it says so")
        assert violations(page) == []
        while bar.is_visible():
            shares.add(bar.evaluate("e => e.position"))
            page.wait_for_timeout(50)
    assert len(shares) > 5
    assert max(shares) <= 1
    assert said.text_content() == ""
    assert download.value.suggested_filename == "gray_overlay.mp4"
    download.value.save_as(tmp_path / "overlay.mp4")
    assert len(probe(tmp_path / "overlay.mp4").timestamps) == 600


def test_overlay_video_of_a_clip_that_was_removed(home: Opened, server: Served, clip: Path) -> None:
    home.page.set_input_files("#files", clip)
    wait_for_player(home.page)
    (only,) = server.client.clips()
    server.client.delete(only["id"])
    home.page.get_by_role("link", name="Overlay video (MP4)").click()
    home.page.get_by_text("No overlay video: there is no such clip").wait_for()
    assert home.errors.pop().startswith("Failed to load resource: the server responded with a status of 404")


@pytest.mark.slow
def test_files_wait_for_a_place_in_a_full_queue(
    browser: Any, run: Path, samples: Path, clip: Path, long_clip: Path, tmp_path: Path
) -> None:
    with served(run, tmp_path / "kept", samples=samples, queue=1, workers=1) as server:
        opened = open_page(browser, server.address + "/", READY)
        opened.page.set_input_files("#files", [long_clip, clip, clip, clip])
        opened.page.get_by_text("The queue is full; sent again in").wait_for()
        until(
            lambda: (
                opened.page.wait_for_timeout(100)
                or [status["state"] for status in server.client.clips()] == 4 * ["done"]
            ),
            "all are done",
            90,
        )
        assert opened.page.get_by_role("alert").text_content() == ""
        assert {line.split("status of ")[1][:3] for line in opened.errors} == {"429"}
        opened.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_for_those_who_see_it_otherwise(browser: Any, server: Served, clip: Path, scheme: str) -> None:
    clip_id = server.client.send(clip)
    until(lambda: server.client.status(clip_id)["state"] == "done", "done")
    phone = {"viewport": {"width": 390, "height": 800}, "color_scheme": scheme, "bypass_csp": True}
    for path, ready in (
        ("/", READY + " && document.querySelector('.clip a') !== null"),
        (f"/clips/{clip_id}", "window.whenwhere && whenwhere.video.readyState >= 2"),
        ("/docs", "true"),
    ):
        opened = open_page(browser, server.address + path, ready, **phone)
        assert violations(opened.page) == []
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert opened.errors == [], opened.requests
        opened.page.context.close()
    server.client.delete(clip_id)
