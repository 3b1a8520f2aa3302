"""Which frames of a video to look at.

A sampler is called with ``(timestamps, duration, generator)``, the `(N,)` seconds at which frames are shown,
the video's length in seconds and a source of randomness or None, and returns `(T,)` frame numbers that do not
decrease. All but `Strided` go by time, so a variable frame rate does not bend the sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

# Matroska rounds timestamps to milliseconds; a frame counts as shown from one before on, so that asking for
# frame k at k / fps gives frame k.
_EPSILON = 1e-3


def frames_at(timestamps: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`(T,)` numbers of the frames on display at ``times`` `(T,)` seconds: the last one shown by then.

    Times before the first frame give the first, times after the end the last.
    """
    return np.clip(np.searchsorted(timestamps, np.asarray(times) + _EPSILON, side="right") - 1, 0, None)


def windows_around(numbers: np.ndarray, total: int, length: int) -> np.ndarray:
    """`(T, length)` consecutive frame numbers about each of ``numbers`` `(T,)`, moved to lie within ``total`` frames.

    Of seven frames, five about number 3 are 1 2 3 4 5, about number 0 they are 0 1 2 3 4. Where there are fewer than
    ``length`` in all, the last is repeated.
    """
    starts = np.clip(np.asarray(numbers) - length // 2, 0, max(total - length, 0))
    return np.minimum(starts[:, None] + np.arange(length), total - 1)


def _require(owner: object, condition: bool, expected: str) -> None:
    if not condition:
        raise ValueError(f"{owner}: {expected}")


@dataclass(frozen=True)
class Uniform:
    """The frames on display at the same moment of ``frames`` equal time slots: ``moment`` in (0, 1), the centre."""

    frames: int
    moment: float = 0.5

    def __post_init__(self) -> None:
        _require(self, self.frames >= 1, "frames must be at least 1")
        _require(self, 0 < self.moment < 1, "moment must be between 0 and 1")

    def __call__(self, timestamps: np.ndarray, duration: float, generator: torch.Generator | None = None) -> np.ndarray:
        return frames_at(timestamps, (np.arange(self.frames) + self.moment) * duration / self.frames)


@dataclass(frozen=True)
class RandomSegment:
    """One random moment from each of ``frames`` equal time slots (TSN, Wang et al. 2016); centres without generator."""

    frames: int

    def __post_init__(self) -> None:
        _require(self, self.frames >= 1, "frames must be at least 1")

    def __call__(self, timestamps: np.ndarray, duration: float, generator: torch.Generator | None = None) -> np.ndarray:
        if generator is None:
            return Uniform(self.frames)(timestamps, duration)
        offsets = torch.rand(self.frames, generator=generator, dtype=torch.float64).numpy()
        # A moment drawn is not on any grid: no tolerance, which would reach into the next slot.
        return frames_at(timestamps, (np.arange(self.frames) + offsets) * duration / self.frames - _EPSILON)


@dataclass(frozen=True)
class Strided:
    """``frames`` frames, ``stride`` apart: from the middle of the video, or from a random start with a generator.

    A video too short for that gets the largest stride that fits; one with fewer than ``frames`` frames gives
    all of them, repeated evenly.
    """

    frames: int
    stride: int = 1

    def __post_init__(self) -> None:
        _require(self, self.frames >= 1 and self.stride >= 1, "frames and stride must be at least 1")

    def __call__(self, timestamps: np.ndarray, duration: float, generator: torch.Generator | None = None) -> np.ndarray:
        total = len(timestamps)
        if total < self.frames:
            return np.arange(self.frames) * total // self.frames
        stride = min(self.stride, (total - 1) // max(self.frames - 1, 1)) if self.frames > 1 else 1
        room = total - 1 - (self.frames - 1) * stride
        start = room // 2 if generator is None else int(torch.randint(room + 1, (), generator=generator))
        return start + stride * np.arange(self.frames)


@dataclass(frozen=True)
class FixedRate:
    """The frame on display every ``1 / fps`` seconds from the first; frames repeat where the video is slower.

    A video that would give more than ``max_frames`` is covered to its end at a lower rate instead: that many
    frames, at the centres of equal time slots.
    """

    fps: float
    max_frames: int | None = None

    def __post_init__(self) -> None:
        _require(self, self.fps > 0 and math.isfinite(self.fps), "fps must be a positive number")
        _require(self, self.max_frames is None or self.max_frames >= 1, "max_frames must be at least 1")

    def __call__(self, timestamps: np.ndarray, duration: float, generator: torch.Generator | None = None) -> np.ndarray:
        count = max(1, math.ceil((duration - _EPSILON) * self.fps))
        if self.max_frames is not None and count > self.max_frames:
            return Uniform(self.max_frames)(timestamps, duration)
        return frames_at(timestamps, np.arange(count) / self.fps)


@dataclass(frozen=True)
class Window:
    """``frames`` moments ``1 / fps`` seconds apart, from a random start with a generator.

    Without one, ``place`` in [0, 1] says where: 0 at the video's start, 0.5 about its middle. A video too short for
    that is seen from its start to its end at that rate, then its last frame again and again.
    """

    frames: int
    fps: float
    place: float = 0.5

    def __post_init__(self) -> None:
        _require(self, self.frames >= 1, "frames must be at least 1")
        _require(self, self.fps > 0 and math.isfinite(self.fps), "fps must be a positive number")
        _require(self, 0 <= self.place <= 1, "place must be between 0 and 1")

    def __call__(self, timestamps: np.ndarray, duration: float, generator: torch.Generator | None = None) -> np.ndarray:
        room = max(0.0, duration - self.frames / self.fps)
        share = self.place if generator is None else float(torch.rand((), generator=generator, dtype=torch.float64))
        return frames_at(timestamps, room * share + np.arange(self.frames) / self.fps)


def clip_sampler(frames: int, fps: float | None = None, moment: float = 0.5) -> Uniform | Window:
    """How a clip is looked at without chance: ``frames`` over its whole length, or at ``fps`` where that is given.

    Args:
        moment: which of several looks, in (0, 1): the moment of each time slot, or the window's place.
    """
    return Uniform(frames, moment) if fps is None else Window(frames, fps, moment)


@dataclass(frozen=True)
class Between:
    """What ``sampler`` picks from the stretch [start, end) seconds, as if it were the whole video.

    The stretch begins with the frame on display at its start. Of a video that ends earlier, only what there is counts.
    """

    sampler: Callable[[np.ndarray, float, torch.Generator | None], np.ndarray]
    start: float
    end: float

    def __post_init__(self) -> None:
        _require(self, 0 <= self.start < self.end, "needs 0 <= start < end")

    def __call__(self, timestamps: np.ndarray, duration: float, generator: torch.Generator | None = None) -> np.ndarray:
        end = min(self.end, duration)
        _require(self, self.start < end, f"lies behind the end of the video at {duration:.2f} s")
        first = int(frames_at(timestamps, np.array([self.start]))[0])
        last = max(int(np.searchsorted(timestamps, end, side="left")), first + 1)
        return first + self.sampler(timestamps[first:last] - self.start, end - self.start, generator)


def make_sampler(
    name: str, frames: int, stride: int = 2, fps: float = 8.0
) -> Uniform | RandomSegment | Strided | FixedRate | Window:
    """Sampler by its name in a configuration; ``frames`` is the most a fixed rate may give.

    Raises:
        ValueError: the name is unknown.
    """
    match name:
        case "uniform":
            return Uniform(frames)
        case "random_segment":
            return RandomSegment(frames)
        case "strided":
            return Strided(frames, stride)
        case "fixed_rate":
            return FixedRate(fps, max_frames=frames)
        case "window":
            return Window(frames, fps)
    raise ValueError(f"unknown sampler {name!r}; choose uniform, random_segment, strided, fixed_rate or window")
