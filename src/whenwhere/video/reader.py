"""Read the frames of a video that somebody asks for, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter

from whenwhere.video.container import VideoError, decode, open_video
from whenwhere.video.indexing import VideoIndex, VideoInfo, build_index

Sampler = Callable[[np.ndarray, float, torch.Generator | None], np.ndarray]

# Decoding a few frames more costs less than a seek, which throws away what the decoder holds.
_SEEK_GAP = 8


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one video, as displayed.

    Attributes:
        info: the video they come from.
        pixels: `(T, 3, H, W)` uint8, RGB, rotation applied.
        times: `(T,)` seconds at which each is shown, non-decreasing.
    """

    info: VideoInfo
    pixels: torch.Tensor
    times: np.ndarray


def probe(path: str | Path) -> VideoInfo:
    """Size, rate and the exact time of every frame; decodes one frame where the container tells the truth.

    Raises:
        VideoError: the file is missing, empty, cut off, not a video, or none of its frames can be decoded.
    """
    return build_index(path).info


def read_frames(video: str | Path | VideoIndex, sampler: Sampler, generator: torch.Generator | None = None) -> Frames:
    """Read the frames that ``sampler(timestamps, duration, generator)`` picks.

    Only groups of pictures with a wanted frame are decoded, and only wanted frames are kept. An index may
    repeat (eight frames of a video of three); the frames come sorted by time.

    Args:
        video: a file, or its index from `build_index`, which saves looking through the file at every call.

    Raises:
        VideoError: as `probe`; a wanted frame cannot be decoded; the sampler asks for none, or for frames
            that do not exist.
    """
    index = video if isinstance(video, VideoIndex) else build_index(video)
    info = index.info
    indices = checked_request(index, sampler, generator)
    pixels = torch.empty((len(indices), 3, info.height, info.width), dtype=torch.uint8)
    for rank, rgb in iter_wanted(index, sorted(set(indices.tolist()))):
        image = torch.from_numpy(rgb).permute(2, 0, 1)
        pixels[int(np.searchsorted(indices, rank)) : int(np.searchsorted(indices, rank, side="right"))] = image
    return Frames(info, pixels, info.timestamps[indices])


def iter_wanted(index: VideoIndex, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (rank, `(H, W, 3)` uint8 RGB as displayed) of the frames ``wanted`` (sorted, unique), each once.

    One is in memory at a time; they come in any order.

    Raises:
        VideoError: one of them cannot be decoded; said after the others.
    """
    info, to_rgb, missing = index.info, _rgb_converter(index), set(wanted)
    for rank, frame in wanted_frames(index, wanted):
        if rank in missing:
            missing.discard(rank)
            yield rank, to_rgb(frame)
    if missing:
        raise VideoError(
            f"{info.path}: {len(missing)} of {len(wanted)} frames asked for cannot be decoded (the first is "
            f"frame {min(missing)} at {info.timestamps[min(missing)]:.2f} s); the file is damaged: convert it again"
        )


def checked_request(index: VideoIndex, sampler: Sampler, generator: torch.Generator | None = None) -> np.ndarray:
    """Sorted numbers `(T,)` of the frames that ``sampler`` picks; VideoError when there are no such frames."""
    info = index.info
    indices = np.sort(np.asarray(sampler(info.timestamps, info.duration, generator)))
    total = len(info.timestamps)
    if indices.ndim != 1 or len(indices) == 0 or not np.issubdtype(indices.dtype, np.integer):
        raise VideoError(
            f"{info.path}: bad request: expected a list of frame numbers, got {indices!r}; check the sampler"
        )
    if indices[0] < 0 or indices[-1] >= total:
        raise VideoError(
            f"{info.path}: bad request: frames {indices[0]} to {indices[-1]} asked for, it has 0 to {total - 1}; "
            "check the sampler"
        )
    return indices


def iter_frames(path: str | Path) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (seconds, `(H, W, 3)` uint8 RGB as displayed) for every frame, one in memory at a time.

    Frames that cannot be decoded are left out.

    Raises:
        VideoError: as `probe`.
    """
    index = build_index(path)
    to_rgb = _rgb_converter(index)
    with open_video(path) as (container, stream):
        for rank, frame in _ranked(index, decode(container, stream)):
            yield float(index.info.timestamps[rank]), to_rgb(frame)


def _rgb_converter(index: VideoIndex) -> Callable[[av.VideoFrame], np.ndarray]:
    """From decoded frames of one video to `(H, W, 3)` uint8 as displayed."""
    # One for all frames: a frame's own would prepare its tables anew, which takes twenty times as long as their use.
    reformatter = VideoReformatter()
    width, height = index.stored_size  # a stream may change its size midway; every frame gets that of the first

    def convert(frame: av.VideoFrame) -> np.ndarray:
        converted = reformatter.reformat(frame, format="rgb24", width=width, height=height)
        return index.orientation.apply(converted.to_ndarray())

    return convert


def _ranked(index: VideoIndex, frames: Iterator[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame]]:
    """Pair decoded frames with their rank in display order: by timestamp, or by count from the file's start."""
    if index.pts is None:
        yield from zip(range(len(index.info.timestamps)), frames)
        return
    ranks = {int(pts): rank for rank, pts in enumerate(index.pts)}
    for frame in frames:
        rank = ranks.get(frame.pts) if frame.pts is not None else None
        if rank is not None:
            yield rank, frame


def wanted_frames(index: VideoIndex, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decode the frames whose ranks are ``wanted`` (sorted, unique); leaves out those that cannot be decoded."""
    missing = set(wanted)
    with open_video(index.info.path) as (container, stream):
        for seek_to, run in _runs(index, wanted):
            if seek_to is not None:
                try:
                    container.seek(seek_to, stream=stream)
                except av.FFmpegError:
                    break
            for rank, frame in _until(index, decode(container, stream), run, sought=seek_to is not None):
                missing.discard(rank)
                yield rank, frame
    # Some containers seek too far, or give wrong timestamps after a seek; then only the long way is left.
    if missing and index.pts is not None:
        with open_video(index.info.path) as (container, stream):
            yield from _until(index, decode(container, stream), sorted(missing))


def _until(
    index: VideoIndex, frames: Iterator[av.VideoFrame], wanted: list[int], sought: bool = False
) -> Iterator[tuple[int, av.VideoFrame]]:
    """The ``wanted`` among ``frames``; none when the first frame after a seek is not a known key frame."""
    chosen = set(wanted)
    for rank, frame in _ranked(index, frames):
        if sought and rank not in index.key_frames:
            return  # MPEG program streams shift timestamps there
        sought = False
        if rank in chosen:
            yield rank, frame
        if rank >= wanted[-1]:
            return


def _runs(index: VideoIndex, wanted: list[int]) -> list[tuple[int | None, list[int]]]:
    """Cut ``wanted`` into runs that are decoded in one go, each with the timestamp to seek to first (or None)."""
    runs: list[tuple[int | None, list[int]]] = []
    position = 0
    for rank in wanted:
        at = int(np.searchsorted(index.key_frames, rank, side="right")) - 1
        if index.pts is not None and at >= 0 and index.key_frames[at] > position + _SEEK_GAP:
            runs.append((int(index.seek_to[at]), [rank]))
        elif runs:
            runs[-1][1].append(rank)
        else:
            runs.append((None, [rank]))
        position = rank
    return runs
