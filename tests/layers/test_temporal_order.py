"""Signals of order: an encoding of relative time, and differences that know the direction of play."""

from __future__ import annotations

import pytest
import torch

from whenwhere.layers import TemporalConvolution, temporal_difference, temporal_encoding


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


def test_convolution_tells_a_motion_from_its_reverse_after_averaging() -> None:
    """A dot that walks right and one that walks left, from and to an empty frame: signed changes average to nothing."""
    torch.manual_seed(0)
    walk = torch.zeros(1, 8, 1, 5, 8)
    for time in range(1, 7):
        walk[0, time, 0, 2, time] = 1
    layer = TemporalConvolution(1, 4).eval()
    assert layer(walk).shape == (1, 8, 4, 5, 8)
    pooled = [layer(clip).mean((1, 3, 4)) for clip in (walk, walk.flip(1))]
    assert (pooled[0] - pooled[1]).abs().max() > 1e-3
    assert temporal_difference(walk).mean((1, 3, 4)).abs().max() < 1e-6


def test_convolution_sees_neighbouring_frames_only() -> None:
    torch.manual_seed(0)
    layer, clip = TemporalConvolution(3, 4).eval(), torch.randn(1, 9, 3, 4, 4)
    changed = clip.clone()
    changed[:, 0] += 1
    frames = (layer(clip) - layer(changed)).abs().amax((0, 2, 3, 4)) > 0
    assert frames.tolist() == [True] * 3 + [False] * 6


def test_with_one_cell_what_a_convolution_knows_of_a_place_stays_there() -> None:
    torch.manual_seed(0)
    layer, clip = TemporalConvolution(3, 4, kernel=(5, 1)).eval(), torch.randn(1, 12, 3, 4, 4)
    changed = clip.clone()
    changed[0, 0, :, 1, 2] += 1
    differs = (layer(clip) - layer(changed)).abs().amax((0, 2)) > 0
    assert differs[:, 1, 2].tolist() == [True] * 5 + [False] * 7
    assert differs.sum() == 5


@pytest.mark.parametrize("kernel", [(4, 3), (3, 2), (0, 1), (3, -1)])
def test_a_kernel_has_a_middle(kernel: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="odd numbers of frames and cells"):
        TemporalConvolution(3, 4, kernel=kernel)
