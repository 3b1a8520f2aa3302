from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from whenwhere.video import VideoError, VideoWriter, iter_frames, probe, write_video

Stamp = Callable[[int], np.ndarray]
ReadStamp = Callable[[np.ndarray], int]


def test_fixed_rate_round_trip(tmp_path: Path, stamp: Stamp, read_stamp: ReadStamp) -> None:
    path = tmp_path / "out.mp4"
    write_video(path, (stamp(i) for i in range(50)), 29.97)
    seconds, images = zip(*iter_frames(path))
    np.testing.assert_allclose(seconds, np.arange(50) / 29.97, atol=1e-5)
    assert [read_stamp(image) for image in images] == list(range(50))
    assert probe(path).duration == pytest.approx(50 / 29.97, abs=1e-4)


@pytest.mark.parametrize(("count", "fps"), [(3, 5.0), (24, 8.0), (30, 10.0)])
def test_last_frame_is_shown_as_long_as_the_one_before(count: int, fps: float, tmp_path: Path, stamp: Stamp) -> None:
    path = tmp_path / "out.mp4"
    write_video(path, (stamp(i) for i in range(count)), fps)
    assert probe(path).duration == pytest.approx(count / fps, abs=1e-3)


def test_variable_times_round_trip(tmp_path: Path, stamp: Stamp, read_stamp: ReadStamp) -> None:
    path = tmp_path / "out.mp4"
    times = np.concatenate([[0], np.cumsum(np.random.default_rng(0).uniform(0.004, 0.9, 29))])
    write_video(path, [stamp(i) for i in range(30)], (times + 12.5).tolist())
    seconds, images = zip(*iter_frames(path))
    np.testing.assert_allclose(seconds, times, atol=2e-5)
    assert [read_stamp(image) for image in images] == list(range(30))


def test_colours_survive(tmp_path: Path) -> None:
    """Flat colours come back to within the rounding of 4:2:0 video, on small frames and HD alike."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 150, 40)]
    for shape in ((64, 64, 3), (720, 1280, 3)):
        images = [np.full(shape, colour, np.uint8) for colour in colours]
        write_video(tmp_path / "colours.mp4", images, 10, preset="ultrafast")
        for (_, image), colour in zip(iter_frames(tmp_path / "colours.mp4"), colours):
            assert np.abs(image.reshape(-1, 3).astype(int) - colour).max() <= 6


@pytest.mark.parametrize("shape", [(63, 101), (64, 101), (63, 100), (1, 1)])
def test_odd_sizes_get_a_copied_edge(shape: tuple[int, int], tmp_path: Path) -> None:
    height, width = shape
    row = np.linspace(0, 255, width).astype(np.uint8)
    image = np.broadcast_to(row[None, :, None], (height, width, 3))
    write_video(tmp_path / "odd.mp4", [image] * 3, 10, crf=1)
    info = probe(tmp_path / "odd.mp4")
    assert (info.width, info.height) == (width + width % 2, height + height % 2)
    _, back = next(iter_frames(tmp_path / "odd.mp4"))
    assert np.abs(back[:height, :width].astype(int) - image).mean() < 4
    assert np.abs(back[-1, -1].astype(int) - image[-1, -1]).max() < 8


def test_browsers_can_play_it(tmp_path: Path, stamp: Stamp) -> None:
    write_video(tmp_path / "out.mp4", [stamp(i) for i in range(10)], 25)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    data = (tmp_path / "out.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_frames_are_streamed(tmp_path: Path, stamp: Stamp) -> None:
    """The writer takes the next frame only after handing the one before to the encoder."""
    taken = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal taken
        for i in range(200):
            taken = i + 1
            yield stamp(i)

    with VideoWriter(tmp_path / "out.mp4", preset="ultrafast") as writer:
        for i, image in enumerate(frames()):
            writer.write(image, i / 30)
            assert taken == i + 1
    assert len(probe(tmp_path / "out.mp4").timestamps) == 200


def test_failure_leaves_nothing_and_keeps_the_old_file(tmp_path: Path, stamp: Stamp) -> None:
    def breaking() -> Iterator[np.ndarray]:
        yield stamp(0)
        yield stamp(1)
        raise RuntimeError("source broke")

    with pytest.raises(RuntimeError, match="source broke"):
        write_video(tmp_path / "new.mp4", breaking(), 10)
    assert list(tmp_path.iterdir()) == []

    write_video(tmp_path / "old.mp4", [stamp(7)] * 3, 10)
    before = (tmp_path / "old.mp4").read_bytes()
    with pytest.raises(RuntimeError, match="source broke"):
        write_video(tmp_path / "old.mp4", breaking(), 10)
    assert (tmp_path / "old.mp4").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["old.mp4"]


def test_bad_requests(tmp_path: Path, stamp: Stamp) -> None:
    good = [stamp(0), stamp(1)]
    cases: list[tuple[str, list[np.ndarray], object]] = [
        ("no frames", [], 10),
        ("times must increase", good, [1.0, 1.0]),
        ("more frames than times", good, [0.0]),
        ("2 frames for 3 times", good, [0.0, 1.0, 2.0]),
        ("one size", [good[0], good[1][:-2]], 10),
        ("uint8", [good[0].astype(np.float32)], 10),
        ("uint8", [good[0][..., 0]], 10),
        ("positive", good, 0),
    ]
    for message, frames, times in cases:
        with pytest.raises(VideoError, match=message):
            write_video(tmp_path / "out.mp4", frames, times)  # type: ignore[arg-type]
    with pytest.raises(VideoError, match=r"ends in \.mp4"):
        write_video(tmp_path / "out.avi", good, 10)
    with pytest.raises(VideoError, match="folder does not exist"):
        write_video(tmp_path / "nowhere" / "out.mp4", good, 10)
    assert list(tmp_path.iterdir()) == []
