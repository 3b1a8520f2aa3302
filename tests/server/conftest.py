"""One small model, one clip and one server for all tests of the server."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from serving import Served, served

from whenwhere.datasets.synthetic import SyntheticOptions
from whenwhere.features.backbone import BackboneOptions
from whenwhere.models import SpatioTemporalAttentionOptions
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.training.loop import train
from whenwhere.video import write_video


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of no skill, but of all parts."""
    config = TrainConfig(
        data=DataOptions(source="synthetic", synthetic=SyntheticOptions(clips=12, frames=12)),
        backbone=BackboneOptions(name="test_resnet", weights="random", size=64),
        model=SpatioTemporalAttentionOptions(hidden=8, steps=2),
        fit=FitOptions(epochs=1, batch_size=6),
    )
    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(config, build_data(config, lambda text: None), out, quiet=True)
    return out


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds in which a bright square moves over a slope of grays."""
    path = tmp_path_factory.mktemp("clips") / "moving.mp4"
    slope = np.broadcast_to(np.linspace(20, 120, 160, dtype=np.uint8)[None, :, None], (120, 160, 3))

    def frame(index: int) -> np.ndarray:
        picture = slope.copy()
        picture[40:80, 4 * index : 4 * index + 30] = 250
        return picture

    write_video(path, (frame(index) for index in range(30)), 10.0)
    return path


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes seconds to decode on any machine: 1500 frames of noise, of which only the first can be begun at."""
    path = tmp_path_factory.mktemp("clips") / "noise.mp4"
    coarse = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    noise = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    rate, repeats, frames = 250, 30, 50
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "35"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        once = []
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, 7 * number, axis=1), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            once += [bytes(packet) for packet in stream.encode(frame)]
        once += [bytes(packet) for packet in stream.encode()]
        for number, content in enumerate(once * repeats):  # encoded once: that would take as long as decoding
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, rate)
            packet.pts, packet.dts, packet.duration = number, number, 1
            packet.is_keyframe = number == 0
            container.mux(packet)
    return path


@pytest.fixture(scope="session")
def many_frames_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded in a moment; drawing into its 600 frames takes seconds."""
    path = tmp_path_factory.mktemp("clips") / "gray.mp4"
    write_video(
        path, (np.full((120, 160, 3), index % 250, np.uint8) for index in range(600)), 100.0, preset="ultrafast"
    )
    return path


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    (folder / "a sample.mp4").write_bytes(clip.read_bytes())
    return folder


@pytest.fixture(scope="session")
def server(run: Path, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With the options it has when nobody says otherwise."""
    with served(run, tmp_path_factory.mktemp("server") / "kept", samples=samples) as server:
        yield server
