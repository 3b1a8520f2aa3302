"""Files of optical flow, one for each video, and the stacks of fields that a network looks at.

A file is lossless video (FFV1 in Matroska, 8 bits of grey, every frame on its own, so that any can be read without the
others) whose frames are the x displacements above the y displacements; how they were made stands in its metadata. On
real clips of 320 x 240 pixels and a little more, a pair takes 5.3 kB with ``dis`` and 11.2 kB with ``tvl1``; as two
JPEGs (quality 95), the usual form, it takes 6.8 and 8.9 kB, with loss, and as two PNGs 14 and 23 kB.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from whenwhere.files import whole_file
from whenwhere.video.container import VideoError, open_video
from whenwhere.video.flow import FlowOptions, compute_flow
from whenwhere.video.indexing import VideoIndex, build_index
from whenwhere.video.reader import Frames, Sampler, checked_request, wanted_frames
from whenwhere.video.sampling import windows_around

STACK = 5  # flow fields in one input of a network (TSN; Simonyan and Zisserman 2014 took ten)
SUFFIX = ".flow"  # not .mkv: a folder of flow within a folder of videos is not taken for a class
_TAG, _TICKS = "OPTICAL_FLOW", 1000
_SAME_BYTES = {"fflags": "bitexact"}  # no random identifiers: the same flow, the same hash


@dataclass(frozen=True)
class FlowRecord:
    """How a file of flow was made.

    Attributes:
        options: with which options.
        width, height: pixels of a field.
    """

    options: FlowOptions
    width: int
    height: int


def write_flow(path: str | Path, video: str | Path, options: FlowOptions | None = None) -> int:
    """Compute the flow of ``video`` and write it to ``path``; the file appears whole or not at all.

    Returns:
        The number of fields.

    Raises:
        VideoError: as :func:`whenwhere.video.flow.compute_flow`.
    """
    path, options = Path(path), options or FlowOptions()
    fields = 0
    stream: Any = None
    with (
        whole_file(path) as partial,
        av.open(f"file:{partial}", "w", format="matroska", container_options=_SAME_BYTES) as container,
    ):
        for seconds, field in compute_flow(video, options):
            stacked = np.ascontiguousarray(field.reshape(-1, field.shape[2]))
            if stream is None:
                stream = _add_stream(container, stacked, options)
            frame = av.VideoFrame.from_ndarray(stacked, format="gray")
            frame.pts, frame.time_base = round(seconds * _TICKS), Fraction(1, _TICKS)
            container.mux(stream.encode(frame))
            fields += 1
        container.mux(stream.encode(None))
    return fields


def _add_stream(container: Any, stacked: np.ndarray, options: FlowOptions) -> Any:
    height, width = stacked.shape
    record = FlowRecord(options, width, height // 2)
    container.metadata[_TAG] = json.dumps(asdict(record))
    # Each frame on its own (g=1), and range coding: files a third smaller than with Golomb-Rice codes.
    stream = container.add_stream("ffv1", rate=25, options={"level": "3", "g": "1", "coder": "range_tab"})
    stream.width, stream.height, stream.pix_fmt = width, height, "gray"
    stream.codec_context.time_base = Fraction(1, _TICKS)
    return stream


def flow_record(path: str | Path) -> FlowRecord:
    """How a file of flow was made.

    Raises:
        VideoError: the file cannot be opened, or is another video.
    """
    with open_video(path) as (container, _):
        text = next((value for name, value in container.metadata.items() if name.upper() == _TAG), None)
    try:
        values = json.loads(text or "")
        return FlowRecord(FlowOptions(**values["options"]), values["width"], values["height"])
    except (ValueError, TypeError, KeyError) as error:
        raise VideoError(
            f"{path}: is not a file of optical flow as `whenwhere flow` writes them; make it with that command"
        ) from error


def read_flow(
    video: str | Path | VideoIndex, sampler: Sampler, generator: torch.Generator | None = None, length: int = STACK
) -> Frames:
    """Stacks of ``length`` consecutive flow fields about the moments that ``sampler`` picks.

    Channels are ``x1 y1 x2 y2 ...``, the order of TSN (tsn-pytorch, ``dataset.py``: both images of a moment, then those
    of the next). TSN begins a stack at the moment sampled; here it lies about it, so that *when* is not half a stack
    late. At the ends stacks are moved into the video, and where it has fewer than ``length`` fields the last is
    repeated, as there.

    Args:
        video: a file of flow, or its index from ``build_index``.

    Returns:
        ``pixels`` `(T, 2 length, H, W)` uint8, as :func:`whenwhere.video.flow.quantize_flow`, ``times`` of the moments,
        and ``info`` of the fields.

    Raises:
        VideoError: not a file of flow, it is damaged, or the sampler asks for moments that do not exist.
    """
    index = video if isinstance(video, VideoIndex) else build_index(video)
    record = flow_record(index.info.path)
    numbers = checked_request(index, sampler, generator)
    stacks = windows_around(numbers, len(index.info.timestamps), length)
    wanted = np.unique(stacks)
    fields = np.zeros((len(wanted), 2, record.height, record.width), np.uint8)
    missing = set(wanted.tolist())
    for rank, frame in wanted_frames(index, wanted.tolist()):
        image = frame.to_ndarray(format="gray")
        fields[np.searchsorted(wanted, rank)] = image.reshape(2, record.height, record.width)
        missing.discard(rank)
    if missing:
        raise VideoError(
            f"{index.info.path}: {len(missing)} of {len(wanted)} flow fields asked for cannot be decoded; the file is "
            "damaged: delete it and run `whenwhere flow` again"
        )
    pixels = fields[np.searchsorted(wanted, stacks)].reshape(len(numbers), 2 * length, record.height, record.width)
    info = replace(index.info, height=record.height)
    return Frames(info, torch.from_numpy(pixels), index.info.timestamps[numbers])
