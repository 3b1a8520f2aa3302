"""What is inside a video file: when every frame is shown, and from where it can be decoded.

Timestamps come from the packets alone, without decoding, wherever the container tells the truth. Where it
does not (raw streams without timestamps; AVI with reordered frames, whose packets carry decoding order
only; VP8 with packets that are never shown) the file is decoded once and frames are known by their rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from whenwhere.video.container import VideoError, decode, open_video

# Containers whose header declares how long the video is; elsewhere ffmpeg guesses from what is left of the file.
_MP4, _AVI, _MATROSKA = "mov,mp4,m4a,3gp,3g2,mj2", "avi", "matroska,webm"
_TRANSPORT_PACKET_BYTES = (188, 192, 204)
_FALLBACK_FPS = 25.0  # used only when a file states no rate at all


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """What a player knows about a video.

    Attributes:
        path: the file.
        width, height: pixels as displayed, rotation applied; the pixel aspect ratio is not.
        rotation: 0, 90, 180 or 270 degrees by which stored frames are turned counter-clockwise for display.
        fps: average frames per second.
        duration: seconds from the start of the first frame to the end of the last.
        timestamps: `(N,)` seconds at which each frame is shown, increasing, the first is 0.
    """

    path: str
    width: int
    height: int
    rotation: int
    fps: float
    duration: float
    timestamps: np.ndarray


@dataclass(frozen=True)
class Orientation:
    """How a stored frame becomes the displayed one: transpose first, then mirror x, then mirror y."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation:
        """Read the display matrix: a stored pixel (x, y) is shown at (a x + c y, b x + d y)."""
        data: Any = frame.side_data.get("DISPLAYMATRIX")
        if data is None:
            return cls()
        a, b, _, c, d = (int(value) for value in np.frombuffer(data, np.int32)[:5])
        if abs(b) > abs(a):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Turn `(H, W, 3)` as stored into `(H', W', 3)` as displayed, contiguous."""
        image = image.swapaxes(0, 1) if self.transpose else image
        return np.ascontiguousarray(image[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1])


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """A video and the way to its frames.

    Attributes:
        info: what a player knows.
        orientation: from stored to displayed pixels.
        stored_size: (width, height) of a stored frame.
        pts: `(N,)` presentation timestamps in stream units, or None when frames are known by rank only.
        key_frames: `(K,)` ranks, in display order, of frames where decoding may start.
        seek_to: `(K,)` timestamps in stream units to seek to for each of them.
    """

    info: VideoInfo
    orientation: Orientation
    stored_size: tuple[int, int]
    pts: np.ndarray | None
    key_frames: np.ndarray
    seek_to: np.ndarray


@dataclass(frozen=True)
class _Timing:
    """Frames in display order: timestamps in stream units (None: by rank), seconds, length of the last one."""

    pts: np.ndarray | None
    seconds: np.ndarray
    last_duration: float
    key_frames: np.ndarray
    seek_to: np.ndarray


def build_index(path: str | Path) -> VideoIndex:
    """Index ``path``; raises VideoError when it is missing, cut off, or has no frame that can be decoded."""
    with open_video(path) as (container, stream):
        packets, video_end, any_end = _demux(container, stream)
        _check_whole(path, container, stream, packets, video_end, any_end)
        timing = _packet_timing(container, stream, packets)
    with open_video(path) as (container, stream):
        first = next(decode(container, stream), None)
        if first is None:
            raise VideoError(f"{path}: none of its frames can be decoded; the file is damaged or cut off")
        orientation, size, rotation = Orientation.of(first), (first.width, first.height), int(first.rotation) % 360
        # A decoder that starts elsewhere than the packets promise (open groups of pictures, recordings that
        # begin anywhere) makes the packets' list useless.
        trusted = timing is not None and timing.pts is not None and first.pts == timing.pts[0]
    if timing is None or not trusted:
        timing = _decoded_timing(path)
    seconds = timing.seconds
    duration = float(seconds[-1] + timing.last_duration)
    seconds.setflags(write=False)
    width, height = size[::-1] if orientation.transpose else size
    info = VideoInfo(str(path), width, height, rotation, len(seconds) / duration, duration, seconds)
    return VideoIndex(info, orientation, size, timing.pts, timing.key_frames, timing.seek_to)


def _demux(container: Any, stream: Any) -> tuple[list[Any], float, float]:
    """Packets of the stream with their bytes dropped, and where (s) its last packet and any stream's last one end."""
    packets: list[Any] = []
    ends = {True: 0.0, False: 0.0}
    try:
        for packet in container.demux():
            if packet.size == 0:
                continue
            mine = packet.stream_index == stream.index
            if mine:
                packets.append(_Packet.of(packet))
            start = packet.pts if packet.pts is not None else packet.dts
            if start is not None:
                ends[mine] = max(ends[mine], float((start + (packet.duration or 0)) * packet.time_base))
    except av.FFmpegError:
        pass  # what follows judges by what was found
    return packets, ends[True], max(ends.values())


@dataclass(frozen=True)
class _Packet:
    pts: int | None
    dts: int | None
    duration: int
    key: bool
    discard: bool
    corrupt: bool

    @classmethod
    def of(cls, packet: Any) -> _Packet:
        return cls(
            packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe, packet.is_discard, packet.is_corrupt
        )


def _check_whole(
    path: str | Path, container: Any, stream: Any, packets: list[_Packet], video_end: float, any_end: float
) -> None:
    """Raise VideoError when the file holds clearly less than its header declares."""
    if not packets:
        raise VideoError(f"{path}: holds no video packets; the file is cut off: copy or download it again")
    kind, declared, found = container.format.name, None, video_end
    if kind == _AVI and stream.frames and stream.average_rate:
        declared = float(stream.frames / stream.average_rate)  # the duration is corrected by the file's size
    elif kind == _MP4 and stream.duration:
        declared = float(stream.duration * stream.time_base)
        found -= float((stream.start_time or 0) * stream.time_base)
    elif kind == _MATROSKA and container.duration:
        declared, found = container.duration / av.time_base, any_end
    slack = max(0.05 * (declared or 0), 2 / float(stream.average_rate or _FALLBACK_FPS))
    if declared is not None and found < declared - slack:
        raise VideoError(
            f"{path}: cut off: declares {declared:.2f} s of video and holds {max(found, 0):.2f} s; "
            "copy or download it again"
        )
    size = Path(path).stat().st_size
    partial = kind == "mpegts" and all(size % length for length in _TRANSPORT_PACKET_BYTES)
    if packets[-1].corrupt or partial:
        raise VideoError(f"{path}: cut off in the middle of its last packet; copy or download it again")


def _packet_timing(container: Any, stream: Any, packets: list[_Packet]) -> _Timing | None:
    """Timing from packets alone, or None when they cannot be trusted."""
    context = stream.codec_context
    if (container.format.name == _AVI and context.has_b_frames) or context.name == "vp8":
        return None
    start = next((i for i, packet in enumerate(packets) if packet.key), None)
    if start is None or any(packet.pts is None for packet in packets):
        return None
    # Nothing before the first key frame can be decoded, nor what is shown before it; discarded packets are
    # the ones an edit list hides: they are decoded, not shown.
    first_shown = packets[start].pts
    shown = sorted(
        (p for p in packets[start:] if not p.discard and p.pts >= first_shown),  # type: ignore[operator]
        key=lambda p: p.pts,  # type: ignore[arg-type, return-value]
    )
    pts = np.array([packet.pts for packet in shown], dtype=np.int64)
    if len(pts) == 0 or (np.diff(pts) <= 0).any():
        return None
    tick = float(stream.time_base)
    keys = [i for i, packet in enumerate(shown) if packet.key]
    seek_to = np.array([shown[i].dts if shown[i].dts is not None else shown[i].pts for i in keys], dtype=np.int64)
    seconds = (pts - pts[0]) * tick
    last = shown[-1].duration * tick or _typical_step(seconds, stream)
    return _Timing(pts, seconds, last, np.array(keys, dtype=np.int64), seek_to)


def _decoded_timing(path: str | Path) -> _Timing:
    """Timing of the frames in the order in which the decoder gives them."""
    with open_video(path) as (container, stream):
        stamps = [(frame.pts, frame.dts) for frame in decode(container, stream)]
        tick, rate = float(stream.time_base), float(stream.average_rate or _FALLBACK_FPS)
        ticks = _increasing([pts for pts, _ in stamps]) or _increasing([dts for _, dts in stamps])
        if ticks is None:
            seconds = np.arange(len(stamps)) / rate
        else:
            seconds = (np.array(ticks, dtype=np.float64) - ticks[0]) * tick
        last = _typical_step(seconds, stream)
    nowhere = np.zeros(0, dtype=np.int64)
    return _Timing(None, seconds, last, nowhere, nowhere)


def _increasing(values: list[int | None]) -> list[float] | None:
    """The values when they increase, with missing ones at the end continued evenly; None otherwise.

    Frames still inside the decoder when the file ends come out without a decoding timestamp.
    """
    known = [value for value in values if value is not None]
    if len(known) < 2 or None in values[: len(known)] or (np.diff(known) <= 0).any():
        return None
    step = float(np.median(np.diff(known)))
    return [*known, *(known[-1] + step * (i + 1) for i in range(len(values) - len(known)))]


def _typical_step(seconds: np.ndarray, stream: Any) -> float:
    if len(seconds) > 1:
        return float(np.median(np.diff(seconds)))
    return 1 / float(stream.average_rate or _FALLBACK_FPS)
