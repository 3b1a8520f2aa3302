"""What in the features speaks for a class: where a mask says "look here", this says "here is why".

A mask is the same for every class. Where two classes are "something happens" and "nothing happens", it has no reason to
lie on the one that happens; evidence has.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whenwhere.models.spatio_temporal_attention import AttentionOutput


def class_evidence(head: nn.Module, features: Tensor, classes: Tensor) -> tuple[AttentionOutput, Tensor]:
    """Forward pass, and each cell's share in a class's lead over the others, not rectified.

    The lead is the class's logit minus the log-sum-exp of the other logits. Evidence is its gradient with respect to
    the mask, times the mask: what the decision would lose if the cell were masked out, to first order. A head whose
    decision does not pass through its mask (average pooling) has gradient times activation summed over channels
    instead (HiResCAM, Draelos and Carin 2020), which for a linear layer is the class activation map.

    Args:
        head: features to :class:`AttentionOutput`.
        features: `(B, T, C, H, W)`.
        classes: `(B,)` whose evidence is asked for.

    Returns:
        Output and evidence `(B, T, H, W)`, positive where a cell speaks for the class.
    """
    with torch.enable_grad():
        features = features.detach().requires_grad_()
        output = head(features)
        chosen = torch.zeros_like(output.logits, dtype=torch.bool).scatter_(1, classes[:, None], True)
        lead = output.logits[chosen] - output.logits.masked_fill(chosen, -torch.inf).logsumexp(1)
        through = output.mask if output.mask.requires_grad else features
        (gradient,) = torch.autograd.grad(lead.sum(), through)
    return AttentionOutput(*(value.detach() for value in output)), (gradient * through.detach()).sum(2)


def smooth(evidence: Tensor) -> Tensor:
    """Evidence averaged over five frames, rows and columns with binomial weights, `(B, T, H, W)` to the same.

    What a single cell of a single frame says is noise; neighbours belong to the same thing. A lone peak stays where
    it is, at the border too.
    """
    weights = evidence.new_tensor([1, 4, 6, 4, 1]) / 16
    kernel = torch.einsum("t,h,w->thw", weights, weights, weights)
    return F.conv3d(evidence.unsqueeze(1), kernel[None, None], padding=2).squeeze(1)
