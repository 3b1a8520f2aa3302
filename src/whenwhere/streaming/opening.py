"""How FFmpeg opens a source, and what is known of it then."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import av

from whenwhere.streaming.source import Source, SourceError, SourceOptions
from whenwhere.video.container import open_video

_UDP = {
    "overrun_nonfatal": "1",  # packets that come faster than they are read are lost; the stream goes on
    "fifo_size": "131072",  # of 188 bytes each, 25 MB; FFmpeg's own 5 MB are a second of a good picture
}


@dataclass(frozen=True)
class Opened:
    """An open source.

    Attributes:
        container, stream: of PyAV.
        recorded: it has an end, and is played at its own rate; else frames come when they come.
        clockless: its frames have no timestamps; time goes by when they come.
        bursts: its frames come a segment at a time, and are played at their own rate.
    """

    container: Any
    stream: Any
    recorded: bool
    clockless: bool = False
    bursts: bool = False


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
            f"{source.name}: FFmpeg does not know this kind of address; use rtsp://, http://, https://, udp://, a "
            "camera's number or a file"
        ) from error
    with container:
        stream = best_video(container, source.name)
        _decode_at_once(stream)
        # A server that states a length sends a recording, as fast as it can; a live stream has none.
        recorded = source.kind == "stream" and container.duration is not None and container.duration > 0
        untimed = bool(av.format.Flags(container.format.flags) & av.format.Flags.no_timestamps)
        yield Opened(
            container,
            stream,
            recorded,
            clockless=untimed and not recorded,
            bursts=container.format.name in ("hls", "dash") and not recorded,
        )


def _open_live(source: Source, options: SourceOptions) -> Any:
    limits = (options.timeout, options.timeout)
    if source.kind == "camera":
        return av.open(source.address, format="v4l2", timeout=limits)
    # Not "nobuffer": it throws away the first key frame, and the next may be ten seconds away.
    settings = {"live_start_index": "-1"}  # HLS: the newest segment, not the last but two
    if source.address.lower().startswith("rtsp"):
        settings["rtsp_flags"] = "prefer_tcp"  # over UDP lost packets tear the picture
    return av.open(address(source), options=settings, timeout=limits, metadata_errors="replace")


def address(source: Source) -> str:
    """The source's, for UDP with what FFmpeg needs to survive an overrun, unless it says so itself."""
    parts = urlsplit(source.address)
    if parts.scheme.lower() != "udp":
        return source.address
    told = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    query = [parts.query] if parts.query else []
    query += [f"{name}={value}" for name, value in _UDP.items() if name not in told]
    return parts._replace(query="&".join(query)).geturl()


def best_video(container: Any, name: str) -> Any:
    """The largest of a stream's pictures, at the highest rate of bits; the others are not asked for any more.

    Raises:
        SourceError: it has none that can be decoded.
    """
    videos = container.streams.video
    if not videos:
        raise SourceError(f"{name}: holds no video; expected a camera, a stream or a file with video")
    known = [stream for stream in videos if stream.codec_context is not None]
    if not known:
        raise SourceError(f"{name}: its codec is not supported; have the source send H.264")
    best = max(known, key=_quality)
    for other in container.streams:
        if other is not best and hasattr(other, "discard"):
            other.discard = type(other.discard)["all"]
    return best


def _quality(stream: Any) -> tuple[int, int]:
    context = stream.codec_context
    told = stream.metadata.get("variant_bitrate", "")  # of HLS; a stream itself rarely tells
    return context.width * context.height, int(told) if told.isdigit() else context.bit_rate or 0


def _decode_at_once(stream: Any) -> None:
    """No decoding of several frames at once: it holds each back by as many frames as there are cores."""
    stream.thread_type = "SLICE"
