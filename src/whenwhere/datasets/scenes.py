"""What happens in a synthetic clip: which glyph is where in which frame, drawn at random.

Tier A, *what and where show in one frame, when is an interval*: the class is which target glyph appears for a
while. Other glyphs of the same look come and go in the same way, so neither an onset nor a count tells anything.

Tier B, *only the order of the frames tells*: the class is the direction in which the target sweeps during the
interval. Every glyph, target or not, visits the points of two arms of equal length and spacing, one horizontal
and one vertical, inside a random square, each frame another point. A distractor visits them in random order. So
does the target, except that inside the interval it visits one arm from end to end. Hence

* a clip played backwards is a clip of the opposite class (:func:`reverse`), exactly: same frames, same odds;
* the frames of a clip, put in another order, are equally likely a clip of any class with any of its glyphs as
  the target: a model blind to order is at chance in what, in when and in which glyph, whatever it sees;
* a frame from the clip, or from the interval, has the same distribution for every class.

The price: outside the interval a glyph jumps farther per frame than it sweeps inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from whenwhere.datasets.glyphs import (
    DISTRACTORS,
    PALETTE,
    TARGETS,
    draw_glyph,
    finish_frames,
    glyph_box,
    textured_background,
)

DIRECTIONS: dict[str, tuple[int, int]] = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SyntheticOptions:
    """What to render.

    Attributes:
        tier: "A" (which glyph, for how long) or "B" (which way it moves; needs the order of the frames).
        clips: number of clips per split.
        frames: frames per clip, at least 12; the interval is a quarter to a half of them in tier A and
            6 frames to a half of them in tier B.
        size: height and width in pixels.
        seed: other seeds give other clips.
        distractors: number of glyphs beside the target.
        glyph_size: smallest and largest side of a glyph in pixels, before rotation.
        rotation: largest rotation either way in degrees.
        drift: largest speed of a glyph in tier A, pixels per frame.
        speed: smallest and largest speed inside the interval in tier B, pixels per frame.
        noise: standard deviation of the pixel noise, of 255.
    """

    tier: Literal["A", "B"] = "A"
    clips: int = 600
    frames: int = 16
    size: int = 64
    seed: int = 0
    distractors: int = 3
    glyph_size: tuple[float, float] = (10.0, 14.0)
    rotation: float = 12.0
    drift: float = 0.8
    speed: tuple[float, float] = (2.5, 4.0)
    noise: float = 8.0

    def __post_init__(self) -> None:
        if self.tier not in ("A", "B"):
            raise ValueError(f"SyntheticOptions.tier must be 'A' or 'B', got {self.tier!r}")
        if self.frames < 12:
            raise ValueError(f"SyntheticOptions.frames must be at least 12, got {self.frames}")
        if self.seed < 0 or self.clips < 1 or self.distractors < 0:
            raise ValueError("SyntheticOptions needs seed >= 0, clips >= 1 and distractors >= 0")
        reach = (self.interval_lengths[1] - 1) * self.speed[1] if self.tier == "B" else 0.0
        needed = reach + 1.5 * self.glyph_size[1] + 2
        if self.size < needed:
            raise ValueError(
                f"SyntheticOptions.size must be at least {needed:.0f} for these glyphs and speeds, got {self.size}"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        return TARGETS if self.tier == "A" else tuple(DIRECTIONS)

    @property
    def eval_clips(self) -> int:
        """Clips a run is validated on, and as many to test it: a third of those it is trained on."""
        return max(24, self.clips // 3)

    @property
    def interval_lengths(self) -> tuple[int, int]:
        """Shortest and longest interval in frames, both possible."""
        return (self.frames // 4 if self.tier == "A" else 6), self.frames // 2


@dataclass(frozen=True)
class Track:
    """One glyph through a clip: `centers` `(T, 2)` x, y in pixels, `visible` `(T,)` bool, `color` `(3,)` RGB."""

    glyph: str
    size: float
    angle: float
    color: np.ndarray
    centers: np.ndarray
    visible: np.ndarray

    @property
    def boxes(self) -> np.ndarray:
        """`(T, 4)` tight boxes x0, y0, x1, y1 in pixels, whether visible or not."""
        return np.tile(self.centers, 2) + glyph_box(self.glyph, self.size, self.angle)


@dataclass(frozen=True)
class Scene:
    """All that decides the pixels of a clip except for frame brightness and noise; later tracks lie on top."""

    label: int
    interval: tuple[int, int]
    background: np.ndarray
    tracks: tuple[Track, ...]
    target: int


def random_stream(options: SyntheticOptions, index: int, split: str, purpose: int) -> np.random.Generator:
    """A random stream of its own for every (seed, tier, split, index, purpose)."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if not 0 <= index < options.clips:
        raise IndexError(f"clip {index} of {options.clips}")
    return np.random.default_rng([options.seed, ord(options.tier), SPLITS.index(split), index, purpose])


def _random_interval(options: SyntheticOptions, rng: np.random.Generator) -> tuple[int, int]:
    shortest, longest = options.interval_lengths
    length = int(rng.integers(shortest, longest + 1))
    start = int(rng.integers(0, options.frames - length + 1))
    return start, start + length


def _random_look(options: SyntheticOptions, rng: np.random.Generator) -> tuple[float, float, np.ndarray]:
    """Size in pixels, rotation in degrees, colour: the same odds for targets and distractors."""
    size = float(rng.uniform(*options.glyph_size))
    angle = float(rng.uniform(-options.rotation, options.rotation))
    return size, angle, PALETTE[rng.integers(len(PALETTE))]


def _reflect(position: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Bounce off the borders; a uniform start stays uniform at every frame."""
    span = high - low
    phase = np.mod(position - low, 2 * span)
    return low + span - np.abs(phase - span)


def _drifting_track(
    options: SyntheticOptions, rng: np.random.Generator, glyph: str, interval: tuple[int, int]
) -> Track:
    size, angle, color = _random_look(options, rng)
    box = glyph_box(glyph, size, angle)
    low, high = 1 - box[:2], options.size - 1 - box[2:]
    heading = rng.uniform(0, 2 * np.pi)
    velocity = rng.uniform(0, options.drift) * np.array([np.cos(heading), np.sin(heading)])
    frames = np.arange(options.frames)
    centers = _reflect(rng.uniform(low, high) + frames[:, None] * velocity, low, high)
    return Track(glyph, size, angle, color, centers, (frames >= interval[0]) & (frames < interval[1]))


def _overlap(a: Track, b: Track, gap: float = 1.0) -> bool:
    """Whether two glyphs touch in any frame that shows both."""
    first, second = a.boxes, b.boxes
    apart = (first[:, :2] > second[:, 2:] + gap) | (second[:, :2] > first[:, 2:] + gap)
    return bool(np.any(~apart.any(axis=1) & a.visible & b.visible))


def _tier_a(options: SyntheticOptions, rng: np.random.Generator, label: int) -> tuple[tuple[Track, ...], int, tuple]:
    interval = _random_interval(options, rng)
    tracks = [_drifting_track(options, rng, TARGETS[label], interval)]
    for glyph in rng.choice(DISTRACTORS, size=options.distractors):
        shown = _random_interval(options, rng)
        for _ in range(50):  # a crowded clip keeps its last try rather than failing
            track = _drifting_track(options, rng, str(glyph), shown)
            if not any(_overlap(track, other) for other in tracks):
                break
        tracks.append(track)
    return tuple(tracks), 0, interval


def _arms(
    options: SyntheticOptions, rng: np.random.Generator, corner: np.ndarray, length: int, speed: float
) -> np.ndarray:
    """The points a tier B glyph visits, `(T, 2)`: horizontal arm, vertical arm, then the rest at random."""
    steps = np.arange(length)
    rest = rng.integers(length, size=(options.frames - 2 * length, 2))
    horizontal = np.stack([steps, np.full(length, rng.integers(length))], axis=1)
    vertical = np.stack([np.full(length, rng.integers(length)), steps], axis=1)
    return corner + speed * np.concatenate([horizontal, vertical, rest])


def _visiting_order(
    options: SyntheticOptions, rng: np.random.Generator, sweep: tuple[str, tuple[int, int]] | None
) -> np.ndarray:
    """Which of the points of :func:`_arms` a glyph visits in each frame, `(T,)`.

    Args:
        sweep: direction and interval for the target; None for a distractor, whose order is random.
    """
    if sweep is None:
        return rng.permutation(options.frames)
    direction, (start, end) = sweep
    dx, dy = DIRECTIONS[direction]
    arm = np.arange(end - start) + (0 if dx else end - start)
    order = np.empty(options.frames, dtype=int)
    inside = np.zeros(options.frames, dtype=bool)
    inside[start:end] = True
    order[inside] = arm if dx + dy > 0 else arm[::-1]
    order[~inside] = rng.permutation(np.setdiff1d(np.arange(options.frames), arm))
    return order


def _tier_b(options: SyntheticOptions, rng: np.random.Generator, label: int) -> tuple[tuple[Track, ...], int, tuple]:
    interval = _random_interval(options, rng)
    length, speed = interval[1] - interval[0], float(rng.uniform(*options.speed))
    count = options.distractors + 1
    margin = 0.75 * options.glyph_size[1] + 1
    corners: list[np.ndarray] = []
    for _ in range(count):  # of a few squares take the one farthest from the others, so that glyphs rarely collide
        tries = rng.uniform(margin, options.size - margin - (length - 1) * speed, size=(8, 2))
        nearest = [min((np.hypot(*(at - other)) for other in corners), default=0.0) for at in tries]
        corners.append(tries[int(np.argmax(nearest))])
    target = int(rng.integers(count))
    tracks = []
    for i, corner in enumerate(corners):
        sweep = (options.classes[label], interval) if i == target else None
        size, angle, color = _random_look(options, rng)
        points = _arms(options, rng, corner, length, speed)
        centers = points[_visiting_order(options, rng, sweep)]
        glyph = str(rng.choice(TARGETS + DISTRACTORS))
        tracks.append(Track(glyph, size, angle, color, centers, np.ones(options.frames, dtype=bool)))
    return tuple(tracks), target, interval


def sample_scene(options: SyntheticOptions, index: int, split: str) -> Scene:
    """Draw what happens in clip ``index`` of ``split``; labels go round the classes."""
    rng = random_stream(options, index, split, purpose=0)
    label = index % len(options.classes)
    tracks, target, interval = (_tier_a if options.tier == "A" else _tier_b)(options, rng, label)
    return Scene(label, interval, textured_background(rng, options.size), tracks, target)


def draw_scene(scene: Scene, rng: np.random.Generator, noise: float) -> np.ndarray:
    """Pixels of a scene, `(T, 3, size, size)` uint8; the same generator state gives the same noise."""
    frames = np.repeat(scene.background[None], len(scene.tracks[0].centers), axis=0)
    for track in scene.tracks:
        draw_glyph(frames, track.glyph, track.centers, track.size, track.angle, track.color, track.visible)
    return finish_frames(frames, rng, noise)
