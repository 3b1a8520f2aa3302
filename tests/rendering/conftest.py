"""A small real video of a moving square and an explanation of it with known attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from whenwhere.structures import Box, Explanation, Segment

WIDTH, HEIGHT, FPS, COUNT = 320, 240, 10, 30


@dataclass(frozen=True)
class MovingSquare:
    """A white square of 40 pixels on gray that moves right by 8 pixels a frame."""

    path: Path
    times: tuple[float, ...]

    @staticmethod
    def frame(index: int) -> np.ndarray:
        picture = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
        picture[100:140, 8 * index : 8 * index + 40] = 255
        return picture


@pytest.fixture(scope="session")
def write_square() -> Callable[..., MovingSquare]:
    """Writes the moving square, with a codec of choice."""

    def write(path: Path, codec: str = "libx264") -> MovingSquare:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=FPS)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for i in range(COUNT):
                frame = av.VideoFrame.from_ndarray(MovingSquare.frame(i), format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, FPS)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return MovingSquare(path, tuple(i / FPS for i in range(COUNT)))

    return write


@pytest.fixture(scope="session")
def square(tmp_path_factory: pytest.TempPathFactory, write_square: Callable[..., MovingSquare]) -> MovingSquare:
    return write_square(tmp_path_factory.mktemp("video") / "square.mp4")


@pytest.fixture(scope="session")
def explanation(square: MovingSquare) -> Explanation:
    """Attention is 1 in the top left cell of a 4 x 4 grid at 1.2 s, and 0 everywhere else and at other times.

    The grid covers the middle 240 x 240 pixels. Importance peaks at 1.2 s too; the bottom right has a
    box at 2.4 s only.
    """
    times = (0.0, 0.6, 1.2, 1.8, 2.4)
    masks = np.zeros((5, 4, 4), dtype=np.float32)
    masks[2, 0, 0] = 1.0
    return Explanation(
        path=str(square.path),
        width=WIDTH,
        height=HEIGHT,
        duration=COUNT / FPS,
        labels=(("slide <right>", 0.87), ("slide left", 0.13)),
        times=times,
        importance=(0.05, 0.2, 0.5, 0.2, 0.05),
        weights=(0.2, 0.2, 0.2, 0.2, 0.2),
        masks=masks,
        mask_area=(40.0, 0.0, 280.0, 240.0),
        segments=(Segment(0.9, 1.5, "slide <right>", 0.8), Segment(2.0, 2.6, "slide left", 0.3)),
        boxes=(Box(2.4, 200, 150, 300, 220, "slide <right>", 0.66),),
        model="planted",
    )
