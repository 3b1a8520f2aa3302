"""What is optimised, by what, and how fast."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from whenwhere.models import Network
from whenwhere.training.config import FitOptions


def learning_rate(step: int, steps: int, peak: float, warmup: float, milestones: Sequence[int] = ()) -> float:
    """Rate of update ``step`` of ``steps``: a linear rise over the share ``warmup``, then a cosine to 0.

    With ``milestones``, numbers of updates, a tenth of the rate after each of them instead of the cosine.
    """
    rising = max(1, round(steps * warmup))
    if step < rising:
        return peak * (step + 1) / rising
    if milestones:
        return peak * 0.1 ** sum(step >= milestone for milestone in milestones)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def make_optimizer(parameters: Iterable[Any], fit: FitOptions) -> torch.optim.Optimizer:
    """What ``fit.optimizer`` names, over parameters or groups of them that bring their rates."""
    if fit.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=fit.lr, momentum=0.9, weight_decay=fit.weight_decay)
    kind = torch.optim.Adam if fit.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=fit.lr, weight_decay=fit.weight_decay)


def parameter_groups(network: Network, fit: FitOptions) -> list[dict[str, Any]]:
    """What is trained of a network, with the peak rates of its head and of its backbone."""
    groups = [{"params": list(network.head.parameters()), "peak": fit.lr, "lr": fit.lr}]
    if network.backbone is not None and network.backbone.options.trainable:
        backbone = [parameter for parameter in network.backbone.parameters() if parameter.requires_grad]
        groups.append({"params": backbone, "peak": fit.backbone_lr, "lr": fit.backbone_lr})
    return groups
