"""What is kept of a stream, and never more: the newest frames not yet looked at, and the features of a window."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from whenwhere.video import Between

Item = TypeVar("Item")
Picker = Callable[[np.ndarray, float, torch.Generator | None], np.ndarray]


class NewestQueue(Generic[Item]):
    """Hands items from one thread to another and never holds more than ``size``: the oldest gives way.

    Attributes:
        dropped: how many gave way.
    """

    def __init__(self, size: int = 2) -> None:
        self._items: deque[Item] = deque(maxlen=size)
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0

    def put(self, item: Item) -> None:
        with self._changed:
            self.dropped += len(self._items) == self._items.maxlen
            self._items.append(item)
            self._changed.notify()

    def take(self, timeout: float) -> list[Item]:
        """All that wait, oldest first; empty after ``timeout`` seconds without any, or when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            items = list(self._items)
            self._items.clear()
            return items

    def close(self) -> None:
        """Nothing more will be put; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """Closed, and all taken."""
        with self._changed:
            return self._closed and not self._items


class FeatureRing:
    """Features of the frames of the last ``seconds``, each computed once.

    Args:
        seconds: length of the window.
        frames: T, frames in a window; the ring holds at most two more.
    """

    def __init__(self, seconds: float, frames: int) -> None:
        self.seconds, self.step = seconds, seconds / frames
        self._frames: deque[tuple[float, Tensor]] = deque(maxlen=frames + 2)

    def __len__(self) -> int:
        return len(self._frames)

    def push(self, time: float, features: Tensor) -> None:
        """Add a frame's features `(C, H, W)`; ``time`` in seconds is later than the last one's."""
        self._frames.append((time, features))
        # The frame on display when the window begins stays, though it is older.
        while len(self._frames) > 1 and self._frames[1][0] <= self._begin + 1e-6:
            self._frames.popleft()

    def clear(self) -> None:
        self._frames.clear()

    @property
    def full(self) -> bool:
        """Whether there are frames from the window's begin on."""
        return bool(self._frames) and self._frames[0][0] <= self._begin + self.step / 2

    @property
    def _begin(self) -> float:
        return self._frames[-1][0] + self.step - self.seconds  # the newest frame, too, is on display for a step

    def window(self, sampler: Picker) -> tuple[Tensor, np.ndarray, float, float]:
        """The window that ends with the newest frame, or of a stream that is younger all there is.

        Returns:
            Features `(T, C, H, W)` of the frames that ``sampler`` picks, their times `(T,)`, and the window's begin and
            end, in seconds.
        """
        times = np.array([time for time, _ in self._frames])
        end = times[-1] + self.step
        start = self._begin if self.full else times[0]
        numbers = Between(sampler, 0.0, end - start)(times - start, end - start)
        return torch.stack([self._frames[number][1] for number in numbers]), times[numbers], float(start), float(end)
