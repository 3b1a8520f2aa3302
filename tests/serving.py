"""A real server in a process of its own, for tests."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whenwhere.client import Client


@dataclass
class Served:
    """A running server."""

    address: str
    process: subprocess.Popen[bytes]
    folder: Path
    log: Path
    client: Client

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def files(self) -> list[str]:
        """What the server keeps, samples left out."""
        return [
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and "samples" not in path.parts
        ]

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.getheaders()), response.read())
        connection.close()
        return answer

    def decoders(self) -> list[int]:
        """Processes that decode a clip now: the children of the fork server."""
        return [pid for child in children(self.process.pid) for pid in children(child)]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return value


@contextmanager
def served(run: Path, folder: Path, token: str | None = None, **options: Any) -> Iterator[Served]:
    """``whenwhere serve`` with these options, on a free port; it must end well on SIGTERM and leave no file."""
    log = folder.with_suffix(".log")
    folder.mkdir()
    arguments = [f"--{name}={value}" for name, value in options.items()]
    environment = {**os.environ, **({"WHENWHERE_TOKEN": token} if token else {})}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "whenwhere.cli", "serve", f"--model={run}", "--port=0", f"--folder={folder}",
             *arguments],
            stdout=file, stderr=file, env=environment,
        )  # fmt: skip
    try:
        found = until(
            lambda: re.search(r"at (http://\S+:\d+)/", log.read_text()) or process.poll(), "the server starts", 120
        )
        assert isinstance(found, re.Match), log.read_text()
        server = Served(found[1], process, folder, log, Client(found[1], token))
        until(lambda: _answers(server), "the server answers")
        yield server
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert list(folder.iterdir()) == []
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _answers(server: Served) -> bool:
    try:
        return server.request("GET", "/api/health").status == 200
    except OSError:
        return False


def form(content: bytes, name: str = "clip.mp4", field: str = "file") -> tuple[bytes, dict[str, str]]:
    """A multipart form with one file, and its headers; the name is put in as it is."""
    boundary = "b0undary"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
