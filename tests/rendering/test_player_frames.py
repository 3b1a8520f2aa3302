"""Every frame of the video has its own attention, however its file counts time, in a real browser."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from browsing import open_page, wait_until
from PIL import Image

from whenwhere.rendering import video_facts, write_report
from whenwhere.structures import Box, Explanation
from whenwhere.video import probe, write_video

pytestmark = pytest.mark.browser


def shown_frame(page: Any, square: Any, count: int) -> int:
    """Number of the frame on show, by the place of its square."""
    wait_until(page, "!whenwhere.video.seeking")
    page.wait_for_timeout(30)  # until the frame that was found is the one on show
    address = page.evaluate(
        """() => { const c = document.createElement("canvas"); c.width = 320; c.height = 240;
        c.getContext("2d").drawImage(whenwhere.video, 0, 0, 320, 240); return c.toDataURL(); }"""
    )
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))).convert("RGB")).astype(int)
    return int(np.argmin([np.abs(seen - square.frame(i)).mean() for i in range(count)]))


def with_box_for_each(explanation: Explanation, path: Path) -> Explanation:
    """The model looked at every frame and gave it a box with its number."""
    info = probe(path)
    times = tuple(info.timestamps.tolist())
    boxes = tuple(Box(time, 10, 10, 50, 50, str(i)) for i, time in enumerate(times))
    even, masks = (1 / len(times),) * len(times), np.zeros((len(times), 2, 2), dtype=np.float32)
    fields: dict[str, Any] = {"times": times, "importance": even, "weights": even, "masks": masks, "boxes": boxes}
    return replace(explanation, path=str(path), duration=info.duration, **fields)


def boxes_of(page: Any) -> list[str]:
    return page.evaluate("whenwhere.panes[0].attention.boxesAt(whenwhere.state.frameTime).map((box) => box.label)")


def test_steps_and_boxes_follow_frames_that_come_unevenly(
    browser: Any, explanation: Explanation, square: Any, tmp_path: Path
) -> None:
    gaps = [0.04, 0.3, 0.02, 0.9, 0.033, 0.033, 0.25, 0.01, 0.4, 0.05]
    times = np.cumsum([0.0, *gaps]).tolist()
    write_video(tmp_path / "uneven.mp4", [square.frame(i) for i in range(len(times))], times)
    facts = video_facts(tmp_path / "uneven.mp4")
    assert facts.frame_times == pytest.approx(times, abs=1e-3)
    write_report(with_box_for_each(explanation, tmp_path / "uneven.mp4"), tmp_path / "report.html")
    page = open_page(browser, tmp_path / "report.html").page
    for step, key in ((1, "ArrowRight"), (-1, "ArrowLeft")):
        for i in range(len(times) - 1):
            page.keyboard.press(key)
            frame = i + 1 if step > 0 else len(times) - 2 - i
            assert shown_frame(page, square, len(times)) == frame
            assert boxes_of(page) == [str(frame)]
    page.keyboard.press("End")
    assert shown_frame(page, square, len(times)) == len(times) - 1
    page.keyboard.press("ArrowRight")  # there is no further one
    assert shown_frame(page, square, len(times)) == len(times) - 1
    page.context.close()


def test_every_frame_that_comes_unevenly_has_its_own_attention(
    browser: Any, explanation: Explanation, square: Any, tmp_path: Path
) -> None:
    times = np.cumsum([0.0, 0.04, 0.3, 0.02, 0.9, 0.033, 0.25, 0.01, 0.4]).tolist()
    path = tmp_path / "uneven.mp4"
    write_video(path, [square.frame(i) for i in range(len(times))], times)
    masks = np.eye(len(times), dtype=np.float32).reshape(len(times), 3, 3)  # cell i is hot in frame i
    write_report(replace(with_box_for_each(explanation, path), masks=masks), tmp_path / "report.html")
    page = open_page(browser, tmp_path / "report.html").page
    for i in range(len(times)):
        page.keyboard.press("ArrowRight" if i else "Home")
        assert shown_frame(page, square, len(times)) == i
        values = page.evaluate("[...whenwhere.panes[0].attention.valuesAt(whenwhere.state.frameTime)]")
        assert values == pytest.approx([float(cell == i) for cell in range(9)], abs=0.02)
    page.context.close()


def write_late(path: Path, frames: Sequence[np.ndarray], **options: Any) -> Path:
    """10 frames a second, of which the first is shown at 0.5 s, without any sound before it."""
    with av.open(str(path), "w", **options) as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for i, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i + 5, Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return path


@pytest.mark.parametrize("flags", ["", "frag_keyframe+empty_moov"])
def test_a_silent_video_that_starts_late_stays_in_step(
    browser: Any, explanation: Explanation, square: Any, tmp_path: Path, flags: str
) -> None:
    path = write_late(
        tmp_path / "late.mp4",
        [square.frame(i) for i in range(20)],
        container_options={"movflags": flags} if flags else {},
    )
    assert video_facts(path).frame_times is None
    write_report(with_box_for_each(explanation, path), tmp_path / "report.html")
    page = open_page(browser, tmp_path / "report.html").page
    for i in (0, 7, 19):
        page.evaluate("seconds => whenwhere.seek(seconds)", i / 10 + 0.05)
        assert shown_frame(page, square, 20) == i
        assert boxes_of(page) == [str(i)]
    page.context.close()
