"""A planted motion is found, kept in a file, read in stacks and mirrored."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from damaged import write_damaged
from moving import HEIGHT, MOTION, WIDTH, inside, moving_frames, write_moving

from whenwhere.video import (
    FlowOptions,
    FlowUnavailableError,
    Preprocessing,
    Uniform,
    VideoError,
    dequantize_flow,
    flow_record,
    iter_frames,
    probe,
    quantize_flow,
    read_flow,
    write_flow,
    write_video,
)
from whenwhere.video.flow import compute_flow, flow_solver

pytest.importorskip("cv2", reason="OpenCV is not installed")
DIS = FlowOptions(method="dis")
STEP = 2 * 20 / 255


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_moving(tmp_path_factory.mktemp("moving") / "moving.mp4")


@pytest.fixture(scope="module")
def stored(moving: Path) -> Path:
    path = moving.with_suffix(".flow")
    assert write_flow(path, moving, DIS) == 11
    return path


@pytest.mark.parametrize("method", ["dis", "tvl1"])
def test_the_planted_motion_is_recovered(moving: Path, method: str) -> None:
    if method == "tvl1":
        cv2 = pytest.importorskip("cv2")
        if not hasattr(cv2, "optflow"):
            pytest.skip("OpenCV without its contrib modules, where TV-L1 is")
    options = FlowOptions(method=method)  # type: ignore[arg-type]
    for number, (seconds, levels) in enumerate(compute_flow(moving, options)):
        assert seconds == pytest.approx(number / 12, abs=1e-3)
        flow = dequantize_flow(levels, options.bound)
        rows, columns = inside(number)
        assert np.median(flow[0][rows, columns]) == pytest.approx(MOTION[0], abs=0.25)
        assert np.median(flow[1][rows, columns]) == pytest.approx(MOTION[1], abs=0.25)
        assert np.abs(np.median(flow[:, :, -16:], axis=(1, 2))).max() < 0.25, "the background stands still"
        if number == 3:
            return


def test_a_stride_and_a_rate_give_the_motion_between_the_frames_they_leave(moving: Path) -> None:
    strided = list(compute_flow(moving, FlowOptions(method="dis", stride=3)))
    assert [round(12 * seconds) for seconds, _ in strided] == [0, 3, 6]
    paced = list(compute_flow(moving, FlowOptions(method="dis", fps=4)))
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(strided, paced, strict=True))
    rows, columns = inside(0, margin=12)
    found = np.median(dequantize_flow(strided[0][1], 20)[:, rows, columns], axis=(1, 2))
    assert found == pytest.approx([3 * MOTION[0], 3 * MOTION[1]], abs=0.5)


def test_flow_is_in_pixels_of_the_size_it_is_stored_at(moving: Path) -> None:
    _, levels = next(compute_flow(moving, FlowOptions(method="dis", size=f"{3 * WIDTH}x{2 * HEIGHT}")))
    assert levels.shape == (2, 2 * HEIGHT, 3 * WIDTH)
    rows, columns = inside(0)
    flow = dequantize_flow(levels, 20)[:, 2 * rows.start : 2 * rows.stop, 3 * columns.start : 3 * columns.stop]
    assert np.median(flow, axis=(1, 2)) == pytest.approx([3 * MOTION[0], 2 * MOTION[1]], abs=0.5)


def test_quantisation_is_that_of_the_field_and_costs_half_a_step() -> None:
    assert quantize_flow(np.array([-50, -20, 0, 20, 50, 10.0]), 20).tolist() == [0, 0, 128, 255, 255, 191]
    flow = np.linspace(-20, 20, 4001)
    assert np.abs(dequantize_flow(quantize_flow(flow, 20), 20) - flow).max() <= STEP / 2 + 1e-5
    with pytest.raises(ValueError, match="not finite"):
        quantize_flow(np.array([0.0, np.nan]), 20)


def test_a_file_gives_back_what_was_computed(moving: Path, stored: Path) -> None:
    fields = np.stack([levels for _, levels in compute_flow(moving, DIS)])
    read = read_flow(stored, lambda *_: np.array([4]), length=11)
    assert np.array_equal(read.pixels[0].numpy(), fields.reshape(22, HEIGHT, WIDTH))
    exact = _unquantised(moving)
    assert np.abs(dequantize_flow(fields, 20) - np.clip(exact, -20, 20)).max() <= STEP / 2 + 1e-5
    record = flow_record(stored)
    assert (record.options, record.width, record.height) == (DIS, WIDTH, HEIGHT)
    assert (read.info.width, read.info.height) == (WIDTH, HEIGHT)
    assert not list(stored.parent.glob("*.partial"))


def _unquantised(video: Path) -> np.ndarray:
    import cv2

    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for _, image in iter_frames(video)]
    solver = flow_solver("dis")
    return np.stack([solver(a, b).transpose(2, 0, 1) for a, b in pairwise(grey)])


def test_stacks_lie_about_their_moments_in_the_order_of_tsn(moving: Path, stored: Path) -> None:
    fields = torch.from_numpy(np.stack([levels for _, levels in compute_flow(moving, DIS)]))
    read = read_flow(stored, lambda *_: np.array([0, 5, 5, 10]))
    assert read.pixels.shape == (4, 10, HEIGHT, WIDTH)
    assert read.times == pytest.approx(np.array([0, 5, 5, 10]) / 12, abs=1e-3)
    for stack, first in zip(read.pixels, (0, 3, 3, 6), strict=True):
        for number in range(5):
            assert torch.equal(stack[2 * number], fields[first + number, 0]), "x"
            assert torch.equal(stack[2 * number + 1], fields[first + number, 1]), "then y"


def test_fewer_fields_than_a_stack_repeat_the_last(tmp_path: Path) -> None:
    write_flow(tmp_path / "short.flow", write_moving(tmp_path / "short.mp4", count=3), DIS)
    stack = read_flow(tmp_path / "short.flow", Uniform(2)).pixels
    assert torch.equal(stack[0, 2:4], stack[0, 8:10])
    assert not torch.equal(stack[0, 0:2], stack[0, 2:4])
    assert torch.equal(stack[0], stack[1])


def test_a_mirrored_motion_goes_the_other_way(stored: Path, tmp_path: Path) -> None:
    """Mirroring the flow of a video is the flow of the mirrored video."""
    frames = np.ascontiguousarray(moving_frames()[:, :, ::-1])
    write_video(tmp_path / "mirrored.mp4", frames, 12.0, crf=0, preset="ultrafast")
    write_flow(tmp_path / "mirrored.flow", tmp_path / "mirrored.mp4", DIS)
    preprocessing = Preprocessing(mean=(0.5,) * 10, std=(0.226,) * 10, flow=True)
    by_us = preprocessing.mirror(read_flow(stored, Uniform(1)).pixels)[0]
    rows, columns = inside(5, margin=12)
    mirrored = slice(WIDTH - columns.stop, WIDTH - columns.start)
    by_flow = read_flow(tmp_path / "mirrored.flow", Uniform(1)).pixels[0]
    for stack in (by_us, by_flow):
        flow = np.median(dequantize_flow(stack[:, rows, mirrored].numpy(), 20), axis=(1, 2))
        assert flow[0::2] == pytest.approx([-MOTION[0]] * 5, abs=0.3)
        assert flow[1::2] == pytest.approx([MOTION[1]] * 5, abs=0.3)
    assert torch.equal(preprocessing.mirror(preprocessing.mirror(by_us)), by_us)


@pytest.mark.parametrize(
    "values, complaint",
    [
        ({"method": "farneback"}, "tvl1 or dis"),
        ({"bound": 0}, "bound must be positive"),
        ({"stride": 0}, "stride at least 1"),
        ({"stride": 2, "fps": 4.0}, "fps must be positive and goes without stride"),
        ({"size": "big"}, "WIDTHxHEIGHT or a short side.*'big'"),
        ({"size": "1x2x3"}, "WIDTHxHEIGHT"),
        ({"size": "2"}, "8 pixels or more"),
    ],
)
def test_bad_options_are_errors(values: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        FlowOptions(**values)


def test_sizes_are_both_sides_or_the_short_one() -> None:
    assert FlowOptions(size="340x256").frame_size(640, 480) == (340, 256)
    assert FlowOptions(size="256").frame_size(640, 480) == (341, 256)
    assert FlowOptions(size="256").frame_size(480, 640) == (256, 341)
    assert FlowOptions().frame_size(640, 480) == (640, 480)
    names = {FlowOptions(**v).name for v in ({}, {"method": "dis"}, {"size": "64"}, {"bound": 15}, {"stride": 2})}
    assert len(names) == 5


def test_videos_without_flow_are_errors_and_leave_nothing(tmp_path: Path) -> None:
    single = tmp_path / "single.mp4"
    write_video(single, [np.zeros((32, 48, 3), np.uint8)], 12.0)
    with pytest.raises(VideoError, match=r"single\.mp4: optical flow is between two frames"):
        write_flow(tmp_path / "single.flow", single, DIS)
    with pytest.raises(VideoError, match=r"10 of 12 frames do not decode"):
        write_flow(tmp_path / "cut.flow", write_damaged(tmp_path / "cut.avi"), DIS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.avi", "single.mp4"]


def test_another_video_is_no_file_of_flow(moving: Path) -> None:
    assert len(probe(moving).timestamps) == 12
    with pytest.raises(VideoError, match=r"moving\.mp4: is not a file of optical flow"):
        read_flow(moving, Uniform(2))


def test_a_damaged_file_of_flow_says_so(stored: Path, tmp_path: Path) -> None:
    with av.open(str(stored)) as container:
        position, size = next((p.pos, p.size) for number, p in enumerate(container.demux(video=0)) if number == 4)
    content = bytearray(stored.read_bytes())
    content[position + size // 2 : position + size] = bytes(size - size // 2)
    path = tmp_path / "damaged.flow"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"damaged\.flow: 1 of 5 flow fields asked for cannot be decoded.*delete it"):
        read_flow(path, lambda *_: np.array([4]))
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(VideoError, match=r"damaged\.flow: cut off"):
        read_flow(path, Uniform(2))


def test_without_opencv_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.delattr(cv2, "optflow", raising=False)
    with pytest.raises(FlowUnavailableError, match=r"contrib modules.*whenwhere\[flow\].*method dis"):
        flow_solver("tvl1")
    assert callable(flow_solver("dis"))
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(FlowUnavailableError, match=r"whenwhere\[flow\]"):
        flow_solver("dis")
