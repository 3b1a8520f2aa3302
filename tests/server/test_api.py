"""The JSON API of a running server, with real files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from serving import Served, form, until

from whenwhere.client import Client, ClientError
from whenwhere.recognizer import load
from whenwhere.rendering import video_facts
from whenwhere.video import probe


@pytest.fixture
def sent(server: Served, clip: Path) -> Iterator[str]:
    """A clip that is done."""
    clip_id = server.client.send(clip)
    until(lambda: server.client.status(clip_id)["state"] == "done", "the clip is done")
    yield clip_id
    server.client.delete(clip_id)


def test_explanation_is_that_of_the_recogniser(server: Served, run: Path, clip: Path) -> None:
    seen: list[dict[str, Any]] = []
    explanation = server.client.explain(clip, say=seen.append)
    expected = load(run).explain(clip)
    assert explanation.labels == expected.labels
    assert (explanation.times, explanation.segments, explanation.boxes) == (
        expected.times,
        expected.segments,
        expected.boxes,
    )
    np.testing.assert_allclose(explanation.masks, expected.masks, atol=1e-4)  # rounded in the file
    np.testing.assert_allclose(explanation.importance, expected.importance, atol=1e-6)
    assert (explanation.path, explanation.model) == ("moving.mp4", "tiny")  # no folder of the server
    assert seen[-1]["state"] == "done"
    assert seen[-1]["label"] == expected.label
    assert server.files() == []  # explain leaves nothing there


def test_events_tell_real_progress_to_the_end(server: Served, long_clip: Path) -> None:
    clip_id = server.client.send(long_clip)
    answer = server.request("GET", f"/api/clips/{clip_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in answer.content.decode().splitlines() if line.startswith("data: ")]
    phases = list(dict.fromkeys(event["phase"] for event in events))
    order = ["queued", "decoding", "computing", "writing", "done"]
    assert phases == [phase for phase in order if phase in phases]
    assert {"decoding", "done"} <= set(phases)
    decoding = [event["progress"] for event in events if event["phase"] == "decoding" and event["progress"]["total"]]
    assert {progress["total"] for progress in decoding} == {12}  # the frames the model looks at
    assert len({progress["done"] for progress in decoding}) > 2
    assert [p["done"] for p in decoding] == sorted(p["done"] for p in decoding)
    server.client.delete(clip_id)


def test_video_takes_ranges(server: Served, clip: Path, sent: str) -> None:
    path, whole = f"/api/clips/{sent}/video", clip.read_bytes()
    assert server.request("GET", path).content == whole
    part = server.request("GET", path, headers={"Range": "bytes=100-199"})
    assert (part.status, part.content) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    assert server.request("GET", path, headers={"Range": "bytes=-10"}).content == whole[-10:]
    assert server.request("GET", path, headers={"Range": f"bytes={len(whole)}-"}).status == 416


def test_overlay_and_thumbnail_are_made(server: Served, sent: str, tmp_path: Path) -> None:
    overlay, thumbnail = tmp_path / "overlay.mp4", tmp_path / "thumbnail.jpg"
    overlay.write_bytes(server.request("GET", f"/api/clips/{sent}/overlay.mp4").content)
    thumbnail.write_bytes(server.request("GET", f"/api/clips/{sent}/thumbnail.jpg").content)
    assert len(probe(overlay).timestamps) == 30
    assert Image.open(thumbnail).size == (160, 120)


def test_video_that_browsers_cannot_play_is_played_as_h264(server: Served, clip: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "old.avi"
    with av.open(str(foreign), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(12):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * shade, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    clip_id = server.client.send(foreign)
    until(lambda: server.client.status(clip_id)["state"] == "done", "done")
    played = tmp_path / "played.mp4"
    played.write_bytes(server.request("GET", f"/api/clips/{clip_id}/video").content)
    assert video_facts(played).playable
    assert len(probe(played).timestamps) == 12
    server.client.delete(clip_id)


def test_deleting_a_clip_at_work_stops_it_and_leaves_nothing(server: Served, clip: Path, long_clip: Path) -> None:
    clip_id = server.client.send(long_clip)
    until(lambda: server.client.status(clip_id)["phase"] == "decoding" and server.decoders(), "decoding")
    answer = server.request("GET", f"/api/clips/{clip_id}/explanation")
    assert answer.status == 409
    assert "not done yet" in json.loads(answer.content)["detail"]
    assert server.request("DELETE", f"/api/clips/{clip_id}").status == 204
    assert server.request("GET", f"/api/clips/{clip_id}").status == 404
    until(lambda: not server.files() and not server.decoders(), "process and files are gone")
    server.client.explain(clip)  # the next one is none the worse


def test_deleting_a_clip_in_the_queue_moves_the_others_up(server: Served, long_clip: Path, clip: Path) -> None:
    ids = [server.client.send(long_clip) for _ in range(2)] + [server.client.send(clip) for _ in range(2)]
    positions = {status["id"]: status["position"] for status in server.client.clips()}
    assert positions[ids[3]] == 2
    server.client.delete(ids[2])
    assert server.client.status(ids[3])["position"] == 1
    for clip_id in ids:
        server.client.delete(clip_id)
    until(lambda: not server.files(), "nothing is left")


def test_what_is_not_there_is_404(server: Served) -> None:
    for method, path in (
        ("GET", "/api/clips/nothing"),
        ("DELETE", "/api/clips/nothing"),
        ("GET", "/api/clips/nothing/video"),
        ("GET", "/api/clips/..%2f..%2fetc%2fpasswd/video"),
        ("GET", "/static/..%2foptions.py"),
        ("POST", "/api/samples/..%2f..%2fetc%2fpasswd"),
        ("POST", "/api/samples/nothing"),
    ):
        assert server.request(method, path).status == 404, path
    assert server.files() == []


def test_samples_are_explained_as_if_they_had_been_sent(server: Served) -> None:
    assert json.loads(server.request("GET", "/api/samples").content) == ["a sample.mp4"]
    answer = server.request("POST", "/api/samples/a%20sample.mp4")
    assert answer.status == 202
    clip_id = json.loads(answer.content)["id"]
    until(lambda: server.client.status(clip_id)["state"] == "done", "done")
    assert server.client.explanation(clip_id).path == "a sample.mp4"
    server.client.delete(clip_id)


def test_api_describes_itself_without_asking_anybody_outside(server: Served) -> None:
    described = json.loads(server.request("GET", "/openapi.json").content)
    assert set(described["paths"]["/api/clips"]) == {"get", "post"}
    assert {"202", "408", "413", "415", "422", "429", "503"} <= set(
        described["paths"]["/api/clips"]["post"]["responses"]
    )
    page = server.request("GET", "/docs").content.decode()
    for path in described["paths"]:
        assert path in page
    assert "://" not in page


def test_client_says_what_is_wrong(server: Served, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"no answer .* check that `whenwhere serve` runs"):
        Client("http://127.0.0.1:9", timeout=5).health()
    with pytest.raises(ClientError, match="expected http://HOST:PORT"):
        Client("127.0.0.1:8000")
    text = tmp_path / "notes.txt"
    text.write_text("not a video")
    with pytest.raises(ClientError, match="not a video this server knows") as refused:
        server.client.explain(text)
    assert refused.value.status == 415


def test_client_tells_its_own_faults_from_the_connection(server: Served, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        server.client.explain(tmp_path)
    with pytest.raises(FileNotFoundError):
        server.client.explain(tmp_path / "none.mp4")


def test_client_leaves_nothing_when_it_is_interrupted(server: Served, long_clip: Path) -> None:
    def interrupt(status: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.client.explain(long_clip, say=interrupt)
    assert server.client.clips() == []
    until(lambda: not server.files(), "nothing is left")


def test_requests_of_other_pages_and_other_names_are_refused(server: Served, clip: Path) -> None:
    body, headers = form(clip.read_bytes())
    own = f"http://127.0.0.1:{server.port}"
    for extra, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": own, "Sec-Fetch-Site": "same-origin"}, 202),
    ):
        answer = server.request("POST", "/api/clips", body, {**headers, **extra})
        assert answer.status == status, extra
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert server.request("GET", "/", headers={"Host": "evil.example"}).status == 421
    (only,) = server.client.clips()
    server.client.delete(only["id"])
    until(lambda: not server.files(), "nothing is left")
