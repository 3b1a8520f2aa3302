"""Drawing a clip's overlay video: asked for, followed, given up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Answer, Served, until

from whenwhere.video import probe


@pytest.fixture
def done(server: Served, many_frames_clip: Path) -> Iterator[str]:
    """A clip that is done, and whose overlay takes long to draw."""
    clip_id = server.client.send(many_frames_clip)
    until(lambda: server.client.status(clip_id)["state"] == "done", "the clip is done", 60)
    yield clip_id
    server.client.delete(clip_id)
    until(lambda: not server.files() and not server.decoders(), "nothing is left")


def ask(server: Served, clip_id: str, count: int) -> tuple[list[threading.Thread], list[Answer]]:
    """That many ask for the overlay at once."""
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.request("GET", f"/api/clips/{clip_id}/overlay.mp4")))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads, answers


def test_its_progress_is_told(server: Served, clip: Path, tmp_path: Path) -> None:
    clip_id = server.client.send(clip)
    path = f"/api/clips/{clip_id}/overlay"
    if server.client.status(clip_id)["state"] != "done":
        assert server.request("POST", path).status == 409
    until(lambda: server.client.status(clip_id)["state"] == "done", "the clip is done")
    assert server.client.status(clip_id)["overlay"] == {
        "state": "none",
        "progress": {"done": 0, "total": 0},
        "error": None,
    }
    answer = server.request("POST", path)
    assert answer.status == 202
    seen = [json.loads(answer.content)["overlay"]]
    until(lambda: seen.append(server.client.status(clip_id)["overlay"]) or seen[-1]["state"] == "done", "it is drawn")
    assert {overlay["state"] for overlay in seen} <= {"queued", "drawing", "done"}
    drawing = [overlay["progress"] for overlay in seen if overlay["state"] == "drawing"]
    assert {progress["total"] for progress in drawing} == {30}
    assert [progress["done"] for progress in drawing] == sorted(progress["done"] for progress in drawing)
    began = time.monotonic()
    (tmp_path / "overlay.mp4").write_bytes(server.request("GET", f"{path}.mp4").content)
    assert time.monotonic() - began < 1  # it is there
    assert len(probe(tmp_path / "overlay.mp4").timestamps) == 30
    server.client.delete(clip_id)
    assert server.request("POST", path).status == 404


@pytest.mark.slow
def test_many_who_wait_for_it_do_not_keep_others_from_being_answered(server: Served, done: str) -> None:
    threads, answers = ask(server, done, 60)
    until(server.decoders, "it is being drawn")
    time.sleep(0.5)  # so that all of them have asked
    began = time.monotonic()
    assert server.client.status(done)["state"] == "done"
    assert time.monotonic() - began < 3
    assert not answers
    server.client.delete(done)
    for thread in threads:
        thread.join(20)
    assert {answer.status for answer in answers} == {404}
    assert len(answers) == 60
