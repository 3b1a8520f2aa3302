"""HLS, whose frames come a segment at a time, in several qualities."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path

import pytest
from senders import hls_master, http, live_playlist, send_file, write_hls
from watching import FRAMES, frame_number

from whenwhere.recognizer import Recognizer
from whenwhere.streaming import SourceOptions, Watcher, WatchOptions, watch
from whenwhere.streaming.source import Pace

LARGE, SMALL = (192, 128), (96, 64)
OPTIONS = WatchOptions(window=FRAMES / 10, rate=10, source=SourceOptions(first_wait=0.1))
VARIANTS = [("small", *SMALL, 90_000), ("large", *LARGE, 400_000), ("middle", *SMALL, 300_000)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hls")
    for name, width, height, _ in VARIANTS:
        write_hls(folder / name, width, height, seconds=16)
    return folder


def watched(watcher: Watcher, until: float) -> list[tuple[float, float, int]]:
    """Time, seconds since 1970, and number of frames of answers until a time of the stream; sizes are checked."""
    guard = threading.Timer(60, watcher.stop)
    guard.start()
    seen = []
    for answer in watcher:
        assert answer.frame.shape[1::-1] == LARGE
        seen.append((answer.time, answer.wall, frame_number(answer.frame)))
        if answer.time >= until:
            break
    guard.cancel()
    return seen


def check_pace(watcher: Watcher, seen: list[tuple[float, float, int]]) -> None:
    """Frames are shown when they are due, one by one: of a burst all but two would be dropped."""
    for (time_, wall, number), (later, later_wall, following) in pairwise(seen):
        assert following - number == round(10 * (later - time_))
        assert later_wall - wall == pytest.approx(later - time_, abs=1.0)
    assert watcher.statistics.dropped <= watcher.statistics.decoded / 3
    assert watcher.statistics.reconnections == 0


@pytest.mark.slow
def test_a_recording_is_played_at_its_own_rate_in_the_best_quality(model: Recognizer, folder: Path) -> None:
    asked: list[str] = []

    def reply(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        name = request.path.strip("/")
        send_file(request, hls_master(VARIANTS).encode() if name == "all.m3u8" else (folder / name).read_bytes())

    with http(reply) as address:
        watcher = watch(f"{address}/all.m3u8", model, OPTIONS)
        start = time.monotonic()
        seen = watched(watcher, 7.0)
        assert time.monotonic() - start >= 6.9
    check_pace(watcher, seen)
    assert all(number == round(10 * time_) for time_, _, number in seen)
    segments = [path.split("/")[1] for path in asked if path.endswith(".ts")]
    # Of the others only what FFmpeg looks at to know them.
    assert max(segments.count("small"), segments.count("middle")) <= segments.count("large") / 2


def live(folder: Path, begin: float, ends: int | None = None) -> object:
    """Two segments a second apart were there before ``begin``; the stream ends after ``ends`` segments."""

    def reply(request: BaseHTTPRequestHandler) -> None:
        name = request.path.strip("/")
        if name == "all.m3u8":
            send_file(request, hls_master(VARIANTS).encode())
        elif name.endswith(".m3u8"):
            published = 5 + int(time.monotonic() - begin)
            over = ends is not None and published >= ends
            send_file(request, live_playlist(min(published, ends or 16), ended=over).encode())
        else:
            send_file(request, (folder / name).read_bytes())

    return reply


@pytest.mark.slow
def test_a_live_stream_is_joined_at_its_end_and_paced(model: Recognizer, folder: Path) -> None:
    with http(live(folder, time.monotonic())) as address:  # type: ignore[arg-type]
        watcher = watch(f"{address}/all.m3u8", model, OPTIONS)
        seen = watched(watcher, 6.0)
    assert seen[-1][0] >= 6.0
    check_pace(watcher, seen)
    first = seen[0][2] - round(10 * seen[0][0])
    assert first >= 40  # the newest segment of the five published, or later


@pytest.mark.slow
def test_a_live_stream_that_is_ended_by_its_sender_ends(model: Recognizer, folder: Path) -> None:
    """It is a recording then, and would be played from its begin on if it were opened again."""
    with http(live(folder, time.monotonic(), ends=9)) as address:  # type: ignore[arg-type]
        watcher = watch(f"{address}/all.m3u8", model, OPTIONS)
        seen = watched(watcher, 60.0)
    assert 80 <= seen[-1][2] <= 89
    assert watcher.statistics.reconnections == 0


def test_what_comes_late_is_shown_late_and_time_to_spare_is_taken_back() -> None:
    """Segments of two seconds that come just in time, one that is late, and then again in time."""
    pace = Pace(live=True)
    delays = []
    for segment in range(60):
        came = 2.0 * segment + (1.5 if segment == 5 else 0.0)
        for frame in range(20):
            time_ = 2.0 * segment + frame / 10
            due = pace.due(time_, came)
            assert due >= came
            delays.append(due - time_)
    assert delays[:100] == pytest.approx([0.0] * 100)
    assert delays[100:120] == pytest.approx([1.5] * 20)
    assert delays[-1] == pytest.approx(0.5)  # what is kept to spare
    assert all(earlier - later <= 0.25 + 1e-9 for earlier, later in pairwise(delays))


def test_a_recording_that_is_decoded_late_is_not_hurried_for_ever() -> None:
    pace = Pace(live=False)
    assert pace.due(0.0, 100.0) == 100.0
    assert pace.due(1.0, 100.2) == 101.0
    assert pace.due(2.0, 102.8) == 102.0  # a little late: it is caught up with
    assert pace.due(3.0, 106.0) == 106.0  # seconds late: it goes on from there
    assert pace.due(4.0, 106.5) == 107.0
