"""What the features themselves tell when the cell is given: a yardstick for weakly supervised mosaics."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from whenwhere.datasets.mosaic import MosaicDataset


def fit_probe(positive: Tensor, negative: Tensor, penalty: float = 1e-2) -> tuple[Tensor, Tensor, Tensor]:
    """Logistic regression with an L2 penalty on standardised vectors, by L-BFGS.

    Args:
        positive, negative: `(N, C)`.

    Returns:
        weight `(C,)` in standardised units, mean `(C,)`, deviation `(C,)`.
    """
    inputs = torch.cat([positive, negative])
    mean, deviation = inputs.mean(0), inputs.std(0).clamp_min(1e-6)
    inputs = (inputs - mean) / deviation
    target = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))])
    balance = torch.where(target == 1, len(target) / (2 * len(positive)), len(target) / (2 * len(negative)))
    weight = torch.zeros(inputs.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = inputs @ weight[:-1] + weight[-1]
        loss = F.binary_cross_entropy_with_logits(logits, target, weight=balance) + penalty * weight[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach()[:-1], mean, deviation


def cell_probe(train: MosaicDataset, test: MosaicDataset) -> float:
    """Share of the action's frames in which a linear probe *with* cell labels finds the action's cell.

    The probe is trained on single frames of single cells (target clips against background clips of the
    training split), each averaged over its cells' features, and picks the cell with the highest score in
    each frame. Labels of cells and frames are exactly what the recogniser never sees.
    """
    positive, negative = (
        bank.features.float().mean(dim=(-2, -1)).flatten(0, 1) for bank in (train.targets, train.fillers)
    )
    weight, mean, deviation = fit_probe(positive, negative)
    rows, columns = test.options.rows, test.options.columns
    hits = total = 0
    for index in range(len(test)):
        layout = test.layout(index)
        if layout.cell is None or layout.interval is None:
            continue
        features = test[index]["features"][slice(*layout.interval)]
        cells = F.adaptive_avg_pool2d(features, (rows, columns)).flatten(2).transpose(1, 2)
        best = (((cells - mean) / deviation) @ weight).argmax(1)
        hits += int((best == layout.cell).sum())
        total += len(best)
    return hits / max(total, 1)
