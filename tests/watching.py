"""Streams for tests: a model of no skill, and clips whose frames tell their numbers."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from whenwhere.datasets.synthetic import SyntheticOptions
from whenwhere.features.backbone import BackboneOptions
from whenwhere.models import SpatioTemporalAttentionOptions
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.training.loop import train

FRAMES = 12  # T of the model


def make_run(out: Path) -> Path:
    """A run of all parts, trained for a second."""
    config = TrainConfig(
        data=DataOptions(source="synthetic", synthetic=SyntheticOptions(clips=12, frames=FRAMES)),
        backbone=BackboneOptions(name="test_resnet", weights="random", size=64),
        model=SpatioTemporalAttentionOptions(hidden=8, steps=2),
        fit=FitOptions(epochs=1, batch_size=6),
    )
    train(config, build_data(config, lambda text: None), out, quiet=True)
    return out


def numbered_frame(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A frame, `(H, W, 3)` uint8, that tells its number: eight broad stripes, the bits of the number."""
    bits = [(number >> bit) & 1 for bit in range(8)]
    return np.repeat(np.repeat(np.array(bits, np.uint8)[None] * 200 + 20, width // 8, 1), height, 0)[..., None].repeat(
        3, 2
    )


def frame_number(image: np.ndarray) -> int:
    """The inverse of :func:`numbered_frame`, through any codec."""
    width = image.shape[1] // 8
    return sum(int(image[image.shape[0] // 2, bit * width + width // 2].mean() > 120) << bit for bit in range(8))


def write_numbered(path: Path, frames: int, fps: int = 10, codec: str = "libx264", group: int = 10) -> Path:
    """Numbered frames with a key frame every ``group``, and pictures between that refer to both sides."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = group
        stream.codec_context.options = {"sc_threshold": "0"}  # no key frames but those
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def check_consecutive(shown: list[int], count: int = 30) -> None:
    """Frames of a looped clip of ``count`` frames follow each other, over its end, too."""
    assert not [(one, other) for one, other in pairwise(shown) if (other - one) % count != 1]
