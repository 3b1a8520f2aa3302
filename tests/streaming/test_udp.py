"""A transport stream in datagrams, which come as fast as they are sent and are sent only once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from senders import free_udp_port, udp
from watching import FRAMES, frame_number, write_numbered

from whenwhere.recognizer import Recognizer
from whenwhere.streaming import Source, SourceOptions, WatchOptions, watch
from whenwhere.streaming.opening import address
from whenwhere.video import write_video

OPTIONS = WatchOptions(window=FRAMES / 10, rate=10, source=SourceOptions(first_wait=0.1))


@pytest.mark.parametrize(
    "told, asked",
    [
        ("udp://127.0.0.1:9", "udp://127.0.0.1:9?overrun_nonfatal=1&fifo_size=131072"),
        ("udp://@:9?fifo_size=7", "udp://@:9?fifo_size=7&overrun_nonfatal=1"),
        ("UDP://@239.0.0.1:9?overrun_nonfatal=0&ttl=2", "udp://@239.0.0.1:9?overrun_nonfatal=0&ttl=2&fifo_size=131072"),
        ("http://127.0.0.1/x?a=1", "http://127.0.0.1/x?a=1"),
        ("rtsp://me:p@ss@cam/s?key=1", "rtsp://me:p@ss@cam/s?key=1"),
    ],
)
def test_an_overrun_is_no_reason_to_connect_again(told: str, asked: str) -> None:
    assert address(Source.parse(told)) == asked


def test_a_transport_stream_is_watched(model: Recognizer, tmp_path: Path) -> None:
    port = free_udp_port()
    watcher = watch(f"udp://127.0.0.1:{port}", model, OPTIONS)
    guard = threading.Timer(60, watcher.stop)
    guard.start()
    seen = []
    with udp(write_numbered(tmp_path / "camera.ts", 100), port):
        for answer in watcher:
            seen.append((answer.time, frame_number(answer.frame)))
            if len(seen) == 10:
                break
    guard.cancel()
    assert len(seen) == 10
    (time_, number), *others = seen
    for later, following in others:
        assert (following - number) % 100 == round(10 * (later - time_)) % 100
    assert watcher.statistics.reconnections == 0


def test_a_buffer_that_runs_over_loses_packets_and_not_the_stream(model: Recognizer, tmp_path: Path) -> None:
    """Each picture is a hundred datagrams, and the buffer asked for holds seven."""
    port = free_udp_port()
    generator = np.random.default_rng(0)
    clip = tmp_path / "noise.mp4"
    write_video(clip, generator.integers(0, 256, (20, 240, 320, 3), dtype=np.uint8), 10.0)
    watcher = watch(f"udp://127.0.0.1:{port}?fifo_size=49", model, OPTIONS)
    guard = threading.Timer(60, watcher.stop)
    guard.start()
    with udp(clip, port):
        for answer in watcher:
            if answer.time > 3.0 or watcher.statistics.reconnections:
                break
    guard.cancel()
    assert watcher.statistics.reconnections == 0
    assert answer.time > 3.0
