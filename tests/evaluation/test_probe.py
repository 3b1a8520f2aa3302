from __future__ import annotations

import pytest
import torch

from whenwhere.evaluation.probe import fit_probe


def test_probe_agrees_with_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    generator = torch.Generator().manual_seed(0)
    positive = torch.randn(200, 5, generator=generator) + torch.tensor([1.0, 0, 0, -1, 0])
    negative = torch.randn(200, 5, generator=generator)
    weight, mean, deviation = fit_probe(positive, negative, penalty=1e-2)
    inputs = ((torch.cat([positive, negative]) - mean) / deviation).numpy()
    # Mean loss + penalty |w|^2 over n = 400 is scikit-learn's sum of losses + |w|^2 / (2 C).
    reference = linear.LogisticRegression(C=1 / (2 * 400 * 1e-2)).fit(inputs, [1] * 200 + [0] * 200)
    torch.testing.assert_close(weight, torch.from_numpy(reference.coef_[0]).float(), atol=1e-3, rtol=1e-3)
