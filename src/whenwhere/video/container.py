"""Opening video files, and decoding from wherever they stand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from whenwhere.errors import WhenwhereError


class VideoError(WhenwhereError):
    """A video cannot be read or written; the message names the file, the cause and what to do."""


@contextlib.contextmanager
def open_video(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """Open ``path`` and yield (container, video stream); raise VideoError when there is no video in it."""
    file = Path(path)
    if not file.exists():
        raise VideoError(f"{path}: no such file; check the path")
    if not file.is_file():
        raise VideoError(f"{path}: is a folder; expected a video file")
    if file.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty; copy or download it again")
    try:
        # "file:" keeps names with colons or percent signs from being read as protocols or patterns.
        container = av.open(f"file:{file}", metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"{path}: cannot be opened as a video ({_reason(error)}); it is cut off, damaged or not a video: "
            "check that a player opens it, or convert it to MP4"
        ) from error
    with container:
        if container.format.name in ("image2", "tty") or container.format.name.endswith("_pipe"):
            raise VideoError(f"{path}: is an image or text ({container.format.name}); expected a video file")
        streams = [s for s in container.streams.video if not s.disposition & type(s.disposition).attached_pic]
        if not streams:
            found = "holds only audio" if container.streams.audio else "holds no stream; it is cut off or not a video"
            raise VideoError(f"{path}: {found}; expected a file with a video stream")
        if streams[0].codec_context is None:
            raise VideoError(f"{path}: its codec is not supported; convert it, for instance to H.264 in MP4")
        yield container, streams[0]


def header_rate(path: str | Path) -> float | None:
    """Frames per second as the file's header states them, without looking further; None when it does not.

    Raises:
        VideoError: the file cannot be opened.
    """
    with open_video(path) as (_, stream):
        return float(stream.average_rate) if stream.average_rate else None


def decode(container: Any, stream: Any) -> Iterator[av.VideoFrame]:
    """Decode from the current position on, passing over packets that are damaged."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        yield from frames


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
