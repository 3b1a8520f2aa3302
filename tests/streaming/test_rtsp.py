"""RTSP as a network camera speaks it, over TCP, from a small server of this test's own."""

from __future__ import annotations

import re
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from watching import FRAMES, frame_number, write_numbered

from whenwhere.recognizer import Recognizer
from whenwhere.streaming import WatchOptions, watch

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
)


class Interleaved:
    """What the RTP muxer writes, a packet a call, framed for the RTSP connection (RFC 2326, Sec. 10.12)."""

    def __init__(self, connection: socketserver.StreamRequestHandler) -> None:
        self._connection = connection

    def write(self, data: bytes) -> int:
        channel = 1 if 200 <= data[1] <= 204 else 0  # RTCP or RTP
        self._connection.wfile.write(struct.pack(">cBH", b"$", channel, len(data)) + bytes(data))
        return len(data)


class Camera(socketserver.StreamRequestHandler):
    clip: Path
    transports: list[str]

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
                for packet in clip.demux(video=0):
                    if packet.dts is not None:
                        now = float(packet.dts * packet.time_base)
                        first = now if first is None else first
                        time.sleep(max(0.0, start + now - first - time.monotonic()))
                        packet.stream = stream
                        out.mux_one(packet)
        except (OSError, av.FFmpegError):
            pass  # the watcher is gone


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    clip = write_numbered(tmp_path / "camera.ts", 60)
    transports: list[str] = []
    handler = type("OneCamera", (Camera,), {"clip": clip, "transports": transports})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"rtsp://me:secret@127.0.0.1:{server.server_address[1]}/live?key=1", transports
        server.shutdown()


def test_a_camera_is_watched_over_tcp(model: Recognizer, camera: tuple[str, list[str]]) -> None:
    address, transports = camera
    watcher = watch(address, model, WatchOptions(window=FRAMES / 10, rate=10))
    assert "secret" not in watcher.source.name
    guard = threading.Timer(30, watcher.stop)
    guard.start()
    seen = []
    for answer in watcher:
        seen.append((answer.time, frame_number(answer.frame)))
        if len(seen) == 4:
            break
    guard.cancel()
    assert len(seen) == 4
    assert all("TCP" in transport for transport in transports)
    (time_, number), *others = seen
    for later, following in others:
        assert following - number == round(10 * (later - time_))
