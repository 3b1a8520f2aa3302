"""Optical flow between the frames of a video, quantised as the field stores it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from whenwhere.video.container import VideoError
from whenwhere.video.reader import iter_frames, probe
from whenwhere.video.sampling import FixedRate

Solver = Callable[[np.ndarray, np.ndarray], np.ndarray]


class FlowUnavailableError(ImportError):
    """OpenCV, or the part of it with the method asked for, is not installed; says what to install."""


@dataclass(frozen=True)
class FlowOptions:
    """How optical flow is computed.

    Attributes:
        method: ``tvl1``, TV-L1 (Zach et al. 2007) with OpenCV's parameters, which are those of the extraction tool of
            TSN; or ``dis``, dense inverse search (Kroeger et al. 2016), about seventy times as fast.
        size: frames are brought to this size before: ``340x256`` (width x height, TSN's for UCF101) or ``256`` (short
            side); None: as the video is. Flow is in pixels of that size.
        bound: pixels; longer displacements are cut off, 20 as published.
        stride: between every how many-th frame.
        fps: between frames at this rate instead; None: between those of the video.
    """

    method: Literal["tvl1", "dis"] = "tvl1"
    size: str | None = None
    bound: float = 20.0
    stride: int = 1
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.method not in ("tvl1", "dis"):
            raise ValueError(f"method must be tvl1 or dis, got {self.method!r}")
        if not 0 < self.bound < float("inf") or self.stride < 1:
            raise ValueError(f"bound must be positive and stride at least 1, got {self.bound} and {self.stride}")
        if self.fps is not None and (self.stride != 1 or not self.fps > 0):
            raise ValueError(f"fps must be positive and goes without stride, got {self.fps} and stride {self.stride}")
        self.frame_size(1, 1)

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height to which frames of ``width`` x ``height`` are brought; ValueError for a bad ``size``."""
        if self.size is None:
            return width, height
        sides = self.size.lower().split("x")
        if len(sides) > 2 or not all(side.isdigit() and int(side) >= 8 for side in sides):
            raise ValueError(f"size must be WIDTHxHEIGHT or a short side, of 8 pixels or more, got {self.size!r}")
        if len(sides) == 2:
            return int(sides[0]), int(sides[1])
        scale = int(sides[0]) / min(width, height)
        return round(width * scale), round(height * scale)

    @property
    def name(self) -> str:
        """Of a folder of such flow: other options, another name."""
        rate = f"{self.fps:g}fps" if self.fps is not None else f"stride{self.stride}"
        return f"{self.method}-{self.size or 'full'}-bound{self.bound:g}-{rate}"


def flow_solver(method: str) -> Solver:
    """What gives the flow `(H, W, 2)` float32, x and y in pixels, from one grey frame `(H, W)` uint8 to another.

    Raises:
        FlowUnavailableError: OpenCV is not installed, or is without its contrib modules, where TV-L1 is.
    """
    try:
        cv2: Any = importlib.import_module("cv2")
    except ImportError as error:
        raise FlowUnavailableError("optical flow needs OpenCV: pip install 'whenwhere[flow]'") from error
    if method == "dis":
        solver = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    elif hasattr(cv2, "optflow"):
        solver = cv2.optflow.DualTVL1OpticalFlow_create()
    else:
        raise FlowUnavailableError(
            "TV-L1 is in OpenCV's contrib modules, which this OpenCV lacks: pip install 'whenwhere[flow]' "
            "(opencv-contrib-python-headless in place of opencv-python), or take the method dis"
        )
    return lambda before, after: solver.calc(before, after, None)


def quantize_flow(flow: np.ndarray, bound: float) -> np.ndarray:
    """Displacements in pixels, of any shape, as uint8: -bound is 0, bound 255 and what is further out likewise; 0: 128.

    As the extraction tool of TSN does (dense_flow, ``convertFlowToImage``); the step is ``2 bound / 255`` pixels.

    Raises:
        ValueError: a displacement that is not a number.
    """
    if not np.isfinite(flow).all():
        raise ValueError("optical flow holds values that are not finite numbers")
    return np.rint(255 * (np.clip(flow, -bound, bound) + bound) / (2 * bound)).astype(np.uint8)


def dequantize_flow(levels: np.ndarray, bound: float) -> np.ndarray:
    """The way back to pixels, float32, half a step off at most (within the bound)."""
    return levels.astype(np.float32) * np.float32(2 * bound / 255) - np.float32(bound)


def compute_flow(video: str | Path, options: FlowOptions) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (seconds of the first frame, quantised flow `(2, H, W)` uint8, x before y) for each pair of frames.

    Raises:
        VideoError: the video cannot be read, some of the frames do not decode, or it has but one.
        FlowUnavailableError: as :func:`flow_solver`.
    """
    solver = flow_solver(options.method)
    import cv2

    info = probe(video)
    size = options.frame_size(info.width, info.height)
    stamps = info.timestamps
    picked = (
        stamps[:: options.stride]
        if options.fps is None
        else stamps[np.unique(FixedRate(options.fps)(stamps, info.duration))]
    )
    if len(picked) < 2:
        raise VideoError(f"{video}: optical flow is between two frames, this gives {len(picked)} at {options.name}")
    wanted = set(picked.tolist())
    before, since, seen = None, 0.0, 0
    for seconds, image in iter_frames(video):
        if seconds not in wanted:
            continue
        seen += 1
        frame = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if size != (info.width, info.height):
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        if before is not None:
            yield since, quantize_flow(solver(before, frame).transpose(2, 0, 1), options.bound)
        before, since = frame, seconds
    if seen < len(picked):
        raise VideoError(
            f"{video}: {len(picked) - seen} of {len(picked)} frames do not decode; the file is damaged: convert it "
            "again"
        )
