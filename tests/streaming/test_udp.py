"""A transport stream in datagrams, which come as fast as they are sent and are sent only once."""

from __future__ import annotations

import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from senders import free_udp_port, udp
from watching import FRAMES, frame_number, write_numbered

from whenwhere.recognizer import Recognizer
from whenwhere.streaming import Source, SourceOptions, WatchOptions, watch
from whenwhere.streaming.opening import address, open_source
from whenwhere.streaming.reading import Reader
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


@pytest.mark.slow
def test_a_buffer_that_runs_over_loses_packets_and_not_the_stream(tmp_path: Path) -> None:
    """Nobody reads for as long as the buffer takes to fill, as on a machine that is busy."""
    generator = np.random.default_rng(0)
    clip = tmp_path / "noise.mp4"
    write_video(clip, generator.integers(0, 256, (20, 240, 320, 3), dtype=np.uint8), 10.0)
    port = free_udp_port()
    with udp(clip, port):
        source = Source.parse(f"udp://127.0.0.1:{port}?fifo_size=490")  # 92 kB, less than three pictures
        with open_source(source, SourceOptions()) as opened:
            time.sleep(1.5)
            with Reader(opened) as reader:
                arrived = list(islice(reader.packets(threading.Event()), 30))
    assert len(arrived) == 30
