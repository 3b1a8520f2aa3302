"""What is done to a file inside a process of its own: look at its header, read frames, write what the page plays.

Nothing outside such a process opens an uploaded file with FFmpeg.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from whenwhere._torchvision import ensure_torchvision
from whenwhere.rendering import video_facts, write_overlay, write_thumbnail
from whenwhere.server.isolation import Line
from whenwhere.server.options import Refusal
from whenwhere.structures import Explanation
from whenwhere.video import (
    InputReader,
    Preprocessing,
    VideoError,
    VideoIndex,
    VideoInfo,
    VideoWriter,
    build_index,
    iter_frames,
    iter_wanted,
)
from whenwhere.video.container import open_video

# Imported here, in the fork server, and not by every process anew.
ensure_torchvision()
from torchvision.transforms.v2 import functional  # noqa: E402, F401

# Containers of videos. Playlists and session descriptions, which make FFmpeg open other files and addresses, are not.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,flv,live_flv,asf,ogg,gif,"
    "mjpeg,mxf,nut,dv,rm"
)
FRAMES_A_MESSAGE = 8


@dataclass(frozen=True)
class ClipLimits:
    """Of a clip: seconds, pixels a frame, frames."""

    seconds: float
    pixels: int
    frames: int

    def check(self, seconds: float | None, width: int, height: int, frames: int = 0) -> None:
        """
        Raises:
            Refusal: status 422, too much of something.
        """
        if seconds is not None and not seconds <= self.seconds:
            raise Refusal(
                422, f"the clip lasts {seconds:.0f} s; this server takes up to {self.seconds:g} s: cut it shorter"
            )
        if width * height > self.pixels:
            raise Refusal(
                422,
                f"the clip's frames are {width} x {height} pixels; this server takes up to {self.pixels} pixels a "
                "frame: make them smaller",
            )
        if frames > self.frames:
            raise Refusal(422, f"the clip has {frames} frames; this server takes up to {self.frames}: cut it shorter")


def look(line: Line, path: Path, limits: ClipLimits) -> None:
    """Judge a file by its header; sends an empty message when there is nothing against it."""
    with _told_without_path(path):
        _check_header(path, limits)
    line.send({})


def read(line: Line, path: Path, limits: ClipLimits, reader: InputReader, preprocessing: Preprocessing) -> None:
    """Send what a player knows, receive the numbers of frames, send these fitted to the network's input."""
    torch.set_num_threads(1)
    with _told_without_path(path):
        _check_header(path, limits)
        index = build_index(path)
        info = index.info
        limits.check(info.duration, info.width, info.height, len(info.timestamps))
        line.send({"info": {**asdict(info), "path": "", "timestamps": info.timestamps.tolist()}})
        numbers, _ = line.receive()
        ready: list[tuple[int, torch.Tensor]] = []
        for number, pixels in _inputs(index, reader, numbers["numbers"]):
            ready.append((number, preprocessing.fitted(pixels[None])[0]))
            line.send({"decoded": 1})
            if len(ready) == FRAMES_A_MESSAGE:
                _send_frames(line, ready)
                ready = []
        if ready:
            _send_frames(line, ready)
    line.send({"end": True})


def info_from(message: dict[str, Any], path: str, limits: ClipLimits) -> VideoInfo:
    """What :func:`read` sent, looked through again: its process may no longer be ours."""
    timestamps = np.array(message["timestamps"], dtype=float)
    info = VideoInfo(**{**message, "path": path, "timestamps": timestamps})
    limits.check(info.duration, info.width, info.height, len(timestamps))
    return info


def write(line: Line, path: Path, folder: Path) -> None:
    """Write ``thumbnail.jpg`` and, where browsers cannot play the file, ``playable.mp4``; send facts for the player."""
    explanation = Explanation.load(folder / "explanation.json")
    with _told_without_path(path):
        facts = video_facts(path)
        if not facts.playable:
            copy = folder / "playable.mp4"
            with VideoWriter(copy, crf=23, preset="veryfast") as writer:
                for done, (time, frame) in enumerate(iter_frames(path), start=1):
                    writer.write(frame, time)
                    line.send({"written": done})
            facts = video_facts(copy)
        write_thumbnail(explanation, folder / "thumbnail.jpg", path)
    line.send({"facts": asdict(facts)})


def draw_overlay(line: Line, path: Path, path_out: Path, explanation: Path) -> None:
    """Write the video with an explanation drawn into it; send how many frames are drawn."""
    with _told_without_path(path):
        write_overlay(Explanation.load(explanation), path_out, path, say=lambda drawn: line.send({"drawn": drawn}))
    line.send({"end": True})


def nothing(line: Line) -> None:
    """So that the fork server is up before the first clip is."""
    line.send({})


@contextmanager
def _told_without_path(path: Path) -> Iterator[None]:
    """What is wrong with a video becomes a refusal that does not say where the file lies."""
    try:
        yield
    except VideoError as error:
        sentence = str(error).replace(f"{path}: ", "").replace(str(path), "the clip")
        raise Refusal(422, sentence) from error


def _check_header(path: Path, limits: ClipLimits) -> None:
    if path.stat().st_size == 0:
        raise Refusal(415, "the file is empty; send a video")
    try:
        with av.open(f"file:{path}", options={"format_whitelist": FORMATS, "protocol_whitelist": "file"}):
            pass
    except MemoryError:  # FFmpeg's is one of its errors too, and says nothing about the file
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Refusal(
            415, "the file is not a video this server knows, or it is damaged; send MP4, WebM, MKV, MOV or AVI"
        ) from error
    with open_video(path) as (container, stream):
        seconds = container.duration / av.time_base if container.duration else None
        if stream.duration:
            seconds = max(seconds or 0.0, float(stream.duration * stream.time_base))
        limits.check(seconds, stream.codec_context.width, stream.codec_context.height)


def _inputs(index: VideoIndex, reader: InputReader, numbers: list[int]) -> Iterator[tuple[int, torch.Tensor]]:
    """Number and `(3, H, W)` uint8 of each; ``numbers`` are sorted and unique."""
    if reader.modality == "rgb":
        for number, image in iter_wanted(index, numbers):
            yield number, torch.from_numpy(image).permute(2, 0, 1)
        return
    for number in numbers:
        yield number, reader(index, _only(number)).pixels[0]


def _only(number: int) -> Callable[..., np.ndarray]:
    return lambda *_: np.array([number])


def _send_frames(line: Line, frames: list[tuple[int, torch.Tensor]]) -> None:
    stacked = torch.stack([pixels for _, pixels in frames]).contiguous()
    line.send({"frames": [number for number, _ in frames]}, stacked.numpy().data.cast("B"))
