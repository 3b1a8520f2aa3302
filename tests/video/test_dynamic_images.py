"""Approximate rank pooling: its coefficients and what follows from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from moving import HEIGHT, WIDTH, moving_frames, write_moving

from whenwhere.video import (
    DynamicImageOptions,
    Uniform,
    dynamic_image,
    rank_pooling_weights,
    read_dynamic_images,
    read_frames,
    write_video,
)


@pytest.mark.parametrize("length", [2, 5, 10])
def test_linear_coefficients_are_2t_minus_t_minus_1(length: int) -> None:
    assert rank_pooling_weights(length).tolist() == [2 * t - length - 1 for t in range(1, length + 1)]


@pytest.mark.parametrize("length", [2, 5, 10])
def test_harmonic_coefficients_are_those_of_the_paper(length: int) -> None:
    """Bilen et al. 2016, Sec. 2.1: 2 (T - t + 1) - (T + 1) (H_T - H_{t - 1})."""
    harmonic = [sum(1 / i for i in range(1, t + 1)) for t in range(length + 1)]
    expected = [2 * (length - t + 1) - (length + 1) * (harmonic[-1] - harmonic[t - 1]) for t in range(1, length + 1)]
    assert rank_pooling_weights(length, "harmonic").tolist() == pytest.approx(expected)


def test_harmonic_pooling_ranks_running_means() -> None:
    """The derivation: linear coefficients on the means of the frames so far are harmonic ones on the frames."""
    frames = torch.rand(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    means = frames.cumsum(0) / torch.arange(1, 8).unsqueeze(1)
    torch.testing.assert_close(rank_pooling_weights(7, "harmonic") @ frames, rank_pooling_weights(7) @ means)


@pytest.mark.parametrize("pooling", ["linear", "harmonic"])
def test_a_video_that_stands_still_gives_a_flat_image(pooling: str) -> None:
    frames = torch.from_numpy(moving_frames(10, motion=(0, 0))).permute(0, 3, 1, 2)
    assert dynamic_image(frames, pooling).unique().tolist() == [128]


def test_a_reversed_video_gives_the_negative() -> None:
    frames = torch.from_numpy(moving_frames(10)).permute(0, 3, 1, 2)
    forward, backward = dynamic_image(frames).int(), dynamic_image(frames.flip(0)).int()
    assert (forward + backward - 255).abs().max() <= 1
    assert forward.unique().numel() > 50


def test_the_image_fills_the_range_and_follows_the_order() -> None:
    """A pixel that brightens is bright, one that darkens dark, one that stays lies between."""
    frames = torch.full((5, 3, 1, 3), 100, dtype=torch.uint8)
    frames[:, :, 0, 0] = torch.arange(5, dtype=torch.uint8).mul(10).unsqueeze(1)
    frames[:, :, 0, 2] = torch.arange(5, dtype=torch.uint8).mul(10).flip(0).unsqueeze(1)
    assert dynamic_image(frames)[0, 0].tolist() == [255, 128, 0]


def test_images_are_of_the_windows_about_their_moments(tmp_path: Path) -> None:
    path = write_moving(tmp_path / "moving.mp4", count=12)
    read = read_dynamic_images(path, Uniform(3), options=DynamicImageOptions(window=4))
    assert read.pixels.shape == (3, 3, HEIGHT, WIDTH)
    assert read.times == pytest.approx(np.array([2, 6, 10]) / 12, abs=1e-3)
    every = read_frames(path, Uniform(12)).pixels
    for image, start in zip(read.pixels, (0, 4, 8), strict=True):
        assert torch.equal(image, dynamic_image(every[start : start + 4]))
    whole = read_dynamic_images(path, Uniform(3), options=DynamicImageOptions(window=40, pooling="harmonic")).pixels
    assert torch.equal(whole[0], whole[2]), "a short video has one window"


def test_one_frame_gives_a_flat_image(tmp_path: Path) -> None:
    write_video(tmp_path / "one.mp4", moving_frames(1), 12.0)
    assert read_dynamic_images(tmp_path / "one.mp4", Uniform(2)).pixels.unique().tolist() == [128]


@pytest.mark.parametrize("values", [{"window": 1}, {"pooling": "exact"}])
def test_bad_options_are_errors(values: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        DynamicImageOptions(**values)
