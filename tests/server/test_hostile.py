"""Files and clients that mean harm: a clear answer, the server goes on, and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crafted import fuzzed, huge_gif, huge_jpegs, many_frames, no_videos, with_duration, write_clip
from serving import Served, form, until

from whenwhere.client import ClientError


def outcome(server: Served, content: bytes, name: str = "clip.mp4") -> tuple[int, str]:
    """Status and sentence that a file ends with: of the answer, or of the job; 200 when it was explained."""
    answer = server.request("POST", "/api/clips", *form(content, name))
    said = json.loads(answer.content)
    if answer.status != 202:
        return answer.status, said["detail"]
    status: dict[str, Any] = until(
        lambda: (s := server.client.status(said["id"]))["state"] in ("done", "failed") and s, "the clip ends", 120
    )
    server.client.delete(said["id"])
    return (200, "") if status["state"] == "done" else (status["error"]["status"], status["error"]["message"])


@pytest.fixture(autouse=True)
def nothing_left(server: Served, clip: Path) -> Any:
    yield
    assert server.process.poll() is None
    until(lambda: not server.files() and not server.decoders(), "files and processes are gone")
    assert server.client.explain(clip).path == "moving.mp4"
    assert str(server.folder) not in server.log.read_text()


@pytest.mark.parametrize("name", list(no_videos()))
def test_other_files_are_no_videos(server: Served, name: str) -> None:
    status, sentence = outcome(server, no_videos()[name], name)
    assert status == 415
    assert "send MP4" in sentence or "is empty" in sentence
    assert str(server.folder) not in sentence


def test_a_day_in_the_header_is_too_long(server: Served, tmp_path: Path) -> None:
    assert outcome(server, with_duration(write_clip(tmp_path / "day.mkv", "libx264").read_bytes(), 24 * 3600)) == (
        422,
        "the clip lasts 86400 s; this server takes up to 600 s: cut it shorter",
    )


def test_frames_larger_than_allowed_are_refused_before_they_are_decoded(server: Served, tmp_path: Path) -> None:
    status, sentence = outcome(server, write_clip(tmp_path / "8k.mp4", "libx264", (7680, 4320), 2).read_bytes())
    assert status == 422
    assert "7680 x 4320 pixels" in sentence
    began = time.monotonic()
    status, sentence = outcome(server, huge_gif(tmp_path / "bomb.gif"))
    assert status == 422
    assert "decoded" in sentence
    assert time.monotonic() - began < 10


def test_a_header_that_hides_huge_frames_fails_alone(server: Served, tmp_path: Path) -> None:
    status, sentence = outcome(server, huge_jpegs(tmp_path / "lie.avi"))
    assert status == 422
    assert "16000 x 16000 pixels" in sentence or "decode" in sentence


@pytest.mark.slow
def test_too_many_frames_are_refused(server: Served, tmp_path: Path) -> None:
    status, sentence = outcome(server, many_frames(tmp_path / "many.mkv", 100_001))
    assert status == 422
    assert "has 100001 frames; this server takes up to 100000" in sentence


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system.ini", "system.ini"),
        ("a\0b.mp4", "ab.mp4"),
        ("/", "clip"),
        ("..", "clip"),
        ("", "clip"),
        ("x" * 3000 + ".mp4", "x" * 39 + "…" + "x" * 35 + ".mp4"),
        ("клип ‮4pm.mp4", "клип 4pm.mp4"),
        ("<script>alert(1)<%2fscript>.mp4", "<script>alert(1)<%2fscript>.mp4"),
    ],
)
def test_names_are_shown_and_never_used(server: Served, clip: Path, name: str, shown: str) -> None:
    answer = server.request("POST", "/api/clips", *form(clip.read_bytes(), name))
    assert answer.status == 202
    status = json.loads(answer.content)
    assert status["name"] == shown
    until(lambda: server.client.status(status["id"])["state"] == "done", "done")
    assert set(map(os.path.basename, server.files())) == {"upload", "explanation.json", "thumbnail.jpg"}
    page = server.request("GET", f"/clips/{status['id']}").content.decode()
    assert "<script>alert" not in page
    assert server.request("GET", f"/api/clips/{status['id']}/overlay.mp4").status == 200  # its name is in a header
    server.client.delete(status["id"])


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4")])
def test_fuzzed_containers_end_in_a_sentence(server: Served, tmp_path: Path, suffix: str, codec: str) -> None:
    content = write_clip(tmp_path / f"clip.{suffix}", codec).read_bytes()
    generator = np.random.default_rng(len(suffix) + len(codec))
    ends = [outcome(server, fuzzed(content, generator), f"fuzzed.{suffix}") for _ in range(20)]
    assert {status for status, _ in ends} <= {200, 415, 422}
    assert any(status != 200 for status, _ in ends)
    for status, sentence in ends:
        assert status == 200 or 10 < len(sentence) < 300
        assert "/" not in sentence.replace("and/or", "")


def test_a_cut_connection_leaves_nothing(server: Served, clip: Path) -> None:
    body, headers = form(clip.read_bytes())
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST /api/clips HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        connection.sendall(head.encode() + body[:1000])
        until(server.files, "the server has begun to write")
    until(lambda: not server.files(), "nothing is left of it")
    assert server.client.clips() == []


FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="a.mp4"\r\n\r\n'


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"anything", "text/plain", 415),
        (b"anything", "multipart/form-data", 415),
        (b"anything", FORM, 422),
        (PART % b"file" + b"not whole", FORM, 422),
        (PART % b"other" + b"whole\r\n--x--\r\n", FORM, 422),
    ],
)
def test_forms_that_hold_no_file_are_refused(server: Served, body: bytes, kind: str, status: int) -> None:
    assert server.request("POST", "/api/clips", body, {"Content-Type": kind}).status == status


def test_a_killed_decoder_is_an_error_of_its_clip_alone(server: Served, long_clip: Path) -> None:
    clip_id = server.client.send(long_clip)
    until(lambda: server.client.status(clip_id)["progress"]["done"] > 0, "decoding")
    (pid,) = server.decoders()
    os.kill(pid, signal.SIGKILL)
    until(lambda: server.client.status(clip_id)["state"] == "failed", "the clip fails")
    assert server.client.status(clip_id)["error"]["status"] == 422
    with pytest.raises(ClientError, match="made its decoder fail"):
        server.client.explanation(clip_id)
    server.client.delete(clip_id)
