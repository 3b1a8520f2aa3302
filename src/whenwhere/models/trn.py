"""Temporal relation networks, multi-scale: what pairs, triples, ... of frames in order say, added up."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from whenwhere.layers import class_activation_map
from whenwhere.models.output import AttentionOutput


@dataclass(frozen=True)
class TRNOptions:
    """What the head is made of; the defaults are the published ones.

    Attributes:
        frames: N, frames it relates; of a clip with more it takes the middle ones of N equal stretches.
        subsets: ordered subsets of frames looked at on each scale, or all where there are fewer.
        width: channels to which each frame's pooled feature is reduced.
        bottleneck: hidden units of each scale's perceptron.
        dropout: share of the pooled channels dropped in training, before they are reduced.
    """

    frames: int = 8
    subsets: int = 3
    width: int = 256
    bottleneck: int = 256
    dropout: float = 0.8

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ValueError(f"trn.frames must be at least 2, there is no relation in {self.frames}")
        if min(self.subsets, self.width, self.bottleneck) < 1:
            raise ValueError("trn.subsets, trn.width and trn.bottleneck must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"trn.dropout must be in [0, 1), got {self.dropout}")


class TRN(nn.Module):
    """Multi-scale temporal relations (Zhou et al., ECCV 2018, Sec. 3).

    Each scale n = N..2 has a perceptron over n frames' features side by side, in their order: ReLU, linear, ReLU,
    linear. In training ``subsets`` of the ordered n-subsets of the frames are drawn anew for every batch; at test the
    public code goes on drawing, while here it looks at those evenly spaced in the list of all of them, so that the same
    clip always gets the same answer. Their logits are added over subsets and scales. Unlike the consensus of
    :class:`whenwhere.models.TSN` the sum depends on the order of the frames.

    It has no attention of its own. Its mask is Grad-CAM of the predicted class, averaged over the cells of each frame;
    its weights are uniform over the frames it looked at. In training, when nobody looks at it, the mask is 1.

    The reduction starts from N(0, 0.001^2) and bias 0, as in the public code.

    Shape:
        features `(B, T, C, H, W)`, T >= N, to :class:`AttentionOutput`.
    """

    def __init__(self, channels: int, classes: int, options: TRNOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or TRNOptions()
        self.dropout = nn.Dropout(options.dropout)
        self.reduce = nn.Linear(channels, options.width)
        nn.init.normal_(self.reduce.weight, std=0.001)
        nn.init.zeros_(self.reduce.bias)
        self.scales = range(options.frames, 1, -1)
        self.relations = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Linear(scale * options.width, options.bottleneck),
                nn.ReLU(),
                nn.Linear(options.bottleneck, classes),
            )
            for scale in self.scales
        )

    def forward(self, features: Tensor) -> AttentionOutput:
        if features.ndim != 5 or features.shape[1] < self.options.frames:
            raise ValueError(
                f"features must be (B, T, C, H, W) with T >= trn.frames = {self.options.frames}, "
                f"got {tuple(features.shape)}"
            )
        batch, frames = features.shape[:2]
        picked = _middles(frames, self.options.frames).to(features.device)
        weights = features.new_zeros(batch, 1, frames)
        weights[..., picked] = 1 / self.options.frames
        pooled = features.mean(dim=(3, 4))
        choose = drawn_subsets if self.training else spaced_subsets
        subsets = [choose(self.options.frames, scale, self.options.subsets) for scale in self.scales]
        logits = self._relate(pooled[:, picked], subsets)
        if self.training:
            return AttentionOutput(logits, torch.ones_like(features[:, :, :1]), weights)
        gradient = torch.zeros_like(pooled)
        gradient[:, picked] = self._gradient(pooled[:, picked], subsets, logits.argmax(1))
        return AttentionOutput(logits, class_activation_map(features, gradient), weights)

    def _relate(self, pooled: Tensor, subsets: list[list[tuple[int, ...]]]) -> Tensor:
        """Logits `(B, K)` of pooled features `(B, N, C)`: the sum over all subsets of every scale."""
        reduced = self.reduce(self.dropout(pooled))
        said = [
            relation(reduced[:, chosen].flatten(2)).sum(1)
            for relation, chosen in zip(self.relations, map(torch.tensor, subsets), strict=True)
        ]
        return torch.stack(said).sum(0)

    def _gradient(self, pooled: Tensor, subsets: list[list[tuple[int, ...]]], named: Tensor) -> Tensor:
        """Of each clip's logit of the class named with respect to its pooled features, `(B, N, C)`."""
        with torch.inference_mode(False), torch.enable_grad():
            # Cloned, for what was made in inference mode can have no gradient.
            pooled, named = pooled.detach().clone().requires_grad_(), named.clone()
            chosen = self._relate(pooled, subsets).gather(1, named.unsqueeze(1)).sum()
            return torch.autograd.grad(chosen, pooled)[0]


def spaced_subsets(frames: int, scale: int, count: int) -> list[tuple[int, ...]]:
    """``count`` ordered subsets of ``scale`` frames, evenly spaced in the list of all, or all where there are fewer.

    Example:
        of 4 frames there are the pairs 01 02 03 12 13 23; three of them are 02, 12 and 23, the middles of thirds.
    """
    every = list(combinations(range(frames), scale))
    return [every[index] for index in _middles(len(every), min(count, len(every))).tolist()]


def drawn_subsets(frames: int, scale: int, count: int) -> list[tuple[int, ...]]:
    """``count`` different ordered subsets of ``scale`` frames at random, or all where there are fewer."""
    every = list(combinations(range(frames), scale))
    return [every[index] for index in torch.randperm(len(every))[:count].tolist()]


def _middles(length: int, count: int) -> Tensor:
    """`(count,)` numbers below ``length``: the middles of ``count`` equal stretches."""
    return ((torch.arange(count) + 0.5) * length / count).long()
