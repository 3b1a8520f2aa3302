"""Small stroke drawings ("glyphs") and the textured grounds they are drawn on.

Every glyph is a set of straight strokes in the unit square, drawn with round caps and the same relative
thickness, so that no glyph stands out by its look: only its shape tells it from another. Three disjoint
pools: ``TARGETS`` (the classes of tier A), ``DISTRACTORS`` (their company) and ``PRETRAINING`` (shapes for
:mod:`whenwhere.features.glyph_pretraining`, never seen in a synthetic clip).

Pixel convention: pixel ``i`` covers ``[i, i + 1)``, so its centre lies at ``i + 0.5``; y points down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

THICKNESS = 0.14
"""Stroke width as a share of the glyph's size."""

PALETTE = np.array(
    [(250, 225, 90), (120, 230, 120), (110, 200, 250), (250, 150, 90), (240, 140, 220), (240, 240, 240)],
    dtype=np.float32,
)
"""Ink colours, RGB in [0, 255]; drawn at random, never by class."""

Points = Sequence[tuple[float, float]]


def _arc(x: float, y: float, radius: float, start: float, stop: float, points: int = 13) -> Points:
    """Part of a circle, degrees clockwise from the right (y points down)."""
    angles = np.radians(np.linspace(start, stop, points))
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


def _random_strokes(seed: int) -> tuple[Points, ...]:
    """Three to five strokes between points of a 3 x 3 grid, connected, always the same for one seed."""
    rng = np.random.default_rng([2027, seed])
    points = [(-1.0 + i % 3, -1.0 + i // 3) for i in range(9)]
    strokes: list[Points] = []
    here = int(rng.integers(9))
    for _ in range(int(rng.integers(3, 6))):
        there = int(rng.choice([i for i in range(9) if i != here]))
        strokes.append([points[here], points[there]])
        here = there
    return tuple(strokes)


_TARGETS: dict[str, tuple[Points, ...]] = {
    "ring": (_arc(0, 0, 1, 0, 360, 17),),
    "triangle": ([(0, -0.9), (1, 0.9), (-1, 0.9), (0, -0.9)],),
    "cross": ([(-1, 0), (1, 0)], [(0, -1), (0, 1)]),
    "arrow": ([(-1, 0), (1, 0)], [(0.1, -0.9), (1, 0), (0.1, 0.9)]),
    "hourglass": ([(-0.9, -1), (0.9, -1), (-0.9, 1), (0.9, 1), (-0.9, -1)],),
    "hash": ([(-0.4, -1), (-0.4, 1)], [(0.4, -1), (0.4, 1)], [(-1, -0.4), (1, -0.4)], [(-1, 0.4), (1, 0.4)]),
}

_DISTRACTORS: dict[str, tuple[Points, ...]] = {
    "square": ([(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9), (-0.9, -0.9)],),
    "diamond": ([(0, -1), (1, 0), (0, 1), (-1, 0), (0, -1)],),
    "saltire": ([(-0.9, -0.9), (0.9, 0.9)], [(0.9, -0.9), (-0.9, 0.9)]),
    "nabla": ([(0, 0.9), (1, -0.9), (-1, -0.9), (0, 0.9)],),
    "crescent": (_arc(0, 0, 1, 50, 310),),
    "chevron": ([(-1, 0.6), (0, -0.6), (1, 0.6)],),
    "tee": ([(-0.9, -1), (0.9, -1)], [(0, -1), (0, 1)]),
    "gate": ([(-0.8, 1), (-0.8, -1), (0.8, -1), (0.8, 1)],),
    "bars": ([(-1, -0.5), (1, -0.5)], [(-1, 0.5), (1, 0.5)]),
}

_LETTERS: dict[str, tuple[Points, ...]] = {
    "A": ([(-0.8, 1), (0, -1), (0.8, 1)], [(-0.45, 0.25), (0.45, 0.25)]),
    "B": ([(-0.6, 1), (-0.6, -1), (0.1, -1)], _arc(0.1, -0.5, 0.5, -90, 90, 7), _arc(0.1, 0.5, 0.5, -90, 90, 7),
          [(-0.6, 0), (0.1, 0)], [(-0.6, 1), (0.1, 1)]),
    "D": ([(-0.3, 1), (-0.7, 1), (-0.7, -1), (-0.3, -1)], _arc(-0.3, 0, 1, -90, 90, 9)),
    "E": ([(0.7, -1), (-0.7, -1), (-0.7, 1), (0.7, 1)], [(-0.7, 0), (0.5, 0)]),
    "F": ([(0.7, -1), (-0.7, -1), (-0.7, 1)], [(-0.7, 0), (0.5, 0)]),
    "H": ([(-0.75, -1), (-0.75, 1)], [(0.75, -1), (0.75, 1)], [(-0.75, 0), (0.75, 0)]),
    "J": ([(0.5, -1), (0.5, 0.4)], _arc(-0.1, 0.4, 0.6, 0, 180, 8)),
    "K": ([(-0.7, -1), (-0.7, 1)], [(0.7, -1), (-0.7, 0), (0.7, 1)]),
    "M": ([(-0.9, 1), (-0.9, -1), (0, 0.3), (0.9, -1), (0.9, 1)],),
    "N": ([(-0.8, 1), (-0.8, -1), (0.8, 1), (0.8, -1)],),
    "P": ([(-0.6, 1), (-0.6, -1), (0.1, -1)], _arc(0.1, -0.45, 0.55, -90, 90, 8), [(-0.6, 0.1), (0.1, 0.1)]),
    "Q": (_arc(-0.1, -0.1, 0.85, 0, 360, 15), [(0.2, 0.2), (1, 1)]),
    "R": ([(-0.6, 1), (-0.6, -1), (0.1, -1)], _arc(0.1, -0.5, 0.5, -90, 90, 8), [(-0.6, 0), (0.1, 0), (0.7, 1)]),
    "S": (_arc(0, -0.5, 0.5, -30, -270, 10), _arc(0, 0.5, 0.5, -90, 150, 10)),
    "U": ([(-0.75, -1), (-0.75, 0.25)], _arc(0, 0.25, 0.75, 0, 180, 9), [(0.75, 0.25), (0.75, -1)]),
    "W": ([(-1, -1), (-0.5, 1), (0, -0.3), (0.5, 1), (1, -1)],),
    "Y": ([(-0.8, -1), (0, 0), (0.8, -1)], [(0, 0), (0, 1)]),
    "2": (_arc(0, -0.4, 0.6, -180, 30, 9), [(0.5, -0.1), (-0.7, 1), (0.7, 1)]),
    "3": (_arc(0, -0.5, 0.5, -150, 90, 9), _arc(0, 0.5, 0.5, -90, 150, 9)),
    "4": ([(0.4, 1), (0.4, -1), (-0.8, 0.4), (0.9, 0.4)],),
    "5": ([(0.6, -1), (-0.6, -1), (-0.6, -0.1)], _arc(-0.1, 0.35, 0.65, -130, 130, 10)),
    "6": (_arc(0, 0.4, 0.6, 0, 360, 13), _arc(0.5, 0.2, 1.1, 180, 250, 6)),
    "7": ([(-0.7, -1), (0.7, -1), (-0.3, 1)],),
    "9": (_arc(0, -0.4, 0.6, 0, 360, 13), [(0.6, -0.4), (0.4, 1)]),
    "psi": (_arc(0, -0.6, 0.8, 0, 180, 9), [(0, -1), (0, 1)]),
    "house": ([(-0.8, 1), (-0.8, -0.1), (0, -1), (0.8, -0.1), (0.8, 1), (-0.8, 1)],),
    "fish": ([(-1, 0), (-0.3, -0.6), (1, 0.6)], [(-1, 0), (-0.3, 0.6), (1, -0.6)]),
    "lollipop": (_arc(0, -0.45, 0.55, 0, 360, 13), [(0, 0.1), (0, 1)]),
    "flag": ([(-0.7, 1), (-0.7, -1), (0.8, -0.5), (-0.7, 0)],),
}  # fmt: skip

_PRETRAINING = _LETTERS | {f"strokes{i:02d}": _random_strokes(i) for i in range(1, 44)}

TARGETS = tuple(_TARGETS)
DISTRACTORS = tuple(_DISTRACTORS)
PRETRAINING = tuple(_PRETRAINING)
_ALL = _TARGETS | _DISTRACTORS | _PRETRAINING


@cache
def glyph_segments(name: str) -> np.ndarray:
    """Strokes of a glyph as straight segments `(S, 2, 2)`, centred, longest half side of its bounding box 1."""
    if name not in _ALL:
        raise ValueError(f"unknown glyph {name!r}; known glyphs are {', '.join(_ALL)}")
    pieces = [np.stack([stroke[:-1], stroke[1:]], axis=1) for stroke in map(np.asarray, _ALL[name])]
    segments = np.concatenate(pieces).astype(np.float64)
    low, high = segments.min(axis=(0, 1)), segments.max(axis=(0, 1))
    segments = (segments - (low + high) / 2) / (max(high - low) / 2)
    segments.setflags(write=False)
    return segments


def _placed_segments(name: str, size: float, angle: float) -> np.ndarray:
    """Segments in pixels relative to the glyph's centre; ``size`` includes the stroke, ``angle`` in degrees."""
    turn = math.radians(angle)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return glyph_segments(name) @ rotation * (size * (1 - THICKNESS) / 2)


def glyph_box(name: str, size: float, angle: float = 0.0) -> np.ndarray:
    """Tight box ``(x0, y0, x1, y1)`` of the ink in pixels, relative to the glyph's centre."""
    segments = _placed_segments(name, size, angle)
    reach = size * THICKNESS / 2
    return np.concatenate([segments.min(axis=(0, 1)) - reach, segments.max(axis=(0, 1)) + reach])


def _coverage(segments: np.ndarray, width: float, points: np.ndarray) -> np.ndarray:
    """Share of ink in [0, 1] at ``points`` `(..., 2)`: the distance to the nearest segment, one pixel soft."""
    start, along = segments[:, 0], segments[:, 1] - segments[:, 0]
    length = np.maximum((along**2).sum(-1), 1e-9)
    offset = points[..., None, :] - start
    share = np.clip((offset * along).sum(-1) / length, 0, 1)
    distance = np.sqrt(((offset - share[..., None] * along) ** 2).sum(-1).min(-1))
    return np.clip(width / 2 - distance + 0.5, 0, 1).astype(np.float32)


def draw_glyph(
    frames: np.ndarray,
    name: str,
    centers: np.ndarray,
    size: float,
    angle: float,
    color: np.ndarray,
    visible: np.ndarray | None = None,
) -> None:
    """Paint one glyph into every frame, in place.

    Args:
        frames: `(T, 3, H, W)` float32, RGB in [0, 255].
        name: which glyph.
        centers: `(T, 2)` x, y of the glyph's centre in pixels; ink outside the frame is cut off.
        size: longest side in pixels, stroke included, before rotation.
        angle: degrees, clockwise on screen.
        color: `(3,)` RGB in [0, 255].
        visible: `(T,)` bool; all frames when None.
    """
    height, width = frames.shape[-2:]
    segments = _placed_segments(name, size, angle)
    box = glyph_box(name, size, angle)
    side = math.ceil(max(box[2] - box[0], box[3] - box[1])) + 3
    shown = np.arange(len(frames)) if visible is None else np.flatnonzero(visible)
    corners = np.floor(centers[shown] + box[:2]).astype(int) - 1
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1) + 0.5
    points = grid + (corners - centers[shown])[:, None, None, :]
    alpha = _coverage(segments, size * THICKNESS, points)
    for t, (x, y), ink in zip(shown, corners, alpha, strict=True):
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
        if left < right and top < bottom:
            patch = frames[t, :, top:bottom, left:right]
            patch += ink[top - y : bottom - y, left - x : right - x] * (color[:, None, None] - patch)


@cache
def _upsampling(coarse: int, size: int) -> np.ndarray:
    """Matrix `(size, coarse)` of linear interpolation."""
    position = np.linspace(0, coarse - 1, size)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(coarse))).astype(np.float32)


def textured_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Random blotches at three scales, `(3, size, size)` float32 in [0, 255], darker than every ink."""
    ground = rng.uniform(45, 95) + rng.uniform(-15, 15, size=(3, 1, 1))
    for coarse, strength in ((4, 18.0), (9, 14.0), (24, 9.0)):
        matrix = _upsampling(coarse, size)
        blotches = rng.normal(size=(1, coarse, coarse)) + 0.5 * rng.normal(size=(3, coarse, coarse))
        ground = ground + strength * (matrix @ blotches @ matrix.T)
    return np.clip(ground, 0, 170).astype(np.float32)


def finish_frames(frames: np.ndarray, rng: np.random.Generator, noise: float = 8.0) -> np.ndarray:
    """Give each frame its own brightness and pixel noise: `(T, 3, H, W)` float32 to uint8.

    Both are independent from frame to frame, so they carry no trace of the order of the frames.
    """
    gain = rng.uniform(0.8, 1.15, size=(len(frames), 1, 1, 1)).astype(np.float32)
    grain = noise * rng.standard_normal(frames.shape, dtype=np.float32)
    return np.clip(np.rint(frames * gain + grain), 0, 255).astype(np.uint8)
