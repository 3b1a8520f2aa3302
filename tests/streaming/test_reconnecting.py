"""A stream over HTTP from a process that is killed."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from watching import FRAMES

from whenwhere.benchmarks.stream_server import free_port, start_server
from whenwhere.recognizer import Recognizer
from whenwhere.streaming import EventOptions, ReportedEvent, SourceError, SourceOptions, WatchOptions, watch


@pytest.mark.slow
def test_a_stream_whose_server_is_killed_is_found_again(model: Recognizer, clip: Path) -> None:
    port = free_port()
    servers = [start_server(clip, port)]
    waits: list[float] = []
    told: list[ReportedEvent] = []

    def log(text: str) -> None:
        if "trying again in" in text:
            waits.append(float(text.rpartition(" in ")[2].removesuffix(" s")))
            if len(waits) == 4:  # only now it comes back
                servers.append(start_server(clip, port))

    options = WatchOptions(
        window=FRAMES / 10,
        rate=5,
        source=SourceOptions(first_wait=0.2, longest_wait=0.8),
        events=EventOptions(0.01, 0.01, 0.2),
    )
    watcher = watch(f"http://user:secret@127.0.0.1:{port}/", model, options, told.append, log)
    guard = threading.Timer(60, watcher.stop)
    guard.start()
    seen: list[float] = []
    try:
        for answer in watcher:
            seen.append(answer.time)
            if len(seen) == 3:
                os.kill(servers[0].pid, signal.SIGKILL)
            if watcher.statistics.reconnections and len(seen) >= 9:
                break
    finally:
        guard.cancel()
        for server in servers:
            server.kill()
            server.wait()
    assert watcher.statistics.reconnections == 1
    assert len(waits) >= 4
    assert waits[0] <= 0.2
    assert waits[2] > waits[0]
    assert max(waits) <= 0.8
    assert all(later > earlier for earlier, later in pairwise(seen))
    gaps = [later - earlier for earlier, later in pairwise(seen)]
    assert max(gaps) > 1.2  # a whole new window before the first answer
    assert len(told) >= 2  # what was open when the source was lost ended there
    assert all("secret" not in reported.source for reported in told)


def test_giving_up_is_an_error_that_names_the_source_but_no_password(model: Recognizer) -> None:
    options = WatchOptions(source=SourceOptions(retries=1, first_wait=0.01))
    start = time.monotonic()
    with pytest.raises(SourceError, match="tried 1 times again") as error:
        list(watch(f"http://me:secret@127.0.0.1:{free_port()}/x", model, options))
    assert "secret" not in str(error.value)
    assert time.monotonic() - start < 20


def test_a_server_that_says_nothing_counts_as_lost(model: Recognizer) -> None:
    port = free_port()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", port))
        listening.listen(8)
        options = WatchOptions(source=SourceOptions(retries=1, first_wait=0.01, timeout=0.3))
        start = time.monotonic()
        with pytest.raises(SourceError, match="tried 1 times again"):
            list(watch(f"http://127.0.0.1:{port}/", model, options))
        assert time.monotonic() - start < 20
