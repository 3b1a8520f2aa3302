"""Temporal segment networks: every segment says what it sees, and their consensus is the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whenwhere.layers import class_activation_map
from whenwhere.models.output import AttentionOutput


@dataclass(frozen=True)
class TSNOptions:
    """What the head is made of.

    Attributes:
        dropout: share of the pooled channels dropped in training, of each segment on its own; published: 0.8 for RGB,
            0.7 for flow.
        consensus: of the segments' logits, before softmax: ``average``, which the paper settles on, or ``max``,
            each class by the segment that speaks for it most.
    """

    dropout: float = 0.8
    consensus: Literal["average", "max"] = "average"

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(f"tsn.dropout must be in [0, 1), got {self.dropout}")
        if self.consensus not in ("average", "max"):
            raise ValueError(f"tsn.consensus must be average or max, got {self.consensus!r}")


class TSN(nn.Module):
    """Spatial average, linear classifier on each segment, segmental consensus (Wang et al., ECCV 2016, Eq. 1).

    A segment is one frame, as many as there are: three in training and 25 at test, as published, without a change. The
    order of the segments does not matter. The classifier starts from N(0, 0.001^2) and bias 0, as in the public code.

    It has no attention of its own. Its mask is the class activation map of the predicted class; its weights are
    uniform, under ``max`` consensus all on the segment that decided.

    Shape:
        features `(B, T, C, H, W)` to :class:`AttentionOutput`.
    """

    def __init__(self, channels: int, classes: int, options: TSNOptions | None = None) -> None:
        super().__init__()
        self.options = options or TSNOptions()
        self.dropout = nn.Dropout(self.options.dropout)
        self.classifier = nn.Linear(channels, classes)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, features: Tensor) -> AttentionOutput:
        if features.ndim != 5:
            raise ValueError(f"features must be (B, T, C, H, W), got {tuple(features.shape)}")
        scores = self.classifier(self.dropout(features.mean(dim=(3, 4))))
        logits = scores.amax(1) if self.options.consensus == "max" else scores.mean(1)
        named = logits.argmax(1)
        mask = class_activation_map(features, self.classifier.weight[named])
        return AttentionOutput(logits, mask, self._weights(scores.detach(), named))

    def _weights(self, scores: Tensor, named: Tensor) -> Tensor:
        """`(B, 1, T)`: each segment's part in the logit of the class named."""
        frames = scores.shape[1]
        if self.options.consensus == "average":
            return scores.new_full((len(scores), 1, frames), 1 / frames)
        deciding = scores[torch.arange(len(scores), device=scores.device), :, named].argmax(1)
        return F.one_hot(deciding, frames).to(scores).unsqueeze(1)
