"""RTSP as a network camera speaks it, over TCP, from a small server of this test's own."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import av
import pytest
from watching import FRAMES, frame_number, write_numbered

from whenwhere.recognizer import Recognizer
from whenwhere.streaming import SourceOptions, Watcher, WatchOptions, watch

OPTIONS = WatchOptions(window=FRAMES / 10, rate=10)

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
)


class Interleaved:
    """What the RTP muxer writes, a packet a call, framed for the RTSP connection (RFC 2326, Sec. 10.12)."""

    def __init__(self, connection: Camera) -> None:
        self._connection = connection

    def write(self, data: bytes) -> int:
        channel = 1 if 200 <= data[1] <= 204 else 0  # RTCP or RTP
        if channel == 0:
            told = struct.unpack_from(">I", data, 4)[0] + round(90000 * self._connection.jump)
            data = data[:4] + struct.pack(">I", told % 2**32) + data[8:]
        self._connection.wfile.write(struct.pack(">cBH", b"$", channel, len(data)) + bytes(data))
        return len(data)


class Camera(socketserver.StreamRequestHandler):
    clip: Path
    transports: list[str]
    jumps: ClassVar[dict[int, float]] = {}  # seconds by which timestamps are wrong from a frame on
    jump = 0.0

    def handle(self) -> None:
        while head := self._request():
            method, number, transport = head
            if method == "DESCRIBE":
                self._answer(number, "Content-Type: application/sdp\r\n", SDP)
            elif method == "SETUP":
                self.transports.append(transport)
                self._answer(number, f"Session: 1\r\nTransport: {transport}\r\n")
            else:
                self._answer(number, "Session: 1\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n")
            if method == "PLAY":
                self._play()
                return

    def _request(self) -> tuple[str, str, str] | None:
        lines = []
        while (line := self.rfile.readline().decode().strip()) or not lines:
            if not line:
                return None
            lines.append(line)
        text = "\n".join(lines)
        found = re.search(r"(?im)^transport: *(.*)$", text)
        number = re.search(r"(?im)^cseq: *(\d+)$", text)
        assert number is not None
        return lines[0].split()[0], number[1], found[1] if found else ""

    def _answer(self, number: str, headers: str, body: str = "") -> None:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{headers}{length}\r\n{body}".encode())

    def _play(self) -> None:
        start = time.monotonic()
        try:
            with (
                av.open(str(self.clip)) as clip,
                av.open(
                    Interleaved(self),
                    "w",
                    format="rtp",
                    options={"packetsize": "1400"},
                    container_options={"packetsize": "1400"},
                ) as out,
            ):
                stream = out.add_stream_from_template(clip.streams.video[0])
                first = None
                for number, packet in enumerate(clip.demux(video=0)):
                    if packet.dts is not None:
                        self.jump = self.jumps.get(number, self.jump)
                        now = float(packet.dts * packet.time_base)
                        first = now if first is None else first
                        time.sleep(max(0.0, start + now - first - time.monotonic()))
                        packet.stream = stream
                        out.mux_one(packet)
        except (OSError, av.FFmpegError):
            pass  # the watcher is gone


class Server(socketserver.ThreadingTCPServer):
    """Cameras at one port, which can be cut off in the middle of a picture."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, **settings: object) -> None:
        super().__init__(("127.0.0.1", port), type("OneCamera", (Camera,), settings))
        self._open: list[socket.socket] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def kill(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def address(self) -> str:
        return f"rtsp://me:secret@127.0.0.1:{self.server_address[1]}/live?key=1"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("rtsp") / "camera.ts", 60)


@contextlib.contextmanager
def guarded(watcher: Watcher) -> Iterator[None]:
    """A watch that gives no answers ends, too."""
    guard = threading.Timer(60, watcher.stop)
    guard.start()
    try:
        yield
    finally:
        guard.cancel()


def test_a_camera_is_watched_over_tcp(model: Recognizer, clip: Path) -> None:
    transports: list[str] = []
    server = Server(0, clip=clip, transports=transports)
    watcher = watch(server.address, model, OPTIONS)
    assert "secret" not in watcher.source.name
    seen = []
    with guarded(watcher):
        for answer in watcher:
            seen.append((answer.time, frame_number(answer.frame)))
            if len(seen) == 4:
                break
    server.kill()
    assert len(seen) == 4
    assert all("TCP" in transport for transport in transports)
    (time_, number), *others = seen
    for later, following in others:
        assert following - number == round(10 * (later - time_))


@pytest.mark.slow
def test_timestamps_that_jump_do_not_stop_time(model: Recognizer, clip: Path) -> None:
    """An hour ahead, and two hours back: as cameras do that set their clock."""
    server = Server(0, clip=clip, transports=[], jumps={20: 3600.0, 40: -3600.0})
    watcher = watch(server.address, model, OPTIONS)
    seen = []
    with guarded(watcher):
        for answer in watcher:
            seen.append((answer.time, frame_number(answer.frame)))
            if seen[-1][1] >= 50 or watcher.statistics.reconnections:
                break
    server.kill()
    assert watcher.statistics.reconnections == 0
    assert seen[-1][1] >= 50
    for (time_, number), (later, following) in pairwise(seen):
        assert later > time_
        assert following > number
        assert later - time_ == pytest.approx((following - number) / 10, abs=1.0)  # by the clock, across a jump


@pytest.mark.slow
def test_a_camera_that_is_killed_and_comes_back_is_found(model: Recognizer, clip: Path) -> None:
    servers = [Server(0, clip=clip, transports=[])]
    port = servers[0].server_address[1]
    waits: list[str] = []

    def log(text: str) -> None:
        if "trying again in" in text:
            waits.append(text)
            if len(waits) == 3:
                servers.append(Server(port, clip=clip, transports=[]))

    source = SourceOptions(first_wait=0.1, longest_wait=0.2, timeout=5.0)
    watcher = watch(servers[0].address, model, replace(OPTIONS, source=source), log=log)
    times = []
    with guarded(watcher):
        for answer in watcher:
            times.append(answer.time)
            if len(times) == 2:
                servers[0].kill()
            if watcher.statistics.reconnections and len(times) >= 6:
                break
    for server in servers:
        server.kill()
    assert watcher.statistics.reconnections == 1
    assert len(waits) >= 3
    assert all("secret" not in text for text in waits)
    assert all(later > earlier for earlier, later in pairwise(times))
    assert max(later - earlier for earlier, later in pairwise(times)) > 1.2  # a whole new window
