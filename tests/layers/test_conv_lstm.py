"""The recurrence against an independent implementation, and its linear part against its steps."""

from __future__ import annotations

import os

import pytest
import torch

from whenwhere.layers import ConvLSTM

os.environ["KERAS_BACKEND"] = "torch"


def keras_outputs(layer: ConvLSTM, inputs: torch.Tensor, kernel: int) -> torch.Tensor:
    """The same weights in keras' ConvLSTM2D, whose gates are stacked i, f, c, o and whose axes end in C."""
    keras = pytest.importorskip("keras")
    reference = keras.layers.ConvLSTM2D(
        layer.hidden, kernel, padding="same", recurrent_activation="sigmoid", return_sequences=True
    )
    last = inputs.movedim(2, -1)
    reference.build(tuple(last.shape))
    reference.set_weights(
        [
            layer.input_conv.weight.detach().permute(2, 3, 1, 0).numpy(),
            layer.state_conv.weight.detach().permute(2, 3, 1, 0).numpy(),
            layer.state_conv.bias.detach().numpy(),
        ]
    )
    return torch.as_tensor(reference(last)).detach().cpu().movedim(-1, 2)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_equals_keras(kernel: int) -> None:
    torch.manual_seed(0)
    layer = ConvLSTM(5, 4, kernel)
    torch.nn.init.normal_(layer.state_conv.bias)
    inputs = torch.randn(2, 6, 5, 4, 7)
    with torch.no_grad():
        ours = layer(inputs)
    assert ours.shape == (2, 6, 4, 4, 7)
    assert ours.std() > 0.1
    assert (ours - keras_outputs(layer, inputs, kernel)).abs().max() <= 1e-5


def test_input_gates_are_linear() -> None:
    torch.manual_seed(0)
    layer, frames, weights = ConvLSTM(3, 2), torch.randn(4, 3, 5, 5), torch.rand(4)
    mixed_first = layer.input_gates(torch.einsum("t,tchw->chw", weights, frames).unsqueeze(0))[0]
    mixed_last = torch.einsum("t,tchw->chw", weights, layer.input_gates(frames))
    torch.testing.assert_close(mixed_first, mixed_last, rtol=1e-5, atol=1e-6)


def test_a_given_state_continues_the_run() -> None:
    torch.manual_seed(0)
    layer, inputs = ConvLSTM(3, 2), torch.randn(2, 4, 3, 5, 5)
    zeros = torch.zeros(2, 2, 5, 5)
    state = layer.step(layer.input_gates(inputs[:, 0]), (zeros, zeros))
    torch.testing.assert_close(layer(inputs[:, 1:], state), layer(inputs)[:, 1:])


def test_one_cell_reaches_as_far_as_the_kernel() -> None:
    layer = ConvLSTM(1, 2)
    blank, lit = torch.zeros(1, 1, 1, 7, 7), torch.zeros(1, 1, 1, 7, 7)
    lit[..., 3, 3] = 1.0
    changed = (layer(lit) - layer(blank)).abs().sum((0, 1, 2)) > 0
    expected = torch.zeros(7, 7, dtype=torch.bool)
    expected[2:5, 2:5] = True
    assert torch.equal(changed, expected)


def test_forget_gates_start_open() -> None:
    layer = ConvLSTM(3, 2)
    assert layer.state_conv.bias is not None
    assert layer.state_conv.bias.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert layer.state_conv.bias.requires_grad


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        ConvLSTM(3, 2, kernel=4)
