"""A recurrent cell whose state keeps its place on the grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whenwhere.layers.winograd import Convolution3x3

State = tuple[Tensor, Tensor]


class ConvLSTM(nn.Module):
    """Convolutional LSTM without peepholes (Shi et al. 2015; paper, Sec. 3.3).

    ``i, f, o = sigmoid(W_x * Y + W_h * H + b)``, ``g = tanh(W_x * Y + W_h * H + b)``,
    ``C = f C + i g``, ``H = o tanh(C)``; gates are stacked in the order i, f, g, o.

    The input convolution is a method of its own (:meth:`input_gates`): being linear, it can be taken
    over many frames at once, before they are mixed, instead of at every step.

    Args:
        channels: input channels C.
        hidden: state channels D.
        kernel: odd kernel size, same padding.
    """

    def __init__(self, channels: int, hidden: int, kernel: int = 3) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd so that the grid keeps its size, got {kernel}")
        self.hidden, self.kernel = hidden, kernel
        self.input_conv = (
            Convolution3x3(channels, 4 * hidden)
            if kernel == 3
            else nn.Conv2d(channels, 4 * hidden, kernel, padding=kernel // 2, bias=False)
        )
        self.state_conv = nn.Conv2d(hidden, 4 * hidden, kernel, padding=kernel // 2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """What the two convolutions do not do themselves: forget gates start open (Jozefowicz et al. 2015), so that
        early steps reach the readout."""
        with torch.no_grad():
            bias: Tensor = self.state_conv.bias  # type: ignore[assignment]
            bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0]).repeat_interleave(self.hidden))

    def input_gates(self, inputs: Tensor) -> Tensor:
        """`(N, C, H, W)` to the inputs' share of the gates, `(N, 4 D, H, W)`."""
        return self.input_conv(inputs)

    def step(self, input_gates: Tensor, state: State) -> State:
        """One step from `(B, 4 D, H, W)` and the state ``(H, C)``, each `(B, D, H, W)`."""
        hidden, cell = state
        i, f, g, o = (input_gates + self._state_gates(hidden)).chunk(4, dim=1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(cell), cell

    def _state_gates(self, hidden: Tensor) -> Tensor:
        """The state's share of the gates, `(B, 4 D, H, W)`."""
        if hidden.device.type != "cpu":
            return self.state_conv(hidden)
        # On a processor a step is too small for the convolution library, which reorders the weights at every
        # call; one matrix product over patches gives the same in about half the time, forward and backward.
        patches = F.unfold(hidden, self.kernel, padding=self.kernel // 2)
        gates = self.state_conv.weight.flatten(1) @ patches
        return gates.unflatten(-1, hidden.shape[-2:]) + self.state_conv.bias[:, None, None]  # type: ignore[index]

    def forward(self, inputs: Tensor, state: State | None = None) -> Tensor:
        """Run over `(B, S, C, H, W)`, from zeros unless told; gives all H, `(B, S, D, H, W)`."""
        gates = self.input_gates(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
        if state is None:
            zeros = gates.new_zeros(len(inputs), self.hidden, *inputs.shape[-2:])
            state = (zeros, zeros)
        outputs = []
        for step in range(inputs.shape[1]):
            state = self.step(gates[:, step], state)
            outputs.append(state[0])
        return torch.stack(outputs, dim=1)
