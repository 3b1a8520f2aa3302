"""A camera that sends JPEGs over HTTP, ten a second, without a word about time."""

from __future__ import annotations

import threading
from itertools import islice, pairwise
from pathlib import Path

import pytest
from senders import http, motion_jpeg
from watching import FRAMES, frame_number

from whenwhere.recognizer import Recognizer
from whenwhere.streaming import (
    ClipOptions,
    EventOptions,
    ReportedEvent,
    Source,
    SourceOptions,
    WatchOptions,
    watch,
)
from whenwhere.streaming.opening import open_source
from whenwhere.streaming.reading import Reader
from whenwhere.video import iter_frames

TOLERANCE = 0.7  # seconds by which a busy machine may be late; at 25 frames a second four seconds are two


@pytest.mark.slow
def test_time_is_that_of_arrival(model: Recognizer, tmp_path: Path) -> None:
    told: list[ReportedEvent] = []
    sent: list[float] = []
    options = WatchOptions(
        window=FRAMES / 10,
        rate=10,
        events=EventOptions(start=0.01, end=0.01, shortest=0.3),  # the model has no skill
        clips=ClipOptions(tmp_path, before=0.0, after=0.0),
    )
    with http(motion_jpeg(10, sent)) as address:
        watcher = watch(f"{address}/video", model, options, told.append, pytest.fail)
        guard = threading.Timer(60, watcher.stop)
        guard.start()
        seen = []
        for answer in watcher:
            seen.append((answer.time, answer.wall, frame_number(answer.frame)))
            if seen[-1][2] >= 45:
                break
        guard.cancel()
    assert seen[-1][2] >= 45
    for time_, wall, number in seen:
        assert time_ == pytest.approx(sent[number] - sent[0], abs=TOLERANCE)
        assert wall == pytest.approx(sent[number], abs=TOLERANCE)
    assert watcher.statistics.reconnections == 0
    (event,) = told
    assert event.event.end - event.event.start == pytest.approx(event.end_utc - event.start_utc)
    assert event.event.end > 2.5
    assert event.clip is not None
    shown = [(moment, frame_number(image)) for moment, image in iter_frames(event.clip)]
    assert [number for _, number in shown] == list(range(shown[0][1], shown[-1][1] + 1))
    (begun, first), (ended, last) = shown[0], shown[-1]
    assert ended - begun == pytest.approx(sent[last] - sent[first], abs=TOLERANCE)


def test_frames_that_come_at_once_stay_in_order() -> None:
    """A network that holds frames back delivers many in a moment."""
    with (
        http(motion_jpeg(1e6, [])) as address,
        open_source(Source.parse(address), SourceOptions()) as opened,
        Reader(opened) as reader,
    ):
        arrived = list(islice(reader.packets(threading.Event()), 200))
    assert opened.clockless
    stamps = [float(each.packet.pts * each.packet.time_base) for each in arrived]
    assert all(later > earlier for earlier, later in pairwise(stamps))
    passed = arrived[-1].arrival - arrived[0].arrival
    assert stamps[-1] - stamps[0] == pytest.approx(passed, abs=0.01)
