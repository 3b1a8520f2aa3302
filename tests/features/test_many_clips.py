"""A job over many files, some broken in every way we know: counted, skipped, nothing lost, and kill-proof."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from whenwhere.benchmarks.decode import make_long_video
from whenwhere.datasets.manifest import folder_clips, write_clips
from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.features.extract import HASHES, extract
from whenwhere.features.store import FeatureStore
from whenwhere.structures import Clip
from whenwhere.video import read_frames, write_video

OPTIONS = ["--backbone.name", "test_resnet", "--backbone.weights", "random", "--backbone.size", "32", "--frames", "2"]


def noise(seed: int, frames: int = 4, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (frames, *size, 3), dtype=np.uint8)


def encode(path: Path, codec: str, pix_fmt: str, count: int = 6, format: str | None = None) -> None:
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 48, 32, pix_fmt
        for index, image in enumerate(noise(1, count)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_broken(folder: Path) -> int:
    """20 files in which there is nothing to read: cut off at 10 points, empty, text, sound, and other things."""
    whole = folder.parent / "whole.mp4"
    write_video(whole, noise(7, 40), 10.0)
    content = whole.read_bytes()
    for number, share in enumerate(np.random.default_rng(0).uniform(0.02, 0.98, 10)):
        (folder / f"cut{number}.mp4").write_bytes(content[: int(share * len(content))])
    for number in range(3):
        (folder / f"empty{number}.mp4").touch()
    for number in range(3):
        (folder / f"text{number}.mp4").write_text("not a video " * (10**number))
    audio_only(folder / "sound.mp4")
    (folder / "zeros.mp4").write_bytes(bytes(5000))
    (folder / "random.avi").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "head.mp4").write_bytes(bytes(64) + content[64:])
    return 20


def test_a_run_over_good_and_bad_ends_well_and_counts_them(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(100):
        write_video(folder / f"good{number:03d}.mp4", noise(number), 10.0, preset="ultrafast")
    bad = write_broken(folder)
    clips = [Clip(str(path), "a") for path in sorted(folder.iterdir())]
    assert len(clips) == 100 + bad
    backbone = Backbone(BackboneOptions(name="test_resnet", weights="random", size=32)).eval()
    result = extract(clips, backbone, None, 2, tmp_path / "store")
    assert len(result.kept) == 100
    assert [Path(clips[index].path).name for index in result.kept] == [f"good{n:03d}.mp4" for n in range(100)]
    assert len(result.broken) == bad
    for path, cause in result.broken:
        assert Path(path).name in cause
    assert FeatureStore(tmp_path / "store", result.features.store.spec).verify() == []


UNUSUAL: dict[str, Callable[[Path], None]] = {
    "one_frame.mp4": lambda path: write_video(path, noise(0, 1), 10.0),
    "odd_size.mp4": lambda path: write_video(path, noise(0, 4, (31, 47)), 10.0),
    "ten_bit.mkv": lambda path: encode(path, "libx264", "yuv420p10le"),
    "alpha.mov": lambda path: encode(path, "qtrle", "argb"),
    "alpha.webm": lambda path: encode(path, "libvpx-vp9", "yuva420p"),
    "grey.avi": lambda path: encode(path, "ffv1", "gray"),
    "no_rate.h264": lambda path: encode(path, "libx264", "yuv420p", format="h264"),
    "wrong_extension.avi": lambda path: encode(path, "libx264", "yuv420p", format="mp4"),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_files_read_rightly(name: str, tmp_path: Path) -> None:
    UNUSUAL[name](tmp_path / name)
    frames = read_frames(tmp_path / name, lambda times, duration, generator: np.arange(len(times)))
    assert frames.pixels.shape[1] == 3
    assert frames.pixels.float().std() > 30  # noise, not a grey concealment
    assert (np.diff(frames.times) > 0).all()


def test_a_rate_of_zero_in_the_header(tmp_path: Path) -> None:
    """An AVI says how long a frame lasts in microseconds, and its stream how many there are in a second: both 0."""
    encode(tmp_path / "a.avi", "mpeg4", "yuv420p")
    content = bytearray((tmp_path / "a.avi").read_bytes())
    at = content.index(b"avih") + 8
    content[at : at + 4] = bytes(4)  # dwMicroSecPerFrame
    scale = content.index(b"strh") + 8 + 20
    content[scale + 4 : scale + 8] = bytes(4)  # dwRate of the stream
    (tmp_path / "a.avi").write_bytes(content)
    frames = read_frames(tmp_path / "a.avi", lambda times, duration, generator: np.arange(len(times)))
    np.testing.assert_allclose(frames.times, np.arange(6) / 25)  # the rate players take where none is stated
    assert frames.pixels.float().std() > 30


def test_a_killed_job_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "clips/a"
    folder.mkdir(parents=True)
    for number in range(40):
        write_video(folder / f"{number:02d}.mp4", noise(number), 10.0, preset="ultrafast")
    manifest = write_clips(folder_clips(tmp_path / "clips"), tmp_path / "clips.csv")
    command = [sys.executable, "-m", "whenwhere.cli", "features", "--data", str(manifest), *OPTIONS, "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def data(store: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / store).rglob("part-*")}

    subprocess.run([*command, str(tmp_path / "whole")], check=True, env=environment, capture_output=True)
    process = subprocess.Popen([*command, str(tmp_path / "killed")], env=environment, stderr=subprocess.DEVNULL)
    lines = 0
    while lines < 5:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.005)
        lines = sum(content.count(b"\n") for name, content in data("killed").items() if name.endswith("jsonl"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = data("killed")["part-0000.jsonl"].count(b"\n")
    assert before < 40
    again = subprocess.run([*command, str(tmp_path / "killed")], env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert data("killed") == data("whole")
    assert data("killed")["part-0000.jsonl"].count(b"\n") == 40
    assert (tmp_path / "killed" / HASHES).is_file()


@pytest.mark.slow
def test_memory_on_ten_minutes_of_1080p(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    video = make_long_video(tmp_path / "a" / "long.mp4", seconds=600, size=(1920, 1080), fps=10)
    # Not getrusage: its ru_maxrss starts at the peak of the process that started this one, the whole suite's.
    code = (
        "import sys; from whenwhere.cli import main; status = main(sys.argv[1:])\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(status, peak.split()[1])"
    )
    arguments = ["features", "--data", str(tmp_path), "--backbone.weights", "random", "--frames", "50"]
    command = [sys.executable, "-c", code, *arguments, "--out", str(tmp_path / "store")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert video.is_file()
    assert said[0] == "0"
    assert int(said[1]) < 1.5e6  # kilobytes
