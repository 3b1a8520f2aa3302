from __future__ import annotations

import pytest
import torch

from whenwhere.training.config import FitOptions
from whenwhere.training.optimization import learning_rate, make_optimizer


def test_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(step, 100, 1.0, 0.1) for step in range(101)]
    assert rates[9] == pytest.approx(1.0)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0, abs=1e-12)


def test_rate_falls_to_a_tenth_at_every_milestone() -> None:
    rates = [learning_rate(step, 80, 1e-3, 0, milestones=(30, 60)) for step in range(80)]
    assert rates[0] == rates[29] == 1e-3
    assert rates[30] == rates[59] == pytest.approx(1e-4)
    assert rates[60] == rates[79] == pytest.approx(1e-5)
    late = [learning_rate(step, 20, 1e-3, 0.1, milestones=(30,)) for step in range(20)]
    assert late == [5e-4, *[1e-3] * 19]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_a_step_of_every_optimizer_is_that_of_its_publication(name: str) -> None:
    """Two steps with gradients 1 and 3 of a weight 2, rate 0.1, decay 0.5, by hand."""
    weight = torch.nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = make_optimizer([weight], FitOptions(optimizer=name, lr=0.1, weight_decay=0.5))  # type: ignore[arg-type]
    expected, momentum, square = 2.0, 0.0, 0.0
    for step, gradient in enumerate((1.0, 3.0), start=1):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        if name == "adamw":
            expected *= 1 - 0.1 * 0.5
        else:
            gradient += 0.5 * expected
        if name == "sgd":
            momentum = 0.9 * momentum + gradient
            expected -= 0.1 * momentum
        else:
            momentum, square = 0.9 * momentum + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            expected -= 0.1 * (momentum / (1 - 0.9**step)) / ((square / (1 - 0.999**step)) ** 0.5 + 1e-8)
        assert float(weight.detach()) == pytest.approx(expected, rel=1e-9)
