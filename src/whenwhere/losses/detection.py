"""Every class has to be found: what a model with a map for each class minimises besides."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def detection(maps: Tensor, target: Tensor, share: float, absence: int | None = None) -> Tensor:
    """Multiple-instance loss of a detector for each class: binary cross entropy, summed over classes.

    A class's logit of the clip is the mean over the highest ``share`` of its cells, so it has to be *found* somewhere
    in the clips that show it and nowhere in the others. A softmax over classes is content with less: it knows the last
    class by the absence of the others, wherever it looks.

    Args:
        maps: `(B, T, K, H, W)` logits; without the map of ``absence`` K - 1 of them.
        target: `(B,)` class indices.
        share: of the clip's cells, in (0, 1]; 1 is the mean over all.
        absence: the class of clips in which nothing is to be found; None: every class has a map.
    """
    cells = maps.transpose(1, 2).flatten(2)
    logits = cells.topk(max(1, round(share * cells.shape[2])), dim=2).values.mean(2)
    found = F.one_hot(target, maps.shape[2] + (absence is not None)).to(logits)
    if absence is not None:
        found = torch.cat([found[:, :absence], found[:, absence + 1 :]], dim=1)
    return F.binary_cross_entropy_with_logits(logits, found, reduction="none").sum(1).mean()


def detection_share(progress: float, smallest: float) -> float:
    """Share of the cells that :func:`detection` looks at: 1 at first, ``smallest`` from 0.6 of training on.

    The highest cells of a detector that knows nothing yet are any cells, and from them it learns nothing; from the mean
    over the clip it learns what to look for, and then where.

    Args:
        progress: share of training done, in [0, 1].
        smallest: the least a target takes of a clip.
    """
    return smallest ** min(1.0, progress / 0.6)
