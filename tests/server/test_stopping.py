"""Signals while clips are at work, and addresses one cannot have."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from serving import Answer, children, form, served, until

from whenwhere.client import ClientError
from whenwhere.structures import Explanation


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_what_is_queued_is_finished(
    run: Path, samples: Path, clip: Path, long_clip: Path, tmp_path: Path, sign: int
) -> None:
    answers: list[Explanation | ClientError] = []

    def ask() -> None:
        try:
            answers.append(server.client.explain(clip))
        except ClientError as error:
            answers.append(error)

    with served(run, tmp_path / "kept", samples=samples, workers=1, grace_seconds=60) as server:
        first = server.client.send(long_clip)
        until(lambda: server.client.status(first)["state"] == "running", "the first is at work")
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: len(server.client.clips()) == 3, "all are there")
        server.process.send_signal(sign)
        until(lambda: server.client.health()["status"] == "stopping", "it stops")
        refused = server.request("POST", "/api/clips", *form(clip.read_bytes()))
        assert refused.status == 503
        assert "shutting down" in json.loads(refused.content)["detail"]
        assert int(refused.headers["retry-after"]) > 0
        for thread in threads:
            thread.join()
        assert server.process.wait(60) == 0
    assert [type(answer) for answer in answers] == [Explanation, Explanation], answers


@pytest.mark.slow
def test_what_is_not_done_within_the_grace_time_is_returned(
    run: Path, samples: Path, long_clip: Path, tmp_path: Path
) -> None:
    with served(run, tmp_path / "kept", samples=samples, workers=1, grace_seconds=0, host="0.0.0.0") as server:
        assert "warning: whoever reaches this address may use it" in server.log.read_text()
        clips = [server.client.send(long_clip) for _ in range(2)]
        until(lambda: server.decoders(), "decoding")
        server.process.send_signal(signal.SIGTERM)
        for clip_id in clips:
            status = until(lambda i=clip_id: (s := server.client.status(i))["state"] == "failed" and s, "returned")
            assert status["error"]["status"] == 503
        assert server.process.wait(30) == 0


def test_an_upload_that_is_under_way_is_returned(run: Path, samples: Path, clip: Path, tmp_path: Path) -> None:
    with (
        served(run, tmp_path / "kept", samples=samples) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection,
    ):
        body, headers = form(clip.read_bytes())
        head = f"POST /api/clips HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        connection.sendall(head.encode() + body[:1000])
        until(server.files, "it has begun")
        server.process.send_signal(signal.SIGTERM)
        said = b"".join(iter(lambda: connection.recv(4000), b"")).decode()
        assert said.startswith("HTTP/1.1 503")
        assert "shutting down" in said
        assert server.process.wait(30) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("grace", "status"), [(180, 200), (1, 503)])
def test_an_overlay_that_is_being_drawn_is_finished_or_returned(
    run: Path, samples: Path, many_frames_clip: Path, tmp_path: Path, grace: float, status: int
) -> None:
    with served(run, tmp_path / "kept", samples=samples, grace_seconds=grace) as server:
        clip_id = server.client.send(many_frames_clip)
        until(lambda: server.client.status(clip_id)["state"] == "done", "done", 180)
        answers: list[Answer] = []
        path = f"/api/clips/{clip_id}/overlay.mp4"
        thread = threading.Thread(target=lambda: answers.append(server.request("GET", path)))
        thread.start()
        until(server.decoders, "it is being drawn")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        thread.join(180)
        assert server.process.wait(180) == 0
        assert status == 200 or time.monotonic() - began < 15
    assert [answer.status for answer in answers] == [status]


@pytest.mark.slow
def test_a_signal_to_all_processes_of_the_server(
    run: Path, samples: Path, clip: Path, long_clip: Path, tmp_path: Path
) -> None:
    """As service managers stop a service: decoders get it too."""
    with served(run, tmp_path / "kept", samples=samples, workers=1, grace_seconds=180) as server:
        first, second = server.client.send(long_clip), server.client.send(clip)
        until(lambda: server.client.status(first)["progress"]["done"] > 0, "decoding")
        for pid in (server.process.pid, *(every for child in children(server.process.pid) for every in family(child))):
            os.kill(pid, signal.SIGTERM)
        ends = [
            until(lambda i=i: (s := server.client.status(i))["state"] in ("done", "failed") and s, "an end", 180)
            for i in (first, second)
        ]
        assert [(end["state"], end["error"]) for end in ends] == [("done", None)] * 2
        assert server.process.wait(60) == 0


def family(pid: int) -> list[int]:
    return [pid, *(other for child in children(pid) for other in family(child))]


@pytest.mark.parametrize("sign", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_while_it_starts_leaves_nothing(run: Path, tmp_path: Path, sign: int) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    command = [sys.executable, "-m", "whenwhere.cli", "serve", f"--model={run}", "--port=0", f"--folder={kept}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until(lambda: list(kept.rglob("samples")), "it is about to listen", 120)
    process.send_signal(sign)
    _, said = process.communicate(timeout=60)
    assert list(kept.iterdir()) == []
    assert b"Traceback" not in said


def test_a_missing_package_is_named(run: Path) -> None:
    code = (
        f"import sys; sys.modules['uvicorn'] = None; from whenwhere.cli import main; main(['serve', '--model={run}'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.strip() == "whenwhere serve: uvicorn is not installed; pip install 'whenwhere[serve]'"


def fail_to_serve(*arguments: str) -> str:
    command = [sys.executable, "-m", "whenwhere.cli", "serve", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_addresses_and_folders_that_cannot_be(run: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1, port {port}" in fail_to_serve(f"--model={run}", f"--port={port}")
    assert "no videos in this folder" in fail_to_serve(f"--model={run}", "--port=0", f"--samples={tmp_path}")
