from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from damaged import overwrite_packets

from whenwhere.video import Uniform, VideoError, build_index, iter_frames, probe, read_frames, reader

Encode = Callable[..., Path]
ReadStamp = Callable[[np.ndarray], int]

TICK_30, TICK_MS = Fraction(1, 30), Fraction(1, 1000)
FORMATS = {
    "h264.mp4": {},
    "open_gop.mp4": {"options": {"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3"}},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "h264.mkv": {},
    "h264.ts": {},
    "h264.flv": {"time_base": TICK_MS},
    "mpeg2.mpg": {"codec": "mpeg2video", "time_base": TICK_30},
    "mpeg4_b_frames.avi": {"codec": "mpeg4", "time_base": TICK_30},
    "mpeg4.avi": {"codec": "mpeg4", "time_base": TICK_30, "b_frames": 0},
    "h264_b_frames.avi": {"time_base": TICK_30},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "time_base": TICK_30},
    "raw.avi": {"codec": "rawvideo", "pix_fmt": "bgr24", "time_base": TICK_30},
    "vp8.webm": {"codec": "libvpx", "time_base": TICK_MS, "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
    "vp9.webm": {"codec": "libvpx-vp9", "time_base": TICK_MS, "options": {"cpu-used": "8"}},
    "gif.gif": {"codec": "gif", "pix_fmt": "rgb8", "time_base": Fraction(1, 100)},
}


class Pick:
    """A sampler that asks for given frames."""

    def __init__(self, *indices: int) -> None:
        self.indices = np.array(indices, dtype=np.int64)

    def __call__(self, timestamps: np.ndarray, duration: float, generator: torch.Generator | None) -> np.ndarray:
        return self.indices


@pytest.fixture(scope="module", params=FORMATS)
def sixty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, encode: Encode) -> Path:
    """Sixty numbered frames at 30 a second."""
    return encode(tmp_path_factory.mktemp("formats") / request.param, **FORMATS[request.param])


def stamps(frames: reader.Frames, read_stamp: ReadStamp) -> list[int]:
    return [read_stamp(image) for image in frames.pixels.permute(0, 2, 3, 1).numpy()]


def clipped(path: Path, keep: float) -> Path:
    """The first part of a file, as after a broken download."""
    data = path.read_bytes()
    short = path.with_name("short_" + path.name)
    short.write_bytes(data[: int(len(data) * keep)])
    return short


def test_every_format_tells_its_times(sixty: Path) -> None:
    info = probe(sixty)
    assert (info.width, info.height, info.rotation) == (128, 64, 0)
    # Matroska and FLV count milliseconds, GIF hundredths.
    rounding = {".mkv": 5e-4, ".webm": 5e-4, ".flv": 5e-4, ".gif": 5e-3}.get(sixty.suffix, 1e-9)
    np.testing.assert_allclose(info.timestamps, np.arange(60) / 30, rtol=0, atol=2 * rounding)
    assert info.duration == pytest.approx(2, abs=0.011)
    assert info.fps == pytest.approx(30, abs=0.2)


def test_frames_come_with_their_numbers(sixty: Path, read_stamp: ReadStamp) -> None:
    wanted = [0, 1, 7, 7, 30, 31, 58, 59]
    frames = read_frames(sixty, Pick(*wanted))
    assert frames.pixels.dtype == torch.uint8
    assert frames.pixels.shape == (8, 3, 64, 128)
    assert stamps(frames, read_stamp) == wanted
    np.testing.assert_array_equal(frames.times, frames.info.timestamps[wanted])


def test_an_index_saves_looking_through_the_file_again(sixty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, expected = build_index(sixty), read_frames(sixty, Uniform(5))
    monkeypatch.delattr(reader, "build_index")
    frames = read_frames(index, Uniform(5))
    assert torch.equal(frames.pixels, expected.pixels)
    np.testing.assert_array_equal(frames.times, expected.times)
    assert frames.info is index.info


def test_any_frame_can_be_asked_for_alone(sixty: Path) -> None:
    """Seeking must not change a pixel: each frame read alone equals the one of a run through the file."""
    everything = [image for _, image in iter_frames(sixty)]
    assert len(everything) == 60
    for i in range(0, 60, 5):
        alone = read_frames(sixty, Pick(i)).pixels[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(alone, everything[i], err_msg=f"frame {i}")


def test_repeats_and_order(tmp_path: Path, encode: Encode, read_stamp: ReadStamp) -> None:
    short = encode(tmp_path / "three.mp4", range(3))
    assert stamps(read_frames(short, Uniform(8)), read_stamp) == [0, 0, 0, 1, 1, 2, 2, 2]
    assert stamps(read_frames(short, Pick(2, 0, 1)), read_stamp) == [0, 1, 2]
    single = encode(tmp_path / "one.mp4", range(1))
    assert probe(single).duration > 0
    assert stamps(read_frames(single, Uniform(2)), read_stamp) == [0, 0]


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_variable_frame_rate(name: str, tmp_path: Path, encode: Encode, read_stamp: ReadStamp) -> None:
    rng = np.random.default_rng(0)
    milliseconds = np.concatenate([[0], np.cumsum(rng.integers(5, 400, 39))])
    path = encode(tmp_path / name, range(40), [int(ms) * 90 for ms in milliseconds])
    info = probe(path)
    np.testing.assert_allclose(info.timestamps, milliseconds / 1000, atol=1e-9)
    assert info.duration > info.timestamps[-1]
    assert info.fps == pytest.approx(40 / info.duration)
    assert stamps(read_frames(path, Pick(3, 17, 39)), read_stamp) == [3, 17, 39]


def test_frames_before_zero_are_hidden_by_the_edit_list(tmp_path: Path, encode: Encode, read_stamp: ReadStamp) -> None:
    path = encode(tmp_path / "negative.mp4", pts=[(i - 4) * 3000 for i in range(60)])
    frames = read_frames(path, Pick(0, 10, 55))
    np.testing.assert_allclose(frames.info.timestamps, np.arange(56) / 30, atol=1e-9)
    assert stamps(frames, read_stamp) == [4, 14, 59]


def test_an_end_trimmed_by_the_edit_list_is_not_cut_off(tmp_path: Path, encode: Encode, read_stamp: ReadStamp) -> None:
    """Phones trim a video by its edit list alone: more frames lie in the file than are shown."""
    path = encode(tmp_path / "trimmed.mp4", pts=[(i - 4) * 3000 for i in range(60)])
    data = bytearray(path.read_bytes())
    struct.pack_into(">I", data, data.index(b"elst") + 12, 800)  # shown for 0.8 s instead of 1.87 s
    path.write_bytes(data)
    frames = read_frames(path, Pick(0, 23))
    assert len(frames.info.timestamps) == 24
    assert frames.info.duration == pytest.approx(0.8)
    assert stamps(frames, read_stamp) == [4, 27]


def test_a_recording_that_begins_between_key_frames(tmp_path: Path, encode: Encode, read_stamp: ReadStamp) -> None:
    """What comes before the first key frame cannot be decoded and does not count."""
    path = encode(tmp_path / "broadcast.ts")
    path.write_bytes(path.read_bytes()[188 * 20 :])
    frames = read_frames(path, Pick(0, 47))
    assert len(frames.info.timestamps) == 48
    assert stamps(frames, read_stamp) == [12, 59]


def test_a_late_start_is_time_zero(tmp_path: Path, encode: Encode) -> None:
    info = probe(encode(tmp_path / "late.mp4", pts=[(i + 100) * 3000 for i in range(60)]))
    np.testing.assert_allclose(info.timestamps, np.arange(60) / 30, atol=1e-9)
    assert info.duration == pytest.approx(2)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_rotation_and_mirroring(
    rotation: int, mirror: bool, tmp_path: Path, encode: Encode, stamp: Callable[[int], np.ndarray]
) -> None:
    path = encode(tmp_path / "turned.mp4", range(3), rotation=rotation, mirror=mirror)
    expected = np.rot90(stamp(1), rotation // 90)
    expected = np.fliplr(expected) if mirror else expected
    frames = read_frames(path, Pick(1))
    shown = frames.pixels[0].permute(1, 2, 0).numpy()
    assert (frames.info.height, frames.info.width) == expected.shape[:2] == shown.shape[:2]
    if not mirror:
        assert frames.info.rotation == rotation % 360
    assert np.abs(shown.astype(int) - expected).mean() < 6
    np.testing.assert_array_equal([image for _, image in iter_frames(path)][1], shown)


def test_only_what_is_needed_is_decoded(tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "long.mp4", range(240))
    decoded = 0
    decode = reader.decode

    def counting(container: object, stream: object) -> Iterator[av.VideoFrame]:
        nonlocal decoded
        for frame in decode(container, stream):
            decoded += 1
            yield frame

    monkeypatch.setattr(reader, "decode", counting)
    frames = read_frames(path, Pick(2, 100, 230))
    np.testing.assert_allclose(frames.times, [2 / 30, 100 / 30, 230 / 30])
    assert decoded <= 3 * 12 + 3


def test_iteration_streams(sixty: Path) -> None:
    frames = iter_frames(sixty)
    assert inspect.isgenerator(frames)
    np.testing.assert_array_equal([seconds for seconds, _ in frames], probe(sixty).timestamps)


def test_names_that_look_like_addresses_or_patterns(tmp_path: Path, encode: Encode) -> None:
    assert len(probe(encode(tmp_path / "a:b %03d.mp4", range(5))).timestamps) == 5


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.8])
@pytest.mark.parametrize(
    "name, settings",
    [
        ("plain.mp4", {}),
        ("faststart.mp4", {"container_options": {"movflags": "faststart"}}),
        ("matroska.mkv", {}),
        ("mjpeg.avi", FORMATS["mjpeg.avi"]),
        ("mpeg4.avi", FORMATS["mpeg4.avi"]),
        ("vp9.webm", FORMATS["vp9.webm"]),
    ],
)
def test_cut_off_files(name: str, settings: dict, keep: float, tmp_path: Path, encode: Encode) -> None:
    path = clipped(encode(tmp_path / name, range(200), **settings), keep)
    with pytest.raises(VideoError, match=f"{path.name}.*(cut off|damaged)"):
        probe(path)


def test_cut_off_transport_stream(tmp_path: Path, encode: Encode) -> None:
    path = encode(tmp_path / "stream.ts", range(200))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 188 * 188 + 100])
    with pytest.raises(VideoError, match="cut off in the middle"):
        probe(path)


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "text.txt").write_text("no video here\n" * 50)
    av.VideoFrame(16, 16, "rgb24").save(tmp_path / "image.png")
    for name, cause in {
        "missing.mp4": "no such file",
        ".": "is a folder",
        "empty.mp4": "empty",
        "noise.mp4": "cannot be opened as a video",
        "text.txt": "not a video|is an image or text",
        "image.png": "is an image",
        "sound.wav": "only audio",
    }.items():
        with pytest.raises(VideoError, match=cause) as caught:
            probe(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_damaged_frames_are_counted_when_wanted(tmp_path: Path, encode: Encode, read_stamp: ReadStamp) -> None:
    path = encode(tmp_path / "damaged.mp4", codec="mjpeg", pix_fmt="yuvj420p")
    overwrite_packets(path, range(20, 26))
    assert stamps(read_frames(path, Pick(5, 40)), read_stamp) == [5, 40]
    with pytest.raises(VideoError, match=r"damaged.mp4: 2 of 4 frames .* frame 21 at 0.70 s"):
        read_frames(path, Pick(5, 21, 22, 40))
    assert [read_stamp(image) for _, image in iter_frames(path)] == [*range(20), *range(26, 60)]


def test_nothing_can_be_decoded(tmp_path: Path, encode: Encode) -> None:
    path = encode(tmp_path / "dead.mp4", codec="mjpeg", pix_fmt="yuvj420p")
    overwrite_packets(path, range(60))
    with pytest.raises(VideoError, match="none of its frames can be decoded"):
        probe(path)


@pytest.mark.parametrize("indices", [[], [-1], [60], [0.5]])
def test_bad_requests(indices: list, tmp_path: Path, encode: Encode) -> None:
    path = encode(tmp_path / "fine.mp4")
    with pytest.raises(VideoError, match="bad request"):
        read_frames(path, lambda timestamps, duration, generator: np.array(indices))


@pytest.mark.slow
def test_real_clips_match_decoding_everything(shared: Path) -> None:
    """Camera, broadcast and archive files of six data sets, in the encodings they were published in."""
    paths = sorted((shared / "data" / "named_clips").iterdir())
    assert len(paths) >= 18
    for path in paths:
        frames = read_frames(path, Uniform(6))
        wanted = np.searchsorted(frames.info.timestamps, frames.times).tolist()
        with av.open(str(path), metadata_errors="replace") as container:
            count, rate = 0, container.streams.video[0].average_rate
            for count, frame in enumerate(container.decode(video=0), start=1):
                if count - 1 in wanted:
                    expected = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
                    assert torch.equal(frames.pixels[wanted.index(count - 1)], expected), (path.name, count - 1)
        assert len(frames.info.timestamps) == count, path.name
        np.testing.assert_allclose(frames.info.timestamps, np.arange(count) / float(rate), atol=1e-6)
