"""Where frames come from: cameras, streams and files, opened again whenever they are lost."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import av

from whenwhere.video import VideoError
from whenwhere.video.container import open_video

_LONGEST_STEP = 10.0  # seconds; timestamps that jump further say nothing about time


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


@dataclass(frozen=True)
class Opened:
    """An open source.

    Attributes:
        container, stream: of PyAV.
        recorded: it has an end, and is played at its own rate; else frames come when they come.
    """

    container: Any
    stream: Any
    recorded: bool


@contextlib.contextmanager
def open_source(source: Source, options: SourceOptions) -> Iterator[Opened]:
    """Open a source for as long as the block lasts.

    Raises:
        SourceError: it cannot be, and another try would not help: no such file, an unknown kind of address.
        VideoError: a file without video.
        av.FFmpegError: it cannot be now.
    """
    if source.kind == "file":
        with open_video(Path(source.address)) as (container, stream):
            _decode_at_once(stream)
            yield Opened(container, stream, recorded=True)
        return
    try:
        container = _open_live(source, options)
    except av.ProtocolNotFoundError as error:
        raise SourceError(
            f"{source.name}: FFmpeg does not know this kind of address; use rtsp://, http://, https://, a camera's "
            "number or a file"
        ) from error
    with container:
        if not container.streams.video:
            raise SourceError(f"{source.name}: holds no video; expected a camera, a stream or a file with video")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise SourceError(f"{source.name}: its codec is not supported; have the source send H.264")
        _decode_at_once(stream)
        # A server that states a length sends a recording, as fast as it can; a live stream has none.
        recorded = source.kind == "stream" and container.duration is not None and container.duration > 0
        yield Opened(container, stream, recorded)


def _open_live(source: Source, options: SourceOptions) -> Any:
    limits = (options.timeout, options.timeout)
    if source.kind == "camera":
        return av.open(source.address, format="v4l2", timeout=limits)
    settings = {}  # not "nobuffer": it throws away the first key frame, and the next may be ten seconds away
    if source.address.lower().startswith("rtsp"):
        settings["rtsp_flags"] = "prefer_tcp"  # over UDP lost packets tear the picture
    return av.open(source.address, options=settings, timeout=limits, metadata_errors="replace")


def _decode_at_once(stream: Any) -> None:
    """No decoding of several frames at once: it holds each back by as many frames as there are cores."""
    stream.thread_type = "SLICE"


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
