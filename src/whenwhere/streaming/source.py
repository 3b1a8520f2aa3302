"""Where frames come from: cameras, streams and files; and when each is shown."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from whenwhere.video import VideoError

_LONGEST_STEP = 10.0  # seconds; timestamps that jump further say nothing about time
_LATE = 1.0  # seconds by which a recording may lag before its clock is set anew
_SPARE = 0.5  # seconds for which a live stream may wait, without need, to be shown
_WATCHED = 15.0  # seconds without need for more; longer than most segments


class SourceError(VideoError):
    """A source that cannot be opened, or was lost more often than allowed."""


@dataclass(frozen=True)
class SourceOptions:
    """How a source is opened, and what happens when it is lost.

    Attributes:
        loop: play a file again and again.
        retries: how often in a row to try again; None: for ever.
        first_wait: seconds before the first of them; every further one waits twice as long.
        longest_wait: the most seconds between two.
        timeout: seconds without a byte after which a source counts as lost.
    """

    loop: bool = False
    retries: int | None = None
    first_wait: float = 0.5
    longest_wait: float = 30.0
    timeout: float = 10.0

    def __post_init__(self) -> None:
        if self.retries is not None and self.retries < 0:
            raise ValueError(f"SourceOptions.retries must be at least 0 or None, got {self.retries}")
        if not 0 < self.first_wait <= self.longest_wait:
            raise ValueError(
                "SourceOptions needs 0 < first_wait <= longest_wait, "
                f"got first_wait={self.first_wait}, longest_wait={self.longest_wait}"
            )
        if not self.timeout > 0:
            raise ValueError(f"SourceOptions.timeout must be positive, got {self.timeout}")


def backoff(attempt: int, options: SourceOptions, chance: float) -> float:
    """Seconds to wait before try ``attempt`` (1, 2, ...).

    The wait doubles up to a cap, and ``chance`` in [0, 1] takes off up to half of it, so that many watchers of one
    source do not all come back at once.
    """
    doubled = options.first_wait * 2.0 ** min(attempt - 1, 60)
    return min(doubled, options.longest_wait) * (1 - chance / 2)


@dataclass(frozen=True)
class Source:
    """What a user named: a number or device for a camera, an address for a stream, else a file.

    Attributes:
        kind: ``camera``, ``stream`` or ``file``.
        address: as FFmpeg opens it.
        name: for people, without user name and password.
    """

    kind: Literal["camera", "stream", "file"]
    address: str
    name: str

    @classmethod
    def parse(cls, text: str | int) -> Source:
        text = str(text)
        if re.fullmatch(r"\d+", text):
            return cls("camera", f"/dev/video{text}", f"/dev/video{text}")
        if re.fullmatch(r"/dev/video\d+", text):
            return cls("camera", text, text)
        if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
            parts = urlsplit(text)
            return cls("stream", text, parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl())
        return cls("file", text, text)


class Timeline:
    """Seconds since the first frame, whatever happens to timestamps: they jump, restart, or are missing.

    Within a connection time goes by timestamps; across a jump, or where there are none, by the clock.

    Attributes:
        now: of the newest frame, seconds.
        offset: seconds to add to a timestamp of the source to be on this line; None: not known yet.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.offset: float | None = None
        self._arrival: float | None = None
        self._step: float | None = None

    def at(self, timestamp: float | None, arrival: float) -> float:
        """Time of the next frame.

        Args:
            timestamp: seconds, as the source says; None: it does not.
            arrival: seconds of a clock that never goes back.
        """
        if self._arrival is None:
            time = 0.0
        else:
            by_clock = self.now + max(self._step if self._step else arrival - self._arrival, 1e-3)
            told = self.offset + timestamp if timestamp is not None and self.offset is not None else None
            time = told if told is not None and 0 < told - self.now <= _LONGEST_STEP else by_clock
        self._step = None
        self.now, self._arrival = time, arrival
        self.offset = None if timestamp is None else time - timestamp
        return time

    def restart(self, step: float | None = None) -> None:
        """Timestamps begin anew: ``step`` seconds after the last frame; None: by the clock."""
        self.offset, self._step = None, step


class Pace:
    """When to show frames of a source that does not come at its own rate: a recording, or segments of a live stream.

    A live stream is shown as soon as it can be without a halt between segments: a segment that came late makes all
    that follows later, and time to spare that was never needed is taken back, a quarter of a second at a time.

    Args:
        live: what comes late was sent late; in a recording it was decoded late.
    """

    def __init__(self, live: bool) -> None:
        self._live = live
        self._anchor: float | None = None
        self._spare, self._since = math.inf, 0.0

    def due(self, time: float, arrival: float) -> float:
        """Seconds of the clock at which to show a frame.

        Args:
            time: of the stream, seconds.
            arrival: seconds of the clock at which it came, or of a recording at which it could be shown.
        """
        late = -math.inf if self._anchor is None else arrival - self._anchor - time
        if self._anchor is None or late > (0.0 if self._live else _LATE):
            self._anchor = arrival - time
        if self._live:
            self._save(time, -late)
        return self._anchor + time

    def planned(self, time: float) -> float:
        """Seconds of the clock at which a frame is due, unless it comes later; -inf before the first frame."""
        return -math.inf if self._anchor is None else self._anchor + time

    def _save(self, time: float, spare: float) -> None:
        self._spare = min(self._spare, max(spare, 0.0))
        if not 0 <= time - self._since < _WATCHED:
            if self._spare > _SPARE and self._anchor is not None and self._spare < math.inf:
                self._anchor -= min(self._spare - _SPARE, 0.25)
            self._spare, self._since = math.inf, time


class RatePicker:
    """Picks frames at a steady rate from a stream of another, each as soon as it is due.

    Args:
        rate: frames a second to pick; a slower stream is picked whole.
    """

    def __init__(self, rate: float) -> None:
        self.step = 1 / rate
        self._due = 0.0

    def picks(self, time: float) -> bool:
        """Whether to pick the frame at ``time`` seconds, later than the last one."""
        if time < self._due - self.step / 4:  # a frame that comes a little early is not left for the next
            return False
        # After a gap it starts anew instead of catching up.
        self._due = self._due + self.step if time - self._due < self.step else time + self.step
        return True
