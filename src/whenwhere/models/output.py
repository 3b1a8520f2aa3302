"""What every model gives: the answer, and both attentions."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from whenwhere.layers import frame_importance


class AttentionOutput(NamedTuple):
    """What a forward pass gives.

    Attributes:
        logits: `(B, K)`.
        mask: `(B, T, 1, H, W)` in [0, 1], before any scaling.
        weights: `(B, S, T)`, each step sums to 1 over frames.
        steps: `(B, S, K)` log probabilities of each step, by models that decide at every step; else None.
        maps: `(B, T, K, H, W)` logits of a map for each class but one that is the absence of the others, where the mask
            is made of such; else None.
    """

    logits: Tensor
    mask: Tensor
    weights: Tensor
    steps: Tensor | None = None
    maps: Tensor | None = None

    @property
    def importance(self) -> Tensor:
        """`(B, T)`, sums to 1: see :func:`frame_importance`."""
        return frame_importance(self.mask, self.weights)

    def detach(self) -> AttentionOutput:
        """The same without gradients."""
        return AttentionOutput(*(None if value is None else value.detach() for value in self))  # type: ignore[arg-type]
