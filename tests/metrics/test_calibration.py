from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn import functional as F

from whenwhere._torchvision import ensure_torchvision
from whenwhere.metrics.bootstrap import bootstrap_statistic
from whenwhere.metrics.calibration import TEMPERATURES, confidences, fit_temperature, reliability
from whenwhere.metrics.classification import top_k_hits


def honest_clips(seed: int, clips: int, classes: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose probabilities the labels were drawn from."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(clips, classes, generator=generator)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bins", [5, 15])
def test_torchmetrics_agrees_where_no_confidence_is_on_an_edge(seed, bins):
    ensure_torchvision()
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = honest_clips(seed, 300)
    logits = 2 * logits.double()
    ours = reliability(confidences(logits), top_k_hits(logits, labels), bins).error
    theirs = multiclass_calibration_error(logits.softmax(1), labels, 6, n_bins=bins)
    assert ours == pytest.approx(float(theirs), abs=1e-6)  # theirs is in single precision


def test_error_by_hand():
    # (0.4, 0.5]: one clip, 0.5 confident and right; (0.9, 1]: 0.95 and 1, one of two right.
    diagram = reliability([0.5, 0.95, 1.0], [True, True, False], bins=10)
    assert diagram.error == pytest.approx(1 / 3 * 0.5 + 2 / 3 * (0.975 - 0.5))
    assert diagram.weight.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 2]
    np.testing.assert_allclose(diagram.confidence[[4, 9]], [0.5, 0.975])
    np.testing.assert_allclose(diagram.accuracy[[4, 9]], [1, 0.5])
    assert np.isnan(diagram.accuracy[[0, 3, 8]]).all()


def test_bins_hold_their_upper_edge_and_the_first_holds_zero():
    diagram = reliability([0, 0.25, 0.5, 0.75, 1], [1, 0, 1, 0, 1], bins=4)
    assert diagram.weight.tolist() == [2, 1, 1, 1]
    assert diagram.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_limits_of_the_error():
    right, wrong = np.ones(50, bool), np.zeros(50, bool)
    assert reliability(np.ones(50), right).error == 0
    assert reliability(np.ones(50), wrong).error == 1
    assert reliability(np.full(50, 0.2), right).error == pytest.approx(0.8)


def test_honest_confidences_have_little_error_and_inflated_ones_have_much():
    logits, labels = honest_clips(0, 20_000)
    correct = top_k_hits(logits, labels)
    assert reliability(confidences(logits), correct).error < 0.02
    assert reliability(confidences(logits), correct, adaptive=True).error < 0.02
    assert reliability(confidences(3 * logits), correct).error > 0.1


def test_one_bin_compares_the_means():
    random = np.random.default_rng(0)
    confidence, correct = random.random(100), random.random(100) < 0.3
    expected = abs(confidence.mean() - correct.mean())
    assert reliability(confidence, correct, bins=1).error == pytest.approx(expected)
    assert reliability(confidence, correct, bins=20).error >= expected  # a finer look cancels less


def test_adaptive_bins_hold_equally_many_clips():
    confidence = np.random.default_rng(0).beta(20, 1, size=300)
    assert reliability(confidence, np.ones(300), bins=15, adaptive=True).weight.tolist() == [20] * 15
    assert np.isfinite(reliability(np.ones(7), np.ones(7), adaptive=True).error)


def test_weighing_clips_equals_repeating_them_so_that_the_error_can_have_an_interval():
    random = np.random.default_rng(1)
    confidence, correct, weights = random.random(60), random.random(60) < 0.5, random.integers(3, size=60)
    weighed = reliability(confidence, correct, weights=weights).error
    assert weighed == pytest.approx(reliability(np.repeat(confidence, weights), np.repeat(correct, weights)).error)
    interval = bootstrap_statistic(lambda w: reliability(confidence, correct, weights=w).error, 60, resamples=100)
    assert 0 < interval[0] < interval[1] < 1


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: reliability([], []), "no clips to measure calibration on"),
        (lambda: reliability([0.5], [1], weights=[0]), "no clips to measure calibration on"),
        (lambda: reliability([0.5, np.nan], [1, 1]), r"must be probabilities in \[0, 1\]"),
        (lambda: reliability([0.5, 4.2], [1, 1]), r"must be probabilities in \[0, 1\]"),
        (lambda: reliability([0.5, 0.6], [1]), r"must be \(N,\), got \(2,\), \(1,\) and \(2,\)"),
        (lambda: reliability([0.5], [1], bins=0), "at least one bin, got 0"),
        (lambda: fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)), "need clips"),
        (lambda: fit_temperature(torch.full((2, 3), torch.nan), torch.tensor([0, 1])), "2 of 2 clips are not numbers"),
        (lambda: fit_temperature(torch.eye(2).log(), torch.tensor([0, 1])), "finite logits; some are -inf"),
        (lambda: fit_temperature(torch.eye(2), torch.tensor([0, 2])), "none of the 2 classes"),
    ],
)
def test_what_cannot_be_is_an_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_temperature_of_honest_logits_is_one_and_follows_a_planted_factor():
    logits, labels = honest_clips(1, 20_000)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(1, abs=0.03)
    for factor in (0.25, 3.0):
        assert fit_temperature(factor * logits, labels) == pytest.approx(factor * temperature, rel=1e-5)
    assert fit_temperature(logits + torch.randn(20_000, 1), labels) == pytest.approx(temperature, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_a_general_optimiser_finds_the_same_temperature(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(5, (200,), generator=generator)
    logits = 4 * torch.randn(200, 5, generator=generator, dtype=torch.double) + 3 * F.one_hot(labels, 5)
    found = minimize_scalar(
        lambda inverse: float(F.cross_entropy(logits * inverse, labels)), bounds=(0.01, 10), options={"xatol": 1e-9}
    )
    assert fit_temperature(logits, labels) == pytest.approx(1 / found.x, rel=1e-5)


def test_temperature_mends_confidences_and_keeps_every_prediction():
    logits, labels = honest_clips(2, 5000)
    logits = 3 * logits
    cooled = logits / fit_temperature(logits, labels)
    before, after = top_k_hits(logits, labels), top_k_hits(cooled, labels)
    torch.testing.assert_close(before, after)
    assert reliability(confidences(cooled), after).error < 0.2 * reliability(confidences(logits), before).error


def test_without_an_optimum_an_end_comes_back():
    labels = torch.tensor([0, 1, 2, 0])
    right = F.one_hot(labels, 3).float()
    assert fit_temperature(right, labels) == pytest.approx(TEMPERATURES[0])
    assert fit_temperature(-right, labels) == pytest.approx(TEMPERATURES[1])
    assert fit_temperature(torch.full((4, 3), 7.0), labels) == 1
