"""Temporal weights: a distribution over frames, blind to the state as printed, driven by it when joint."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from whenwhere.layers import TemporalAttention


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("energy", ["joint", "additive"])
def test_weights_are_a_distribution_over_frames(energy: str) -> None:
    layer = TemporalAttention(6, 4, energy)
    weights = layer(torch.randn(3, 4), layer.keys(torch.randn(3, 7, 6)))
    assert weights.shape == (3, 7)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(3))


def gradients(energy: str) -> tuple[torch.Tensor, TemporalAttention]:
    """How far weights at two states differ, and the layer with the gradients of one of the weights."""
    layer = TemporalAttention(6, 4, energy).double()
    keys = layer.keys(torch.randn(2, 7, 6, dtype=torch.float64))
    first, second = (layer(torch.randn(2, 4, dtype=torch.float64), keys) for _ in range(2))
    first[:, 0].sum().backward()
    return (first - second).abs().max(), layer


def test_additive_energies_cancel() -> None:
    """softmax_i(a(H) + b(X_i)) = softmax_i(b(X_i)): Eq. 2 as printed does not depend on the state."""
    difference, layer = gradients("additive")
    assert difference < 1e-12
    assert layer.query.weight.grad.abs().max() < 1e-12
    assert layer.key.weight.grad.abs().max() > 1e-3


def test_joint_energies_do_not() -> None:
    difference, layer = gradients("joint")
    assert difference > 1e-3
    assert layer.query.weight.grad.abs().max() > 1e-3


def test_joint_energy_is_bahdanaus() -> None:
    layer = TemporalAttention(2, 3, width=2)
    frames, state = torch.randn(1, 4, 2), torch.randn(1, 3)
    v, query, key = layer.score.weight[0], layer.query.weight, layer.key
    vectors = frames[0] / frames.square().mean().sqrt()
    energies = [v @ torch.tanh(query @ state[0] + key.weight @ vector + key.bias) for vector in vectors]
    torch.testing.assert_close(layer(state, layer.keys(frames))[0], torch.stack(energies).softmax(0))


def test_joint_keys_forget_the_level_of_each_clip() -> None:
    layer, frames = TemporalAttention(6, 4), torch.randn(3, 7, 6)
    levels = torch.tensor([0.01, 1.0, 100.0])[:, None, None]
    torch.testing.assert_close(layer.keys(frames * levels), layer.keys(frames))
    assert layer.keys(torch.zeros(1, 7, 6)).isfinite().all()


def test_a_planted_frame_is_found() -> None:
    layer = TemporalAttention(2, 3, "additive")
    nn.init.ones_(layer.key.weight)
    frames = torch.zeros(1, 5, 2)
    frames[0, 3] = 20.0
    weights = layer(torch.randn(1, 3), layer.keys(frames))
    assert weights.argmax() == 3
    assert weights.max() > 0.999


def test_unknown_energy() -> None:
    with pytest.raises(ValueError, match="'joint' or 'additive'"):
        TemporalAttention(2, 3, "dot")
