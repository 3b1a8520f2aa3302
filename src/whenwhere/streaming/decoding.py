"""The thread that decodes: it never waits for those who look, and opens a lost source again."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from whenwhere.streaming.clips import ClipRecorder, StoredPacket
from whenwhere.streaming.opening import Opened, open_source
from whenwhere.streaming.reading import Arrived, Reader
from whenwhere.streaming.ring import NewestQueue
from whenwhere.streaming.source import Pace, RatePicker, Source, SourceError, SourceOptions, Timeline, backoff
from whenwhere.video.indexing import Orientation

_WAITING = 500  # packets without a frame to tell their time, at most
_BEHIND = 1.0  # seconds of lag at which frames up to a key frame that waits are not decoded
_LOST = 3.0  # seconds of lag at which nothing is decoded until a key frame comes


@dataclass(frozen=True, eq=False)
class StreamFrame:
    """A frame picked for looking at.

    Attributes:
        pixels: `(H, W, 3)` uint8 RGB as displayed.
        time: seconds of the stream, the first frame is 0.
        arrival: seconds of ``time.monotonic()`` at which it came, or of what is played at its own rate, was due.
        wall: the same in seconds since 1970.
        connection: number of the connection it came through, from 1.
    """

    pixels: np.ndarray
    time: float
    arrival: float
    wall: float
    connection: int


class DecodingThread(threading.Thread):
    """Decodes a source, hands picked frames to a queue and all packets to a recorder.

    Args:
        source, options: what to open, and how.
        rate: frames a second to pick.
        recorder: None: no clips are kept.
        log: told when the source is lost and found.

    Attributes:
        frames: picked ones; the newest win.
        decoded, picked: frames so far.
        skipped: frames that were not decoded, because others took too long.
        connections: times the source was opened and gave a frame.
        state: ``connecting``, ``playing``, ``lost`` or ``ended``.
        error: why it gave up; None: it did not.
    """

    def __init__(
        self,
        source: Source,
        options: SourceOptions,
        rate: float,
        recorder: ClipRecorder | None,
        log: Callable[[str], None],
    ) -> None:
        super().__init__(name="decoding", daemon=True)  # a read that hangs does not keep the program from ending
        self.source, self.options = source, options
        self.frames: NewestQueue[StreamFrame] = NewestQueue()
        self.decoded = self.picked = self.skipped = self.connections = 0
        self.state = "connecting"
        self.error: Exception | None = None
        self._recorder, self._log = recorder, log
        self._picker, self._timeline = RatePicker(rate), Timeline()
        self._stopped = threading.Event()
        self._pace: Pace | None = None
        self._blind = False  # until a key frame comes
        self._live = False  # HLS that is still being made
        self._failures = 0
        self._ended = False

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        try:
            self._stay_connected()
        except Exception as error:  # whatever it is, it is told where answers are waited for
            self.error = error
        finally:
            self.state = "ended"
            self.frames.close()

    def _stay_connected(self) -> None:
        while not self._stopped.is_set():
            cause = "the stream ended"
            try:
                with open_source(self.source, self.options) as opened, self._recording(opened):
                    if opened.recorded and self._live:
                        self._log(f"{self.source.name}: its sender has ended it, and what is left is a recording")
                        return
                    ended = self._play(opened)
                    if ended and not self.options.loop:
                        self.frames.close()
                        self._stopped.wait()  # until all was looked at: clips are written while the source is open
                        return
                if ended:
                    continue
            except (av.FFmpegError, OSError) as error:
                cause = getattr(error, "strerror", None) or str(error)
            if not self._stopped.is_set():
                self._wait_to_reconnect(cause)

    @contextlib.contextmanager
    def _recording(self, opened: Opened) -> Iterator[None]:
        """The recorder takes packets of this connection; clips go on only from one pass of a loop to the next."""
        if self._recorder is None:
            yield
            return
        self._recorder.connect(opened.stream)
        try:
            yield
        finally:
            if self._ended and self.options.loop and not self._stopped.is_set():
                self._recorder.connect(None)
            else:
                self._recorder.disconnect(whole=self._ended)

    def _wait_to_reconnect(self, cause: str) -> None:
        self.state = "lost"
        self._timeline.restart()
        self._failures += 1
        retries = self.options.retries
        if retries is not None and self._failures > retries:
            raise SourceError(
                f"{self.source.name}: {cause}; tried {retries} times again; check that the source is on and reachable"
            )
        wait = backoff(self._failures, self.options, random.random())
        self._log(f"{self.source.name}: {cause}; trying again in {wait:.1f} s")
        self._stopped.wait(wait)

    def _play(self, opened: Opened) -> bool:
        """Decode until the source ends, True, or is lost or stopped, False."""
        looped, first, last_time, self._ended = self._ended, True, self._timeline.now, False
        waiting: deque[Any] = deque(maxlen=_WAITING)
        orientation = Orientation()
        with Reader(opened) as reader:
            for arrived in self._packets(reader):
                if not first and self._skips(arrived, reader, opened, waiting):
                    continue
                self._keep(arrived, waiting)
                for frame in _decoded(arrived.packet):
                    if self._stopped.is_set():
                        return False
                    if first:
                        first, orientation = False, Orientation.of(frame)
                        self._connected(looped, opened)
                    self._take(frame, arrived, opened, orientation)
                    step, last_time = self._timeline.now - last_time, self._timeline.now
                self._record(waiting)
        if self._stopped.is_set():
            return False
        if first and self.source.kind == "file":
            raise SourceError(f"{self.source.name}: none of its frames can be decoded; the file is damaged or cut off")
        if first or not (opened.recorded and self._at_end(opened)):
            return False
        self._timeline.restart(step)
        self._ended = True
        return True

    def _packets(self, reader: Reader) -> Iterator[Arrived]:
        try:
            yield from reader.packets(self._stopped)
        except av.FFmpegError:
            if self.source.kind != "file":  # a file that is cut off ends there
                raise

    def _keep(self, arrived: Arrived, waiting: deque[Any]) -> None:
        """Have a packet wait for the recorder."""
        if self._recorder is not None and arrived.packet.size and arrived.packet.pts is not None:
            waiting.append(arrived.packet)

    def _skips(self, arrived: Arrived, reader: Reader, opened: Opened, waiting: deque[Any]) -> bool:
        """Whether not to decode this packet, for decoding lags behind what comes; clips get it if it is copied."""
        key, lag = arrived.packet.is_keyframe, self._lag(arrived)
        if opened.recorded or not arrived.packet.size:
            return False
        following = reader.skip(lambda later: self._lag(later) >= 0) if lag > _BEHIND else None
        if following is not None or (lag > _LOST and not key):
            self._fall_behind(opened)
        elif key:
            self._blind = False
        if not self._blind:
            return False
        skipped = [arrived, *(following or ())]
        self.skipped += len(skipped)
        if self._recorder is not None and self._recorder.copies:
            for each in skipped:
                self._keep(each, waiting)
                self._record(waiting)
        return True

    def _lag(self, arrived: Arrived) -> float:
        """Seconds since a packet came, or since it was to be shown; less than 0: it is to be shown later."""
        due, packet, offset = arrived.arrival, arrived.packet, self._timeline.offset
        if self._pace is not None and packet.pts is not None and offset is not None:
            due = max(due, self._pace.planned(float(packet.pts * packet.time_base) + offset))
        return time.monotonic() - due

    def _fall_behind(self, opened: Opened) -> None:
        if not self.skipped:
            self._log(
                f"{self.source.name}: decoding takes longer than the stream; frames are left out up to a key frame"
            )
        if not self._blind:
            opened.stream.codec_context.flush_buffers()  # what it holds back belongs to what is left out
        self._blind = True

    def _at_end(self, opened: Opened) -> bool:
        """Whether a recording ran to its end, and was not cut off by a lost connection."""
        if self.source.kind == "file" or self._timeline.offset is None:
            return True
        length, start = (
            ticks / av.time_base for ticks in (opened.container.duration, opened.container.start_time or 0)
        )
        return self._timeline.now - self._timeline.offset - start >= 0.9 * length - 1.0

    def _connected(self, looped: bool, opened: Opened) -> None:
        if not looped:
            self.connections += 1
            self._pace = Pace(opened.bursts) if opened.recorded or opened.bursts else None
            if self.connections > 1:
                self._log(f"{self.source.name}: connected again")
        self.state, self._failures, self._live = "playing", 0, opened.bursts

    def _take(self, frame: av.VideoFrame, arrived: Arrived, opened: Opened, orientation: Orientation) -> None:
        stamp = float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base is not None else None
        came = arrived.arrival if self._pace is None else time.monotonic()
        seconds = self._timeline.at(stamp, came)
        if self._pace is not None:
            due = self._pace.due(seconds, arrived.arrival if opened.bursts else came)
            self._stopped.wait(max(0.0, due - time.monotonic()))
            came = due if opened.bursts else time.monotonic()
        self.decoded += 1
        if self._picker.picks(seconds):
            self.picked += 1
            pixels = orientation.apply(frame.to_ndarray(format="rgb24"))
            wall = time.time() - (time.monotonic() - came)
            self.frames.put(StreamFrame(pixels, seconds, came, wall, self.connections))

    def _record(self, waiting: deque[Any]) -> None:
        """Give packets to the recorder, once it is known when they are shown."""
        offset = self._timeline.offset
        if self._recorder is None or offset is None:
            return
        for packet in waiting:
            base = packet.time_base
            shown = float(packet.pts * base) + offset
            decoded = shown if packet.dts is None else float(packet.dts * base) + offset
            self._recorder.add(StoredPacket(bytes(packet), shown, decoded, bool(packet.is_keyframe)))
        waiting.clear()


def _decoded(packet: Any) -> list[av.VideoFrame]:
    """Its frames; none when it is damaged, as at the begin of a stream that was joined midway."""
    try:
        return packet.decode()
    except av.InvalidDataError:
        return []
