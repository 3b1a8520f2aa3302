"""The live page in a real browser, on a stream that is really watched."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import Opened, open_page, wait_until
from fastapi.testclient import TestClient
from PIL import Image
from watching import FRAMES, frame_number, make_run, write_numbered

from whenwhere.errors import WhenwhereError
from whenwhere.recognizer import Recognizer, load
from whenwhere.server.live import CONTENT_SECURITY_POLICY, LiveView, answer_message, live_app, serve_live
from whenwhere.server.options import ServerOptions
from whenwhere.streaming import EventOptions, SourceOptions, Watcher, WatchOptions, watch

OPTIONS = WatchOptions(
    window=FRAMES / 10,
    rate=5,
    source=SourceOptions(loop=True),
    events=EventOptions(start=0.01, end=0.01, shortest=0.2),
)
ANSWERED = "window.whenwhereLive && whenwhereLive.number > 0"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return load(make_run(tmp_path_factory.mktemp("live") / "run"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("clips") / "a <b> & c.mp4", 30)


@dataclass
class Live:
    address: str
    view: LiveView
    watcher: Watcher


def run_live(model: Recognizer, clip: Path, token: str | None = None) -> Iterator[Live]:
    """Watch in one thread, serve from another."""
    shown: list[LiveView] = []
    watcher = watch(clip, model, OPTIONS, lambda event: shown[0].report(event))
    shown.append(LiveView(watcher, clip.name))

    def look() -> None:
        for answer in watcher:
            shown[0].publish(answer)

    thread = threading.Thread(target=look)
    with serve_live(shown[0], ServerOptions(port=0, token=token)) as address:
        thread.start()
        yield Live(address, shown[0], watcher)
        watcher.stop()
        thread.join()


@pytest.fixture
def live(model: Recognizer, clip: Path) -> Iterator[Live]:
    yield from run_live(model, clip)


@pytest.fixture
def guarded(model: Recognizer, clip: Path) -> Iterator[Live]:
    yield from run_live(model, clip, "open sesame")


def messages(address: str, enough: Callable[[list[tuple[str, Any]]], bool]) -> list[tuple[str, Any]]:
    """Server-sent events, until there are enough of them."""
    found: list[tuple[str, Any]] = []
    kind = ""
    with urllib.request.urlopen(address.replace("/live", "/live/events"), timeout=20) as stream:
        for line in stream:
            text = line.decode().rstrip("\n")
            if text.startswith("event: "):
                kind = text.removeprefix("event: ")
            elif text.startswith("data: "):
                found.append((kind, json.loads(text.removeprefix("data: "))))
                if enough(found):
                    return found
    return found


def test_a_stream_of_answers_each_with_its_own_picture(live: Live, model: Recognizer) -> None:
    found = messages(live.address, lambda found: sum(kind == "answer" for kind, _ in found) == 3)
    answers = [data for kind, data in found if kind == "answer"]
    assert found[0][1]["state"] in ("connecting", "filling", "playing")
    numbers = [answer["number"] for answer in answers]
    assert numbers == sorted(set(numbers))
    for answer in answers:
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["frame"]))))
        assert picture.shape == (64, 96, 3)
        assert frame_number(picture) == round(answer["time"] * 10) % 30
        assert {name for name, _ in answer["labels"]} <= set(model.classes)
        assert answer["ages"][-1] == 0
        assert answer["ages"] == sorted(answer["ages"], reverse=True)
        assert sum(answer["importance"]) == pytest.approx(1, abs=1e-3)
        mask = np.frombuffer(base64.b64decode(answer["mask"]["data"]), np.uint8)
        assert len(mask) == answer["mask"]["rows"] * answer["mask"]["columns"]


def test_the_mask_is_relative_to_its_window(live: Live) -> None:
    while live.view._newest is None:
        time.sleep(0.02)
    answer = live.view._newest
    low, high = answer.mask_range
    message = answer_message(answer)
    sent = np.frombuffer(base64.b64decode(message["mask"]["data"]), np.uint8).reshape(answer.mask.shape) / 255
    expected = np.clip((answer.mask - low) / max(high - low, 0.1 * high), 0, 1)
    np.testing.assert_allclose(sent, expected, atol=0.5 / 255 + 1e-6)


def test_the_end_is_told(live: Live) -> None:
    def enough(found: list[tuple[str, Any]]) -> bool:
        if len(found) == 3:
            live.watcher.stop()
            live.view.close()
        return found[-1][1].get("state") == "ended"

    found = messages(live.address, enough)
    assert found[-1][1]["state"] == "ended"
    assert live.view.viewers <= 1


def status_of(address: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_without_its_token_nothing_is_shown(guarded: Live, browser: Any) -> None:
    for path in ("/live", "/live/events", "/live/live.js"):
        address = guarded.address.replace("/live", path)
        assert status_of(address) == 401
        assert status_of(address, Authorization="Bearer open") == 401
    assert status_of(guarded.address, Authorization="Bearer open sesame") == 200
    for style in ("player.css", "home.css"):  # of the page that asks for the token
        assert status_of(guarded.address.replace("/live", f"/static/{style}")) == 200
    opened = open_page(browser, guarded.address + "?token=open%20sesame", ANSWERED)
    assert opened.page.url == guarded.address  # not in the address bar any more
    assert opened.errors == []
    opened.page.context.close()


def test_no_page_elsewhere_can_lead_its_own_name_here(live: Live) -> None:
    assert status_of(live.address, Host="evil.example") == 421
    assert status_of(live.address, Host="localhost") == 200


def test_headers_and_the_limit_of_viewers(model: Recognizer, clip: Path) -> None:
    view = LiveView(watch(clip, model, OPTIONS))
    client = TestClient(live_app(view, ServerOptions()), base_url="http://localhost")
    answer = client.get("/live")
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "a &lt;b&gt; &amp; c.mp4" in answer.text
    assert client.get("/", follow_redirects=False).headers["location"] == "./live"
    view.viewers = 16
    refused = client.get("/live/events")
    assert refused.status_code == 503
    assert "16 are watching already" in refused.json()["detail"]


def test_a_port_that_is_taken_is_said(live: Live) -> None:
    port = int(live.address.rsplit(":", 1)[1].split("/")[0])
    with (
        pytest.raises(WhenwhereError, match=f"cannot listen on 127.0.0.1, port {port}.*--port"),
        serve_live(live.view, ServerOptions(port=port)),
    ):
        pass


def canvas_pixels(page: Any) -> np.ndarray:
    address = page.evaluate("document.getElementById('canvas').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))).convert("RGBA"))


@pytest.fixture
def opened(live: Live, browser: Any) -> Iterator[Opened]:
    opened = open_page(browser, live.address, ANSWERED, viewport={"width": 1200, "height": 900})
    yield opened
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith((live.address.removesuffix("/live"), "data:"))] == []
    opened.page.context.close()


@pytest.mark.browser
def test_the_page_shows_what_is_said(opened: Opened, live: Live, model: Recognizer) -> None:
    page = opened.page
    wait_until(page, "document.getElementById('state').textContent === 'Live.'")
    headline = page.locator("#headline").inner_text()
    assert headline.split(" (")[0] in model.classes
    assert page.locator("#announce").get_attribute("aria-live") == "polite"
    assert page.locator("#announce").inner_text() == headline.split(" (")[0]
    assert page.locator("#labels li").count() == min(5, len(model.classes))
    assert page.locator("#importance").get_attribute("d").startswith("M-9.0,")
    before = page.evaluate("whenwhereLive.number")
    wait_until(page, f"whenwhereLive.number > {before + 2}")
    assert page.evaluate("document.getElementById('frame').naturalWidth") == 96
    wait_until(page, "document.querySelector('#events')?.innerText.includes('goes on')")
    assert page.locator("#events li").count() == 1
    live.watcher._lose()  # as when the source is lost: the open event ends
    wait_until(page, "whenwhereLive.events.length > 0")
    assert "%" in page.locator("#events li").last.inner_text()
    assert page.locator("#no-events").is_hidden()


@pytest.mark.browser
def test_the_mask_can_be_switched_off_and_faded(opened: Opened, live: Live) -> None:
    page = opened.page
    live.watcher.stop()  # the picture stands still
    time.sleep(0.5)
    drawn = canvas_pixels(page)
    assert drawn[..., 3].max() > 0
    page.locator("#show-mask").click()
    assert canvas_pixels(page)[..., 3].max() == 0
    page.keyboard.press("m")
    assert page.locator("#show-mask").is_checked()
    np.testing.assert_array_equal(canvas_pixels(page), drawn)
    page.locator("#opacity").fill("0.2")
    assert 0 < canvas_pixels(page)[..., 3].max() < drawn[..., 3].max()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_accessible_in_every_scheme_and_on_a_phone(live: Live, browser: Any, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    viewport = {"width": width, "height": 800}
    opened = open_page(browser, live.address, ANSWERED, viewport=viewport, color_scheme=scheme, bypass_csp=True)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(opened.page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
    assert opened.errors == []
    opened.page.context.close()


@pytest.mark.browser
def test_a_server_that_goes_away_is_said(model: Recognizer, clip: Path, browser: Any) -> None:
    served = run_live(model, clip)
    live = next(served)
    opened = open_page(browser, live.address, ANSWERED)
    live.view.close()
    wait_until(opened.page, "whenwhereLive.state === 'ended'")
    assert opened.page.locator("#state").inner_text() == "The stream has ended."
    next(served, None)
    opened.page.context.close()
