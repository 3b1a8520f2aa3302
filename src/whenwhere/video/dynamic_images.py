"""Dynamic images: the motion of a stretch of video in one picture (Bilen et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from whenwhere.video.indexing import VideoIndex, build_index
from whenwhere.video.reader import Frames, Sampler, checked_request, read_frames
from whenwhere.video.sampling import windows_around

FLAT = 128  # of a stretch in which nothing changes


@dataclass(frozen=True)
class DynamicImageOptions:
    """Which frames a dynamic image sums up, and how.

    Attributes:
        window: frames of one image; 10 in the authors' code.
        pooling: ``linear``: coefficients 2 t - T - 1; ``harmonic``: those of the paper's derivation over running means,
            2 (T - t + 1) - (T + 1) (H_T - H_{t-1}) with the harmonic numbers H, which its code uses.
    """

    window: int = 10
    pooling: Literal["linear", "harmonic"] = "linear"

    def __post_init__(self) -> None:
        if self.window < 2:
            raise ValueError(f"a dynamic image needs a window of at least 2 frames, got {self.window}")
        if self.pooling not in ("linear", "harmonic"):
            raise ValueError(f"pooling must be linear or harmonic, got {self.pooling!r}")


def rank_pooling_weights(length: int, pooling: str = "linear") -> Tensor:
    """Coefficients `(T,)` float64 of approximate rank pooling over T = ``length`` frames; they sum to 0.

    Of four frames: linear -3 -1 1 3, harmonic -2.42 0.58 1.08 0.75.
    """
    steps = torch.arange(1, length + 1, dtype=torch.float64)
    linear = 2 * steps - length - 1
    if pooling == "linear":
        return linear
    return (linear / steps).flip(0).cumsum(0).flip(0)  # sum over i >= t of (2 i - T - 1) / i


def dynamic_image(frames: Tensor, pooling: str = "linear") -> Tensor:
    """The dynamic image `(3, H, W)` uint8 of frames `(T, 3, H, W)`: their weighted sum, brought to 0 .. 255.

    The smallest value of the picture, over all three channels, becomes 0 and the largest 255, as in the authors' code
    (``visualize_approximate_dynamic_images.m``); so the faintest change fills the range. Where nothing changes at all
    the picture is 128 throughout.
    """
    pooled = torch.zeros(frames.shape[1:], dtype=torch.float64)
    for weight, frame in zip(rank_pooling_weights(len(frames), pooling), frames, strict=True):
        pooled += weight * frame
    low, high = pooled.min(), pooled.max()
    if high - low < 1e-6:  # what rounding leaves of equal frames
        return torch.full(pooled.shape, FLAT, dtype=torch.uint8)
    return ((pooled - low) * (255 / (high - low))).round().to(torch.uint8)


def read_dynamic_images(
    video: str | Path | VideoIndex,
    sampler: Sampler,
    generator: torch.Generator | None = None,
    options: DynamicImageOptions | None = None,
) -> Frames:
    """Dynamic images of the windows of frames about the moments that ``sampler`` picks.

    At the ends windows are moved into the video; where it has fewer frames the last is repeated, as in the authors'
    code.

    Returns:
        ``pixels`` `(T, 3, H, W)` uint8, and ``times`` of the moments.

    Raises:
        VideoError: as ``read_frames``.
    """
    options = options or DynamicImageOptions()
    index = video if isinstance(video, VideoIndex) else build_index(video)
    numbers = checked_request(index, sampler, generator)
    windows = windows_around(numbers, len(index.info.timestamps), options.window)
    wanted = np.unique(windows)
    frames = read_frames(index, lambda *_: wanted).pixels
    images = [dynamic_image(frames[torch.from_numpy(np.searchsorted(wanted, w))], options.pooling) for w in windows]
    return Frames(index.info, torch.stack(images), index.info.timestamps[numbers])
