"""The thread that reads: no packet waits in a socket, or for those before it to be decoded."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from whenwhere.streaming.opening import Opened

_TICKS = 90000
_AHEAD = 32  # packets that a recording is read ahead
_MOST, _MOST_BYTES = 5000, 64_000_000  # packets of a live source that wait to be decoded


@dataclass(frozen=True, eq=False)
class Arrived:
    """A packet of PyAV, and the seconds of ``time.monotonic()`` at which it came."""

    packet: Any
    arrival: float


class Reader(threading.Thread):
    """Reads packets from a source as they come, for as long as the block lasts.

    Packets of a source without timestamps get the time at which they came: the ones that FFmpeg makes up, 25 frames a
    second, say nothing.

    Args:
        opened: the source; nobody else may read from it.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(name="reading", daemon=True)
        self._opened = opened
        self._most = _AHEAD if opened.recorded else _MOST
        self._held: deque[Arrived] = deque()
        self._bytes = self._keys = 0
        self._changed = threading.Condition()
        self._stopped = self._over = False
        self._error: Exception | None = None
        self._begun, self._last = time.monotonic(), -1

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.join()  # the source must not be closed while it is read; a read takes SourceOptions.timeout at most

    def run(self) -> None:
        try:
            for packet in self._opened.container.demux(self._opened.stream):
                arrived = Arrived(packet, time.monotonic())
                if self._opened.clockless and packet.size:
                    self._stamp(arrived)
                if not self._put(arrived):
                    break
        except Exception as error:  # it is raised where packets are waited for
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _stamp(self, arrived: Arrived) -> None:
        self._last = max(round((arrived.arrival - self._begun) * _TICKS), self._last + 1)
        arrived.packet.time_base = Fraction(1, _TICKS)
        arrived.packet.pts = arrived.packet.dts = self._last

    def _put(self, arrived: Arrived) -> bool:
        """Wait until there is room; False: stopped."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or (len(self._held) < self._most and self._bytes < _MOST_BYTES)
            )
            self._held.append(arrived)
            self._bytes += arrived.packet.size
            self._keys += bool(arrived.packet.is_keyframe)
            self._changed.notify_all()
            return not self._stopped

    def packets(self, stopped: threading.Event) -> Iterator[Arrived]:
        """Packets until the source ends or ``stopped`` is set.

        Raises:
            av.FFmpegError: the source is lost, or cannot be read.
        """
        while not stopped.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._held or self._over, timeout=0.1)
                if not self._held and self._over:
                    if self._error is not None:
                        raise self._error
                    return
                arrived = self._pop() if self._held else None
            if arrived is not None:
                yield arrived

    def skip(self, due: Callable[[Arrived], bool]) -> list[Arrived] | None:
        """Take the packets before the newest key frame that waits and is due; None, where there is none."""
        with self._changed:
            keys = [
                number
                for number, each in enumerate(self._held if self._keys else ())
                if each.packet.is_keyframe and due(each)
            ]
            return [self._pop() for _ in range(keys[-1])] if keys else None

    def _pop(self) -> Arrived:
        arrived = self._held.popleft()
        self._bytes -= arrived.packet.size
        self._keys -= bool(arrived.packet.is_keyframe)
        self._changed.notify_all()
        return arrived
