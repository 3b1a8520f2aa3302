"""Videos with a planted motion: a textured square that moves the same way between any two frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from whenwhere.video import write_video

WIDTH, HEIGHT, SIDE = 128, 96, 40
MOTION = (2, -1)  # pixels a frame, x and y
START = (24, 40)


def texture(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Noise with structure at several scales, `(H, W)` in [20, 235]."""
    generator = np.random.default_rng(seed)
    total = np.zeros(shape)
    for cell in (4, 8):
        coarse = generator.random((-(-shape[0] // cell) + 1, -(-shape[1] // cell) + 1))
        total += np.kron(coarse, np.ones((cell, cell)))[: shape[0], : shape[1]]
    return 20 + 215 * total / 2


def moving_frames(count: int = 12, motion: tuple[int, int] = MOTION) -> np.ndarray:
    """`(T, H, W, 3)` uint8; the background is a texture that stands still."""
    frames = np.repeat(texture((HEIGHT, WIDTH), 0)[None], count, 0)
    square = texture((SIDE, SIDE), 1)
    for number, frame in enumerate(frames):
        left, top = START[0] + motion[0] * number, START[1] + motion[1] * number
        frame[top : top + SIDE, left : left + SIDE] = square
    return np.repeat(frames[..., None], 3, -1).astype(np.uint8)


def inside(number: int, margin: int = 8) -> tuple[slice, slice]:
    """Rows and columns well within the square in frame ``number``."""
    left, top = START[0] + MOTION[0] * number, START[1] + MOTION[1] * number
    return slice(top + margin, top + SIDE - margin), slice(left + margin, left + SIDE - margin)


def write_moving(path: Path, count: int = 12, fps: float = 12.0, motion: tuple[int, int] = MOTION) -> Path:
    write_video(path, moving_frames(count, motion), fps, crf=0, preset="ultrafast")
    return path
