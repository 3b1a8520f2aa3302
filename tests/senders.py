"""Who sends streams to tests: a camera of motion JPEG, a folder of HLS, a transport stream over UDP."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from watching import numbered_frame

Reply = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def http(reply: Reply) -> Iterator[str]:
    """Answers every request by ``reply``, for as long as the block lasts; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError, av.FFmpegError):  # who watches is gone
                reply(self)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def jpeg(image: np.ndarray) -> bytes:
    picture = io.BytesIO()
    Image.fromarray(image).save(picture, "JPEG")
    return picture.getvalue()


def motion_jpeg(fps: float, sent: list[float], pictures: list[bytes] | None = None) -> Reply:
    """JPEGs in one multipart answer; ``sent`` gets seconds since 1970 of each. None: numbered frames, each once."""
    numbered = pictures is None
    pictures = pictures or [jpeg(numbered_frame(number)) for number in range(256)]

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=--frame")
        request.end_headers()
        sent.clear()
        start = time.monotonic()
        for number in range(256) if numbered else count():
            time.sleep(max(0.0, start + number / fps - time.monotonic()))
            sent.append(time.time())
            data = pictures[number % len(pictures)]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            request.wfile.write(head.encode() + data + b"\r\n")

    return reply


def write_hls(folder: Path, width: int, height: int, seconds: int, fps: int = 10) -> None:
    """Numbered frames, a segment a second: ``index.m3u8``, ``index0.ts``, ``index1.ts``, ..."""
    folder.mkdir()
    options = {"hls_time": "1", "hls_list_size": "0"}
    with av.open(str(folder / "index.m3u8"), "w", format="hls", options=options) as out:
        stream = out.add_stream("libx264", rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = fps
        stream.codec_context.options = {"sc_threshold": "0", "preset": "ultrafast"}
        for number in range(seconds * fps):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_frame(number, width, height), format="rgb24")))
        out.mux(stream.encode(None))


def hls_master(variants: list[tuple[str, int, int, int]]) -> str:
    """A playlist of playlists: name of the folder, width, height, bits a second."""
    lines = ["#EXTM3U"]
    for name, width, height, rate in variants:
        lines += [f"#EXT-X-STREAM-INF:BANDWIDTH={rate},RESOLUTION={width}x{height}", f"{name}/index.m3u8"]
    return "\n".join([*lines, ""])


def live_playlist(published: int, kept: int = 4, ended: bool = False) -> str:
    """Of the newest ``kept`` of the ``published`` first segments, a second each."""
    first = max(0, published - kept)
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for number in range(first, published):
        lines += ["#EXTINF:1.0,", f"index{number}.ts"]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""])


def send_file(request: BaseHTTPRequestHandler, data: bytes, kind: str = "video/mp2t") -> None:
    request.send_response(200)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def udp(clip: Path, port: int) -> Iterator[None]:
    """Sends a clip's packets in real time, again and again, as a transport stream in datagrams."""
    stopped = threading.Event()

    def send() -> None:
        start, shift = time.monotonic(), 0.0
        stream: Any = None
        with av.open(f"udp://127.0.0.1:{port}?pkt_size=1316", "w", format="mpegts") as out:
            while not stopped.is_set():
                with av.open(str(clip)) as container:
                    source = container.streams.video[0]
                    stream = stream or out.add_stream_from_template(source)
                    base = float(source.time_base)
                    for packet in container.demux(source):
                        if packet.dts is None or stopped.is_set():
                            continue
                        time.sleep(max(0.0, start + shift + packet.dts * base - time.monotonic()))
                        packet.pts += round(shift / base)
                        packet.dts += round(shift / base)
                        packet.stream = stream
                        out.mux_one(packet)
                    shift += float(source.duration * source.time_base)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        yield
    finally:
        stopped.set()
        sender.join(30)
