"""What in the features speaks for a class: where a mask says "look here", this says "here is why".

A mask is the same for every class. Where two classes are "something happens" and "nothing happens", it has no reason to
lie on the one that happens; evidence has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whenwhere.layers import power_mean
from whenwhere.models.output import AttentionOutput


@contextmanager
def _gradients() -> Iterator[None]:
    """Gradients of a head in evaluation mode; cuDNN's recurrent layers have none there."""
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        yield


def class_evidence(head: nn.Module, features: Tensor, classes: Tensor) -> tuple[AttentionOutput, Tensor]:
    """Forward pass, and each cell's share in a class's lead over the others, not rectified.

    The lead is the class's logit minus the log-sum-exp of the other logits. Evidence is its gradient with respect to
    the mask, times the mask: what the decision would lose if the cell were masked out, to first order. A head whose
    decision does not pass through the mask it shows (average pooling; attention that is made step by step) has gradient
    times activation summed over channels instead (HiResCAM, Draelos and Carin 2020), which for a linear layer is the
    class activation map.

    Args:
        head: features to :class:`AttentionOutput`.
        features: `(B, T, C, H, W)`.
        classes: `(B,)` whose evidence is asked for.

    Returns:
        Output and evidence `(B, T, H, W)`, positive where a cell speaks for the class.
    """
    with _gradients():
        features = features.detach().requires_grad_()
        output = head(features)
        chosen = torch.zeros_like(output.logits, dtype=torch.bool).scatter_(1, classes[:, None], True)
        lead = output.logits[chosen] - output.logits.masked_fill(chosen, -torch.inf).logsumexp(1)
        through, gradient = output.mask, None
        if output.mask.requires_grad:
            (gradient,) = torch.autograd.grad(lead.sum(), output.mask, retain_graph=True, allow_unused=True)
        if gradient is None:
            through = features
            (gradient,) = torch.autograd.grad(lead.sum(), features)
    return output.detach(), (gradient * through.detach()).sum(2)


def grad_cam(
    head: nn.Module, features: Tensor, classes: Tensor, pool: Literal["frame", "clip"] = "frame"
) -> tuple[AttentionOutput, Tensor]:
    """Forward pass, and Grad-CAM of each clip's class on the features the head is given (Selvaraju et al. 2017).

    Channels are weighted by the mean gradient of the class's logit, added up and rectified. It is a control: it
    needs no attention, only a gradient.

    Args:
        head, features, classes: as :func:`class_evidence`; the head in evaluation mode, or clips mix.
        pool: ``frame`` averages gradients over the cells of each frame (2D Grad-CAM, frame by frame), ``clip`` over
            its frames too (3D Grad-CAM).

    Returns:
        Output and map `(B, T, H, W)`, >= 0; all 0 where nothing speaks for the class.
    """
    if pool not in ("frame", "clip"):
        raise ValueError(f"pool must be frame or clip, got {pool!r}")
    with _gradients():
        features = features.detach().requires_grad_()
        output = head(features)
        (gradient,) = torch.autograd.grad(output.logits.gather(1, classes[:, None]).sum(), features)
    weights = gradient.mean(dim=(3, 4) if pool == "frame" else (1, 3, 4), keepdim=True)
    return output.detach(), (weights * features.detach()).sum(2).relu()


def temporal_profile(maps: Tensor) -> Tensor:
    """When, by maps that say where: each frame's share of its clip, `(B, T, H, W)` >= 0 to `(B, T)`, sums to 1.

    Read as a mask is (:func:`power_mean`). Uniform where a map is 0 everywhere.
    """
    mass = power_mean(maps)
    total = mass.sum(1, keepdim=True)
    return torch.where(total > 0, mass / total.clamp_min(torch.finfo(mass.dtype).tiny), 1 / mass.shape[1])


def smooth(evidence: Tensor) -> Tensor:
    """Evidence averaged over five frames, rows and columns with binomial weights, `(B, T, H, W)` to the same.

    What a single cell of a single frame says is noise; neighbours belong to the same thing. A lone peak stays where
    it is, at the border too.
    """
    weights = evidence.new_tensor([1, 4, 6, 4, 1]) / 16
    kernel = torch.einsum("t,h,w->thw", weights, weights, weights)
    return F.conv3d(evidence.unsqueeze(1), kernel[None, None], padding=2).squeeze(1)
