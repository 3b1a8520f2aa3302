"""Sends a clip over HTTP as a transport stream without end, in real time: what a network camera does.

A process of its own, ``python -m whenwhere.benchmarks.stream_server CLIP PORT``, so that it can be killed.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_server(clip: Path, port: int, patience: float = 60.0) -> subprocess.Popen[bytes]:
    """Start the process, and wait up to ``patience`` seconds until it answers.

    Raises:
        RuntimeError: it does not.
    """
    process = subprocess.Popen([sys.executable, "-m", __name__, str(clip), str(port)])
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return process
        time.sleep(0.05)
    process.kill()
    process.wait()
    raise RuntimeError(f"the stream server did not start at port {port} within {patience:g} s")


class Handler(BaseHTTPRequestHandler):
    clip = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        try:
            with av.open(self.wfile, "w", format="mpegts", options={"flush_packets": "1"}) as out:
                self.send_for_ever(out)
        except (OSError, av.FFmpegError):
            pass  # the watcher is gone

    def send_for_ever(self, out: av.container.OutputContainer) -> None:
        start, shift = time.monotonic(), 0.0
        stream: Any = None
        while True:
            with av.open(self.clip) as container:
                source: Any = container.streams.video[0]
                stream = stream or out.add_stream_from_template(source)
                base = float(source.time_base)
                packets: Iterator[Any] = container.demux(source)
                for packet in packets:
                    if packet.dts is None:
                        continue
                    time.sleep(max(0.0, start + shift + packet.dts * base - time.monotonic()))
                    packet.pts += round(shift / base)
                    packet.dts += round(shift / base)
                    packet.stream = stream
                    out.mux_one(packet)
                shift += float(source.duration * source.time_base)

    def log_message(self, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    Handler.clip = sys.argv[1]
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
