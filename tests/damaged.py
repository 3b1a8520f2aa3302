"""Files that open and are indexed like any other, but most of whose frames do not decode."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_damaged(path: Path, frames: int = 12, whole: int = 2) -> Path:
    """A video of 6 frames a second whose first ``whole`` frames decode and whose others do not."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=Fraction(6))
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 10 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    overwrite_packets(path, range(whole, frames))
    return path


def overwrite_packets(path: Path, which: range, header: int = 0) -> None:
    """Destroy the content of some video packets in place, but for a container's ``header`` bytes before each."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in packets[which.start : which.stop]:
        data[position + header : position + size] = bytes(size - header)
    path.write_bytes(data)
