"""From answers to events: a label that holds for a while, with a begin and an end."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from whenwhere.errors import WhenwhereError


@dataclass(frozen=True)
class EventOptions:
    """When a label counts as an event.

    Attributes:
        start: probability from which on a label begins an event.
        end: probability below which it ends; lower than ``start``, so that an answer in between changes nothing.
        shortest: seconds for which a label must hold; what is shorter is not told.
        ignore: labels that are never an event.
    """

    start: float = 0.6
    end: float = 0.4
    shortest: float = 1.0
    ignore: tuple[str, ...] = ("background",)

    def __post_init__(self) -> None:
        if not 0 < self.end <= self.start <= 1:
            raise ValueError(f"EventOptions needs 0 < end <= start <= 1, got start={self.start}, end={self.end}")
        if not self.shortest >= 0:
            raise ValueError(f"EventOptions.shortest must be at least 0 seconds, got {self.shortest}")


@dataclass(frozen=True)
class Event:
    """A label that held.

    Attributes:
        label: name of the class.
        start, end: seconds of the stream: the moments to which attention points in the first and last answer; not
            before the last event's end.
        score: mean probability of the label over the event's answers.
        peak: the greatest.
        answers: how many there were.
    """

    label: str
    start: float
    end: float
    score: float
    peak: float
    answers: int


class EventDetector:
    """Hysteresis over answers; at most one event is open at a time.

    An event begins when the most probable label that is not ignored reaches ``options.start``. It ends when its
    probability falls below ``options.end``, or when another label, ignored or not, reaches ``options.start``.

    Attributes:
        label: of the open event; None: none is open.
        begun: where the open event begins, seconds.
    """

    def __init__(self, options: EventOptions | None = None) -> None:
        self.options = options or EventOptions()
        self.label: str | None = None
        self.begun = self._end = self._first = self._last = 0.0
        self._sum = self._peak = 0.0
        self._answers = 0
        self._told = -math.inf  # end of the last event told

    @property
    def confirmed(self) -> bool:
        """The open event has lasted as long as an event must."""
        return self.label is not None and self._last - self._first >= self.options.shortest - 1e-9

    def update(self, time: float, moment: float, probabilities: Mapping[str, float]) -> Event | None:
        """Take one answer; returns the event that it ends, if that was long enough.

        Args:
            time: seconds of the newest frame the answer is about, later than the last one's.
            moment: seconds to which its attention points.
            probabilities: of every label.
        """
        top = max(probabilities, key=lambda name: probabilities[name])
        sure = probabilities[top] >= self.options.start
        ended = None
        if self.label is not None and (
            probabilities.get(self.label, 0.0) < self.options.end or (sure and top != self.label)
        ):
            ended = self.close()
        if self.label is None and sure and top not in self.options.ignore:
            # Attention may point to what was the last event's already.
            self.label, self.begun, self._first = top, max(moment, self._told), time
            self._sum, self._peak, self._answers, self._end = 0.0, 0.0, 0, self.begun
        if self.label is not None:
            probability = probabilities[self.label]
            self._last, self._end = time, max(self._end, moment)
            self._sum, self._peak = self._sum + probability, max(self._peak, probability)
            self._answers += 1
        return ended

    def close(self) -> Event | None:
        """End the open event, as when the stream ends; returns it, if it was long enough."""
        if self.label is None:
            return None
        event = Event(self.label, self.begun, self._end, self._sum / self._answers, self._peak, self._answers)
        long_enough, self.label = self.confirmed, None
        if not long_enough:
            return None
        self._told = event.end
        return event


def utc(seconds: float) -> str:
    """ISO 8601 with milliseconds of a time in seconds since 1970: ``2026-03-01T12:00:00.250Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class ReportedEvent:
    """An event as it is written: what held, where it came from, and when by the clock on the wall.

    Attributes:
        event: what held.
        source: name of the stream, without a password that its address may hold.
        start_utc, end_utc: seconds since 1970.
        clip: file that shows it, or will when its last seconds have been seen; None: no clips are kept.
    """

    event: Event
    source: str
    start_utc: float
    end_utc: float
    clip: Path | None = None

    def line(self) -> str:
        """JSON on one line."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_dict(self) -> dict[str, Any]:
        """Label, start, end, score, peak, answers, start_utc and end_utc (ISO 8601), source and clip."""
        said = {
            name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self.event).items()
        }
        return {
            **said,
            "start_utc": utc(self.start_utc),
            "end_utc": utc(self.end_utc),
            "source": self.source,
            "clip": str(self.clip) if self.clip else None,
        }


class EventLog:
    """Appends events to a file as JSON lines, each of which is on disk at once, whole or not at all.

    The file is opened for each, so that it may be moved away while events go on, as log rotation does.

    Raises:
        WhenwhereError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._append(b"", "cannot be written")

    def write(self, event: ReportedEvent) -> None:
        self._append(f"{event.line()}\n".encode(), "an event cannot be written")

    def _append(self, line: bytes, what: str) -> None:
        try:
            with self.path.open("ab", buffering=0) as file:
                written = file.write(line) if line else 0
                if written != len(line):  # the disk is full now: half a line would spoil the next one
                    file.truncate(file.tell() - written)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise WhenwhereError(
                f"{self.path}: {what} ({error.strerror}); check its folder and the space on its disk"
            ) from error
