"""A server with tight limits and a token: each limit has its status and sentence."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from crafted import with_duration, write_clip
from serving import Answer, Served, form, served, until

from whenwhere.client import Client, ClientError
from whenwhere.video import write_video

TOKEN = "a secret of this test"


@pytest.fixture(scope="module")
def strict(run: Path, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    limits = {"max_megabytes": 0.2, "max_seconds": 5, "max_pixels": 160 * 120, "max_frames": 60, "queue": 2}
    folder = tmp_path_factory.mktemp("strict") / "kept"
    with served(run, folder, TOKEN, samples=samples, workers=1, upload_seconds=2, **limits) as server:
        yield server


def write_gray(path: Path, frames: int = 20, fps: float = 10, size: tuple[int, int] = (64, 48)) -> Path:
    write_video(path, (np.full((size[1], size[0], 3), 10 + i, np.uint8) for i in range(frames)), fps)
    return path


def send(server: Served, content: bytes, headers: dict[str, str] | None = None) -> Answer:
    body, own = form(content)
    return server.request("POST", "/api/clips", body, {"Authorization": f"Bearer {TOKEN}", **own, **(headers or {})})


def sentence(answer: Answer) -> str:
    return json.loads(answer.content)["detail"]


def begin(server: Served, length: int = 100_000) -> socket.socket:
    """An upload that has begun, and does not go on."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(
        f"POST /api/clips HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\nbegun'.encode()
    )
    return connection


def test_size(strict: Served) -> None:
    answer = send(strict, bytes(300_000))
    assert answer.status == 413
    assert sentence(answer) == "the file is larger than this server takes, 0.2 MB: cut or compress it"
    body, headers = form(bytes(300_000))
    chunks = (body[at : at + 1000] for at in range(0, len(body), 1000))  # without Content-Length
    answer = strict.request("POST", "/api/clips", chunks, {"Authorization": f"Bearer {TOKEN}", **headers})
    assert answer.status == 413
    assert strict.files() == []


def test_duration_pixels_and_frames(strict: Served, tmp_path: Path) -> None:
    answer = send(strict, write_gray(tmp_path / "long.mp4", 55, 10).read_bytes())
    assert answer.status == 422
    assert "lasts 6 s; this server takes up to 5 s" in sentence(answer)
    answer = send(strict, write_gray(tmp_path / "large.mp4", 10, 10, (320, 240)).read_bytes())
    assert answer.status == 422
    assert "320 x 240 pixels; this server takes up to 19200 pixels" in sentence(answer)
    with pytest.raises(ClientError, match="has 70 frames; this server takes up to 60"):
        strict.client.explain(write_gray(tmp_path / "fast.mp4", 70, 50))


def test_a_header_that_says_too_little_is_found_out(strict: Served, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "long.mkv", "libx264", frames=55)
    path.write_bytes(with_duration(path.read_bytes(), 1))
    assert send(strict, path.read_bytes()).status == 202
    with pytest.raises(ClientError, match="lasts 6 s; this server takes up to 5 s") as refused:
        strict.client.explain(path)
    assert refused.value.status == 422


def test_full_queue_and_slow_upload(strict: Served) -> None:
    with begin(strict) as one, begin(strict) as two:
        until(lambda: len(strict.files()) == 2, "both have begun")
        answer = send(strict, b"a third")
        assert answer.status == 429
        assert sentence(answer) == "2 clips wait already; try again in a while"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        for connection in (one, two):
            said = b"".join(iter(lambda connection=connection: connection.recv(4000), b"")).decode()
            assert said.startswith("HTTP/1.1 408")
            assert "the upload took longer than 2 s" in said
    assert strict.files() == []
    assert send(strict, b"a fourth").status == 415  # there is room again


def test_token_by_header_or_cookie(strict: Served) -> None:
    answer = strict.request("GET", "/api/clips")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    for wrong in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ключ".encode()):
        assert strict.request("GET", "/api/clips", headers={"Authorization": wrong}).status == 401  # type: ignore[dict-item]
    with pytest.raises(ClientError, match="a token is needed"):
        Client(strict.address).clips()
    assert isinstance(strict.client.clips(), list)
    asked = strict.request("GET", "/")
    assert asked.status == 401
    assert b"asks for its token" in asked.content
    assert b"not the token" not in asked.content
    wrong_one = strict.request("GET", "/?token=wrong")
    assert wrong_one.status == 401
    assert b"not the token" in wrong_one.content
    assert strict.request("GET", "/clips/any").headers["location"] == "../"
    welcome = strict.request("GET", f"/?token={TOKEN.replace(' ', '%20')}")
    assert welcome.status == 200
    cookie = welcome.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in cookie.split(";")}
    assert TOKEN not in cookie
    name, _, value = cookie.split(";")[0].partition("=")
    assert name.endswith(str(strict.port))  # browsers send cookies to all ports of a host
    assert "Path" not in cookie  # so that it is not sent to what else a proxy serves
    assert strict.request("GET", "/api/clips", headers={"Cookie": f"{name}={value}"}).status == 200
    assert strict.request("GET", "/api/clips", headers={"Cookie": f"{name}=wrong"}).status == 401
    assert TOKEN not in strict.log.read_text()


def test_the_cookie_is_for_https_alone_where_there_is_https(strict: Served) -> None:
    """A proxy on this machine says what it was asked by; nobody else is believed, and there is no proxy otherwise."""
    for scheme, secure in (("https", True), ("http", False), (None, False)):
        headers = {"X-Forwarded-Proto": scheme} if scheme else {}
        cookie = strict.request("GET", f"/?token={TOKEN.replace(' ', '%20')}", headers=headers).headers["set-cookie"]
        assert cookie.endswith("; Secure") is secure


def test_health_is_open_and_says_no_more_than_that(strict: Served) -> None:
    assert strict.request("GET", "/api/health").status == 200
    assert strict.client.health()["limits"]["max_seconds"] == 5


def test_connections_that_ask_for_nothing_are_let_go(strict: Served) -> None:
    """As many as the server takes at all; some have begun a request and never end it."""
    with ExitStack() as stack:
        for number in range(300):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", strict.port)))
            if number % 2:
                connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        until(lambda: strict.request("GET", "/api/health").status == 200, "somebody else is answered again", 15)


def test_connections_that_are_slow_after_an_answer_are_let_go(strict: Served) -> None:
    with socket.create_connection(("127.0.0.1", strict.port), timeout=20) as connection:
        connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(100_000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        while connection.recv(100_000):  # an answer may come in parts
            pass  # the test ends when the server closes, or fails when that takes 20 s


def test_a_form_that_is_all_envelope(strict: Served) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "multipart/form-data; boundary=x"}
    for body in (
        3000 * part + part.replace(b'"a"', b'"file"; filename="a.mp4"') + b"--x--\r\n",
        part.replace(b'"a"', b'"file"; filename="' + 150_000 * b"a" + b'"') + b"--x--\r\n",
        part.replace(b'"a"', b'"file"; filename="a.mp4"') + b"--x--\r\n" + bytes(100_000),
    ):
        answer = strict.request("POST", "/api/clips", body, headers)
        assert answer.status == 422
        assert "the form" in sentence(answer)
    assert strict.files() == []


def test_a_full_disk_is_said(strict: Served, clip: Path) -> None:
    before = resource.prlimit(strict.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(strict.process.pid, resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        answer = send(strict, bytes(50_000))
        assert answer.status == 507
        assert sentence(answer) == "the server has no room for the file; try again later"
    finally:
        resource.prlimit(strict.process.pid, resource.RLIMIT_FSIZE, before)
    assert strict.files() == []
