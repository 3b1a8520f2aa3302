"""Signals of order: an encoding of relative time, and differences that know the direction of play."""

from __future__ import annotations

import torch

from whenwhere.layers import temporal_difference, temporal_encoding


def test_encoding_tells_every_frame_apart() -> None:
    code = temporal_encoding(50, 64)
    assert code.shape == (50, 64)
    assert code.abs().max() <= 1
    assert torch.pdist(code).min() > 0.1


def test_encoding_is_of_relative_time() -> None:
    torch.testing.assert_close(temporal_encoding(9, 16)[4], temporal_encoding(51, 16)[25])
    # Three times the frames: every third of them stands where a frame stood before.
    torch.testing.assert_close(temporal_encoding(30, 16)[1::3], temporal_encoding(10, 16), rtol=1e-4, atol=1e-5)


def test_encoding_takes_odd_widths() -> None:
    torch.testing.assert_close(temporal_encoding(6, 7), temporal_encoding(6, 8)[:, :7])


def test_difference_of_a_ramp_is_its_slope() -> None:
    ramp = torch.arange(6.0).mul(3).view(1, 6, 1, 1, 1).expand(2, 6, 4, 2, 2)
    difference = temporal_difference(ramp)
    assert difference.shape == ramp.shape
    assert torch.equal(difference[:, 1:-1], torch.full((2, 4, 4, 2, 2), 3.0))
    assert torch.equal(difference[:, [0, -1]], torch.full((2, 2, 4, 2, 2), 1.5))


def test_difference_changes_sign_when_played_backwards() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 5, 3, 2, 2)
    torch.testing.assert_close(temporal_difference(features.flip(1)), -temporal_difference(features).flip(1))


def test_difference_of_one_frame_is_zero() -> None:
    assert torch.equal(temporal_difference(torch.ones(2, 1, 3, 2, 2)), torch.zeros(2, 1, 3, 2, 2))
