"""Clips of events: the newest packets of a stream are kept as they came, and copied into a file when asked for."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av

from whenwhere.files import whole_file
from whenwhere.video import VideoError, VideoWriter

_TICKS = 90000
_COPIED = ("h264", "hevc", "av1")  # into MP4, where players expect them; others are encoded again


@dataclass(frozen=True)
class ClipOptions:
    """Clips of events.

    Attributes:
        folder: where they are written.
        before, after: seconds shown before and after the event; before it somewhat more, from a key frame on.
        longest: seconds of a clip at most; a longer event's clip is cut off there.
        most_bytes: of packets kept in memory; of a raw camera that is few seconds.
    """

    folder: Path
    before: float = 2.0
    after: float = 2.0
    longest: float = 60.0
    most_bytes: int = 64_000_000

    def __post_init__(self) -> None:
        if self.before < 0 or self.after < 0 or not self.longest > 0 or self.most_bytes < 1:
            raise ValueError(f"ClipOptions needs before, after >= 0 and longest, most_bytes > 0, got {self}")


@dataclass(frozen=True)
class StoredPacket:
    """A packet as it came.

    Attributes:
        data: encoded.
        time, decode_time: seconds of the stream at which it is shown and decoded.
        key: decoding can start here.
    """

    data: bytes
    time: float
    decode_time: float
    key: bool


class PacketRing:
    """The packets of the last ``seconds``, from a key frame on, and at most ``most_bytes`` of them."""

    def __init__(self, seconds: float, most_bytes: int) -> None:
        self.seconds, self.most_bytes, self.bytes = seconds, most_bytes, 0
        self._packets: deque[StoredPacket] = deque()
        self._keys: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._packets)

    def add(self, packet: StoredPacket) -> None:
        self._packets.append(packet)
        self.bytes += len(packet.data)
        if packet.key:
            self._keys.append(packet.time)
        while len(self._keys) > 1 and self._keys[1] <= packet.time - self.seconds:
            self._drop_group()
        while self.bytes > self.most_bytes and self._packets:
            self._drop_group()

    def _drop_group(self) -> None:
        """Drop the oldest packet, and all after it that cannot be decoded without it."""
        first = True
        while self._packets and (first or not self._packets[0].key):
            dropped = self._packets.popleft()
            self.bytes -= len(dropped.data)
            if dropped.key:
                self._keys.popleft()
            first = False

    def since(self, time: float) -> list[StoredPacket]:
        """From the last key frame at or before ``time`` on, or from the first there is."""
        starts = [index for index, packet in enumerate(self._packets) if packet.key]
        before = [index for index in starts if self._packets[index].time <= time]
        chosen = before[-1] if before else (starts[0] if starts else len(self._packets))
        return list(self._packets)[chosen:]

    def clear(self) -> None:
        self._packets.clear()
        self._keys.clear()
        self.bytes = 0


class _Sink(Protocol):
    def add(self, packet: StoredPacket) -> None: ...

    def flush(self) -> None:
        """Write what was held back; no frame before it is missing."""


class _Copy:
    """Packets as they are.

    A packet shown after others that are still to come (P4 of I0 P4 B1 B2 B3) is held back until these are there, so
    that a stream that stops at any packet leaves no gap.
    """

    def __init__(self, path: Path, template: Any, files: contextlib.ExitStack) -> None:
        partial = files.enter_context(whole_file(path))
        self._container = files.enter_context(
            av.open(f"file:{partial}", "w", format="mp4", container_options={"movflags": "+faststart"})
        )
        self._stream = self._container.add_stream_from_template(template)
        self._start: float | None = None
        self._last = -(2**62)
        self._held: list[StoredPacket] = []
        self._newest = -math.inf

    def add(self, packet: StoredPacket) -> None:
        self._start = packet.time if self._start is None else self._start
        if packet.time < self._start:
            return  # refers to pictures before the first key frame
        if packet.time > self._newest:  # so all that is shown before the newest is there
            self.flush()
        self._held.append(packet)
        self._newest = max(self._newest, packet.time)
        if packet.decode_time >= self._newest:
            self.flush()

    def flush(self) -> None:
        for packet in self._held:
            self._write(packet, packet.time - (self._start or 0.0), packet.decode_time - (self._start or 0.0))
        self._held.clear()

    def _write(self, packet: StoredPacket, shown: float, decoded: float) -> None:
        copy = av.Packet(packet.data)
        copy.stream, copy.time_base = self._stream, Fraction(1, _TICKS)
        copy.is_keyframe = packet.key
        copy.pts = round(shown * _TICKS)
        copy.dts = self._last = max(round(decoded * _TICKS), self._last + 1)
        copy.pts = max(copy.pts, copy.dts)
        self._container.mux_one(copy)


class _Encode:
    """Packets decoded, and encoded again as H.264."""

    def __init__(self, path: Path, template: Any, files: contextlib.ExitStack) -> None:
        known = template.codec_context
        self._decoder = av.CodecContext.create(known.name, "r")
        self._decoder.extradata = known.extradata
        if known.name == "rawvideo":
            self._decoder.width, self._decoder.height = known.width, known.height
            self._decoder.pix_fmt = known.pix_fmt
        self._writer = files.enter_context(VideoWriter(path, crf=23, preset="ultrafast"))
        self._last = -1.0

    def add(self, packet: StoredPacket) -> None:
        encoded = av.Packet(packet.data)
        encoded.time_base, encoded.pts = Fraction(1, _TICKS), round(packet.time * _TICKS)
        self._encode(self._decoder.decode(encoded), packet.time)

    def flush(self) -> None:
        self._encode(self._decoder.decode(None), self._last)

    def _encode(self, frames: list[av.VideoFrame], otherwise: float) -> None:
        for frame in frames:
            time = frame.pts / _TICKS if frame.pts is not None else otherwise
            if time > self._last + 1.5 / _TICKS:
                self._writer.write(frame.to_ndarray(format="rgb24"), time)
                self._last = time


@dataclass
class _Clip:
    """A clip asked for; ``end`` is None while its event goes on."""

    path: Path
    start: float
    end: float | None = None
    sink: _Sink | None = None
    newest: float = -math.inf
    files: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def is_over(self, packet: StoredPacket, limit: float) -> bool:
        """Whether ``packet`` is one too many: it is past the limit, and no frame before those written is missing."""
        return packet.decode_time >= limit and packet.time > self.newest


class ClipRecorder:
    """Keeps the newest packets, and writes clips of them; each file appears whole, or not at all.

    One thread gives packets, another asks for clips; files are written by the one that gives packets.

    Args:
        options: where and how much.
        late: seconds by which a clip may be asked for after its start.
        log: told of clips that cannot be written.
    """

    def __init__(self, options: ClipOptions, late: float, log: Callable[[str], None]) -> None:
        self.options, self._log = options, log
        self.ring = PacketRing(options.before + late, options.most_bytes)
        self._clips: list[_Clip] = []
        self._lock = threading.Lock()
        self._template: Any = None
        options.folder.mkdir(parents=True, exist_ok=True)

    def connect(self, stream: Any) -> None:
        """Packets come from this stream now (None: from nowhere); what stands in the ring goes on, as in a loop."""
        self._template = stream

    @property
    def copies(self) -> bool:
        """Packets of this stream are copied; else they are decoded and encoded again, which takes time."""
        return self._template is not None and self._template.codec_context.name in _COPIED

    def add(self, packet: StoredPacket) -> None:
        with self._lock:
            self.ring.add(packet)
            for clip in list(self._clips):
                self._feed(clip, packet)

    def begin(self, path: Path, start: float) -> None:
        """Ask for a clip from ``options.before`` seconds before ``start`` on."""
        with self._lock:
            self._clips.append(_Clip(path, start))

    def end(self, path: Path, time: float) -> None:
        """Say when the event of a clip ended; the clip ends ``options.after`` seconds later."""
        with self._lock:
            for clip in self._clips:
                if clip.path == path:
                    clip.end = time + self.options.after

    def disconnect(self, whole: bool = False) -> None:
        """Finish what is open, and forget the packets. ``whole``: the source came to its end, and was not lost."""
        with self._lock:
            for clip in list(self._clips):
                self._feed(clip, None, whole)
            self.ring.clear()
            self._template = None

    def _feed(self, clip: _Clip, packet: StoredPacket | None, whole: bool = False) -> None:
        """Write ``packet``, which the ring holds already, into a clip; None: there is none any more."""
        latest = clip.start - self.options.before + self.options.longest
        limit = latest if clip.end is None else min(clip.end, latest)
        try:
            if clip.sink is None:
                packets = self.ring.since(clip.start - self.options.before)
            else:
                packets = [packet] if packet is not None else []
            for each in packets:
                if clip.is_over(each, limit):
                    packet, whole = None, True
                    break
                self._write(clip, each)
            if packet is None:
                self._finish(clip, whole)
        except (av.FFmpegError, OSError, VideoError) as error:
            self._clips.remove(clip)
            with contextlib.suppress(av.FFmpegError, OSError, VideoError):
                clip.files.__exit__(type(error), error, error.__traceback__)
            self._log(f"{clip.path}: this clip cannot be written: {error}")

    def _write(self, clip: _Clip, packet: StoredPacket) -> None:
        if clip.sink is None:
            if self._template is None:
                return
            sink = _Copy if self.copies else _Encode
            clip.sink = sink(clip.path, self._template, clip.files)
        clip.sink.add(packet)
        clip.newest = max(clip.newest, packet.time)

    def _finish(self, clip: _Clip, whole: bool) -> None:
        if clip.sink is None:
            raise VideoError("nothing of it was kept; the source was lost, or has no key frame")
        if whole:
            clip.sink.flush()
        clip.files.close()
        self._clips.remove(clip)
