"""Work on files that nobody can trust, each in a process of its own with limits.

A fork server that has imported everything once starts them in milliseconds. What comes back is JSON and plain bytes,
never pickles: whoever takes over such a process by a crafted file cannot go on from there through its answers.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from whenwhere.server.options import Refusal

log = logging.getLogger("whenwhere.server")

_PRELOADED = "whenwhere.server.decoding"
TOO_LATE = "the clip takes longer than this server allows; send a shorter or smaller one"
_MOST_BYTES = 256_000_000  # of one message
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([_PRELOADED])


@dataclass(frozen=True)
class Limits:
    """Of one process.

    Attributes:
        memory: bytes it may take beyond what it starts with. The system enforces it on Linux.
        cpu_seconds: of processor time.
        file_bytes: of each file it writes.
    """

    memory: int
    cpu_seconds: float
    file_bytes: int

    def apply(self) -> None:
        """Of the process that calls it, for good."""
        pages = int(Path("/proc/self/statm").read_text().split()[5]) if Path("/proc/self/statm").exists() else 0
        memory = pages * resource.getpagesize() + self.memory
        cpu = int(self.cpu_seconds) + 1
        _lower(resource.RLIMIT_DATA, memory, memory)
        _lower(resource.RLIMIT_CPU, cpu, cpu + 1)
        _lower(resource.RLIMIT_FSIZE, self.file_bytes, self.file_bytes)
        _lower(resource.RLIMIT_CORE, 0, 0)


def _lower(which: int, soft: int, hard: int) -> None:
    """Set a limit; where a tighter one holds already, that one stays, for nobody may raise it."""
    held = resource.getrlimit(which)[1]
    if held != resource.RLIM_INFINITY:
        soft, hard = min(soft, held), min(hard, held)
    resource.setrlimit(which, (soft, hard))


class Line:
    """One end of the connection between the server and a process of it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def send(self, message: dict[str, Any], data: bytes | memoryview | None = None) -> None:
        self.connection.send_bytes(json.dumps({**message, "data": data is not None}).encode())
        if data is not None:
            self.connection.send_bytes(data)

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """The next message, and its bytes if it has any."""
        message = json.loads(self.connection.recv_bytes(_MOST_BYTES))
        return message, self.connection.recv_bytes(_MOST_BYTES) if message["data"] else b""


Task = Callable[..., None]


class CancelledError(Exception):
    """Nobody wants the work any more."""


class Worker:
    """The server's end: receives what a task sends until it is done, refuses, dies, is late or is not wanted."""

    def __init__(self, line: Line, process: Any, deadline: float, cancelled: Callable[[], bool]) -> None:
        self._line, self._process, self._deadline, self._cancelled = line, process, deadline, cancelled
        self.pid: int = process.pid

    def send(self, message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError, ConnectionError):  # the next `receive` says what became of it
            self._line.send(message)

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """
        Raises:
            Refusal: the task says so, or its process died or takes too long.
            CancelledError: no longer wanted.
        """
        arrived = False
        while not arrived:
            arrived = self._line.connection.poll(0.1)
            if self._cancelled():
                raise CancelledError
            if time.monotonic() > self._deadline:
                raise Refusal(504, TOO_LATE)
        try:
            message, data = self._line.receive()
        except (EOFError, OSError):
            raise self._lost() from None
        if "error" in message:
            raise Refusal(int(message["status"]), str(message["error"]))
        return message, data

    def _lost(self) -> Refusal:
        self._process.join(5)
        log.warning("a decoding process ended with exit code %s", self._process.exitcode)
        if self._process.exitcode in (-signal.SIGXCPU, -signal.SIGKILL) and time.monotonic() > self._deadline:
            return Refusal(504, TOO_LATE)
        if self._process.exitcode == -signal.SIGXCPU:
            return Refusal(504, "the clip takes more processor time than this server allows; send a shorter one")
        return Refusal(
            422,
            "the clip made its decoder fail; the file is damaged or needs too much memory: convert it and try again",
        )


def start_forking() -> None:
    """Have the fork server import what it needs while its caller, the main thread, does something else.

    Service managers send SIGTERM to all processes of a service; what this one starts ends when it is told to, and with
    the server, so that what is queued can be finished.
    """
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # inherited
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def isolated(
    task: Task, *arguments: Any, limits: Limits, seconds: float, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[Worker]:
    """Run ``task(line, *arguments)`` in a process of its own, which does not outlive the block.

    Args:
        task: a function of a module; its arguments are pickled on the way there.
        limits: of the process.
        seconds: until `Worker.receive` gives up; the process is then ended, should it stop in the middle of a message.
        cancelled: asked ten times a second.
    """
    ours, theirs = _context.Pipe()
    process = _context.Process(target=_run, args=(theirs, task, limits, arguments), daemon=True)
    process.start()
    theirs.close()
    late = threading.Timer(max(seconds, 0) + 0.5, process.kill)
    late.daemon = True
    late.start()
    try:
        yield Worker(Line(ours), process, time.monotonic() + seconds, cancelled)
    finally:
        late.cancel()
        late.join()
        process.kill()
        process.join()
        process.close()
        ours.close()


def _run(connection: Connection, task: Task, limits: Limits, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the server decides what it means
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails, and is reported
    os.nice(5)  # so that the server answers meanwhile
    line = Line(connection)
    try:
        limits.apply()
        task(line, *arguments)
    except Refusal as refusal:
        line.send({"error": str(refusal), "status": refusal.status})
    except BrokenPipeError:
        pass  # the server has lost interest
    except Exception:
        log.exception("a clip could not be worked on")
        line.send(
            {
                "error": "the clip cannot be decoded within the limits of this server; it is damaged or needs too much "
                "memory: convert it and try again",
                "status": 422,
            }
        )
    finally:
        connection.close()
