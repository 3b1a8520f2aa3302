"""Soft visual attention: an LSTM that chooses, frame after frame, which cells it looks at (Sharma et al. 2015).

S. Sharma, R. Kiros, R. Salakhutdinov, "Action recognition using visual attention", arXiv 1511.04119. Axes: B clips, T
frames, which are the recurrent steps too, C feature channels, H x W the feature grid, D hidden units, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from whenwhere.models.output import AttentionOutput


@dataclass(frozen=True)
class SoftAttentionLSTMOptions:
    """What the model is made of.

    Attributes:
        hidden: D, units of each LSTM layer and of the tanh layer before the classes (paper: 512 for UCF11 and
            Hollywood2, 1024 for HMDB51).
        layers: of the LSTM (paper: 3; the authors' released code has 1).
        attention: ``joint``: the energy of a cell depends on its feature and on the state,
            ``v . tanh(W_x X_i + W_h h)`` (Bahdanau et al. 2015), as in the authors' released code; ``location``: as the
            paper prints it, ``W_i . h`` with a vector W_i for every cell of the grid; the state is all it knows, so it
            looks at a frame before seeing it.
        grid: (H, W) of the features, for ``location``.
        width: inner width of the joint energy; None: C, as in the released code.
        last: of how many steps at the end the probabilities are summed to the clip's; None: of all (released code: 30
            of 30 frames on UCF11, 16 of 30 on HMDB51).
        dropout: at all connections but the recurrent ones and the LSTM's input (paper: 0.5).
    """

    hidden: int = 512
    layers: int = 3
    attention: Literal["joint", "location"] = "joint"
    grid: tuple[int, int] | None = None
    width: int | None = None
    last: int | None = None
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.attention not in ("joint", "location"):
            raise ValueError(f"attention must be joint or location, got {self.attention!r}")
        if self.attention == "location" and self.grid is None:
            raise ValueError(
                "attention=location has weights for every cell: set grid to the (H, W) of the features, "
                "or take attention=joint"
            )
        if self.last is not None and self.last < 1:
            raise ValueError(f"last must be at least 1 step, got {self.last}")


class SoftAttentionLSTM(nn.Module):
    """Recogniser that looks at each frame through a softmax over its cells.

    The state of the LSTM's top layer before a frame decides the weights of the frame's cells, their weighted sum is the
    LSTM's input. Both states of every layer start from the mean feature, through one affine map and a tanh each (the
    paper says multilayer perceptrons and gives no widths; this is the released code's form). Every step is classified;
    the clip's probabilities are the mean of the last steps', ``logits`` their logarithm.

    The mask is the softmax itself and sums to 1 over the cells of each frame; it is not scaled to a maximum of 1. Time
    has no attention, so the weights are uniform; importance tells in which frames it looks at little. The
    loss is :func:`whenwhere.losses.soft_attention_loss`.

    Parameters at C = 1024, K = 51, D = 512 and 3 layers: 8,715,827 with ``location`` on 7 x 7 cells, 10,265,651 with
    ``joint``. The released code's model of UCF11 (one layer, 11 classes) has 6,040,588; with its options this one has
    6,042,635: torch's LSTM has a second bias (4 D more), and the softmax needs none (1 fewer).

    Args:
        channels: C of the features.
        classes: K.
        options: see :class:`SoftAttentionLSTMOptions`.

    Shape:
        features `(B, T, C, H, W)` to :class:`AttentionOutput`, with ``steps``.
    """

    def __init__(self, channels: int, classes: int, options: SoftAttentionLSTMOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or SoftAttentionLSTMOptions()
        hidden, between = options.hidden, options.dropout if options.layers > 1 else 0.0
        if options.attention == "joint":
            width = options.width or channels
            self.key = nn.Linear(channels, width)
            self.query = nn.Linear(hidden, width, bias=False)
            self.energy = nn.Linear(width, 1, bias=False)  # softmax would cancel a bias
        else:
            assert options.grid is not None
            self.location = nn.Linear(hidden, math.prod(options.grid), bias=False)
        self.start_cell = nn.Linear(channels, hidden)
        self.start_hidden = nn.Linear(channels, hidden)
        self.lstm = nn.LSTM(channels, hidden, options.layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(hidden, hidden)
        self.classifier = nn.Linear(hidden, classes)

    def forward(self, features: Tensor) -> AttentionOutput:
        if features.ndim != 5:
            raise ValueError(f"features must be (B, T, C, H, W), got {tuple(features.shape)}")
        batch, frames, _, height, width = features.shape
        self._check_grid(height, width)
        cells = features.flatten(3).transpose(2, 3)  # (B, T, H W, C)
        keys = self.key(cells) if self.options.attention == "joint" else cells
        state = self._start(cells.mean(dim=(1, 2)))
        states, shares = [], []
        for frame in range(frames):
            share = self._energies(state[0][-1], keys[:, frame]).softmax(-1)
            seen = torch.bmm(share.unsqueeze(1), cells[:, frame])
            top, state = self.lstm(seen, state)
            states.append(top)
            shares.append(share)
        steps = self._classify(torch.cat(states, 1))
        mask = torch.stack(shares, 1).view(batch, frames, 1, height, width)
        uniform = mask.new_full((batch, 1, frames), 1 / frames)
        return AttentionOutput(self._last(steps), mask, uniform, steps)

    def _check_grid(self, height: int, width: int) -> None:
        grid = self.options.grid
        if self.options.attention == "location" and tuple(grid or ()) != (height, width):
            raise ValueError(
                f"attention=location was made for a grid of {grid}, the features have {(height, width)}; "
                "set grid to that, or take attention=joint"
            )

    def _start(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """First hidden and cell state, `(layers, B, D)` each, the same in every layer, from `(B, C)`."""
        layers = self.options.layers
        hidden, cell = self.start_hidden(mean).tanh(), self.start_cell(mean).tanh()
        return hidden.repeat(layers, 1, 1), cell.repeat(layers, 1, 1)

    def _energies(self, hidden: Tensor, keys: Tensor) -> Tensor:
        """`(B, H W)` before the softmax, from the state before the frame `(B, D)` and its keys `(B, H W, width)`."""
        if self.options.attention == "location":
            return self.location(hidden)
        return self.energy(torch.tanh(keys + self.query(hidden).unsqueeze(1))).squeeze(-1)

    def _classify(self, states: Tensor) -> Tensor:
        """Log probabilities `(B, T, K)` of the states `(B, T, D)`."""
        inner = self.output(self.dropout(states)).tanh()
        return self.classifier(self.dropout(inner)).log_softmax(-1)

    def _last(self, steps: Tensor) -> Tensor:
        """Logarithm of the mean probability of the last steps, `(B, T, K)` to `(B, K)`."""
        chosen = steps if self.options.last is None else steps[:, -self.options.last :]
        return chosen.logsumexp(1) - math.log(chosen.shape[1])
