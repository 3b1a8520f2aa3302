"""Videos whose frames carry their own number, written with PyAV alone, independently of the code under test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

WIDTH, HEIGHT, CELL = 128, 64, 16
RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (30, 30, 220)


def stamped(number: int) -> np.ndarray:
    """(64, 128, 3) frame: red, green and blue in three corners, ``number`` in binary across the middle."""
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    image[:CELL, :CELL], image[:CELL, -CELL:], image[-CELL:, :CELL] = RED, GREEN, BLUE
    for bit in range(WIDTH // CELL):
        image[24:40, bit * CELL : (bit + 1) * CELL] = 235 if number >> bit & 1 else 20
    return image


def number_of(image: np.ndarray) -> int:
    """The number a stamped frame carries; image is (H, W, 3)."""
    return sum(int(image[28:36, b * CELL + 4 : b * CELL + 12].mean() > 128) << b for b in range(WIDTH // CELL))


def encode_video(
    path: Path,
    numbers: Sequence[int] = tuple(range(60)),
    pts: Sequence[int] | None = None,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    time_base: Fraction = Fraction(1, 90000),
    b_frames: int = 2,
    rotation: int | None = None,
    mirror: bool = False,
    format: str | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode stamped frames, 30 a second unless ``pts`` (in ``time_base``) says otherwise, a key frame every 12."""
    with av.open(f"file:{path}", "w", format=format, container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=30, options=options or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        if codec not in ("mjpeg", "rawvideo", "gif"):
            stream.codec_context.max_b_frames, stream.codec_context.gop_size = b_frames, 12
        stream.codec_context.time_base = time_base
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=mirror)
        for i, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(stamped(number), format="rgb24")
            frame.pts = pts[i] if pts is not None else round(i / 30 / time_base)
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def encode() -> Callable[..., Path]:
    return encode_video


@pytest.fixture(scope="session")
def stamp() -> Callable[[int], np.ndarray]:
    return stamped


@pytest.fixture(scope="session")
def read_stamp() -> Callable[[np.ndarray], int]:
    return number_of
