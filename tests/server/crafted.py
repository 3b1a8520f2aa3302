"""Files made to harm whoever opens them."""

from __future__ import annotations

import io
import struct
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image


def write_clip(
    path: Path, codec: str, size: tuple[int, int] = (64, 48), frames: int = 20, pix_fmt: str = "yuv420p"
) -> Path:
    """A small moving picture in any container and codec."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        if codec == "libx264":
            stream.options = {"preset": "ultrafast"}
        for index in range(frames):
            picture = np.zeros((size[1], size[0], 3), np.uint8)
            picture[:, : 1 + index] = 10 * index % 250
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def with_duration(matroska: bytes, seconds: float) -> bytes:
    """A Matroska file whose header says it lasts as long."""
    data = bytearray(matroska)
    at = data.index(b"\x44\x89\x88")  # the element Duration, a float of 8 bytes
    struct.pack_into(">d", data, at + 3, 1000 * seconds)
    return bytes(data)


def huge_gif(path: Path, side: int = 32000) -> bytes:
    """A kilobyte that wants gigabytes when it is decoded: only the size in its header is changed."""
    data = bytearray(write_clip(path, "gif", pix_fmt="rgb8").read_bytes())
    struct.pack_into("<HH", data, 6, side, side)
    return bytes(data)


def huge_jpegs(path: Path, side: int = 16000) -> bytes:
    """An AVI that says 64 x 48 and whose pictures say far more."""
    data = bytearray(write_clip(path, "mjpeg", pix_fmt="yuvj420p").read_bytes())
    at = data.find(b"\xff\xc0\x00\x11\x08")
    found = 0
    while at >= 0:
        struct.pack_into(">HH", data, at + 5, side, side)
        found, at = found + 1, data.find(b"\xff\xc0\x00\x11\x08", at + 1)
    assert found
    return bytes(data)


def many_frames(path: Path, copies: int) -> bytes:
    """One tiny frame, over and over."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=Fraction(10000))
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuvj420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        content = bytes(next(iter(stream.encode(picture))))
        for index in range(copies):
            packet = av.Packet(content)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, index, index, Fraction(1, 10000)
            packet.is_keyframe = True
            container.mux(packet)
    return path.read_bytes()


def no_videos() -> dict[str, bytes]:
    """Other things people send, and playlists, which make a player open other files and addresses."""
    png, packed = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (20, 20)).save(png, "PNG")
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("clip.mp4", b"no")
    return {
        "empty.mp4": b"",
        "text.mp4": b"This is a text.\n" * 50,
        "picture.mp4": png.getvalue(),
        "archive.mp4": packed.getvalue(),
        "list.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "list.mp4": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "session.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    }


def fuzzed(content: bytes, generator: np.random.Generator) -> bytes:
    """Some bytes changed, more often near the start where headers are; sometimes cut off."""
    data = np.frombuffer(content, np.uint8).copy()
    count = int(generator.integers(1, 40))
    reach = len(data) if generator.random() < 0.5 else min(len(data), 1500)
    data[generator.integers(0, reach, count)] = generator.integers(0, 256, count)
    return data.tobytes()[: int(generator.integers(1, len(data))) if generator.random() < 0.2 else None]
