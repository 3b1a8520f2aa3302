"""The printed priors and where they fail; the scale-free ones and what they do not depend on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from whenwhere.losses import (
    LossOptions,
    attention_loss,
    classification_loss,
    contrast,
    contrast_sum,
    doubly_stochastic,
    prior_share,
    soft_attention_loss,
    total_variation,
    total_variation_sum,
    unimodality,
    unimodality_sum,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def flat(level: float, frames: int = 5, side: int = 7) -> Tensor:
    return torch.full((2, frames, 1, side, side), level)


def half(frames: int = 5, side: int = 8) -> Tensor:
    mask = torch.zeros(2, frames, 1, side, side)
    mask[..., : side // 2] = 1
    return mask


@pytest.mark.parametrize("variant", ["default", "paper"])
def test_a_batch_twice_gives_the_same_loss(variant: str) -> None:
    batch = torch.randn(3, 4), torch.tensor([0, 3, 1]), torch.rand(3, 5, 1, 4, 4), torch.randn(3, 5, 5).softmax(-1)
    options = LossOptions().resolved(variant)
    once, twice = (
        attention_loss(*parts, options) for parts in (batch, [part.repeat_interleave(2, 0) for part in batch])
    )
    assert once.keys() == twice.keys()
    for term in once:
        torch.testing.assert_close(once[term], twice[term])


def test_printed_weights() -> None:
    options = LossOptions().resolved("paper")
    assert (options.form, options.total_variation, options.contrast) == ("sum", 1e-5, 1e-4)
    assert (options.unimodality, options.area, options.warmup) == (1.0, 0.0, 0.0)
    assert LossOptions().resolved("default").form == "relative"
    kept = LossOptions(form="sum", contrast=0.0).resolved("default")
    assert (kept.form, kept.contrast, kept.total_variation) == ("sum", 0.0, 1e-5)


@pytest.mark.parametrize("form", ["sum", "relative"])
def test_total_is_the_weighted_sum(form: str) -> None:
    logits, target = torch.randn(3, 4), torch.tensor([0, 3, 1])
    mask, weights = torch.rand(3, 5, 1, 4, 4), torch.randn(3, 5, 5).softmax(-1)
    coefficients = {"total_variation": 0.2, "contrast": 0.3, "unimodality": 0.5, "persistence": 0.1, "area": 0.7}
    options = LossOptions(form=form, warmup=0.5, label_smoothing=0.1, **coefficients).resolved("default")
    for progress, rise in ((0.0, 0.0), (0.1, 0.2), (0.5, 1.0), (1.0, 1.0)):
        terms = attention_loss(logits, target, mask, weights, options, progress)
        cross_entropy = F.cross_entropy(logits, target, label_smoothing=0.1)
        priors = sum(weight * terms[name] for name, weight in coefficients.items())
        torch.testing.assert_close(terms["cross_entropy"], cross_entropy)
        torch.testing.assert_close(terms["total"], cross_entropy + rise * priors)


def test_the_form_chooses_the_priors() -> None:
    parts = torch.randn(3, 4), torch.tensor([0, 3, 1]), torch.rand(3, 5, 1, 4, 4), torch.randn(3, 5, 5).softmax(-1)
    printed = attention_loss(*parts, LossOptions().resolved("paper"))
    relative = attention_loss(*parts, LossOptions().resolved("default"))
    for term, summed, scale_free in (
        ("total_variation", total_variation_sum, total_variation),
        ("contrast", contrast_sum, contrast),
        ("unimodality", unimodality_sum, unimodality),
    ):
        source = parts[3] if term == "unimodality" else parts[2]
        assert printed[term] == summed(source)
        assert relative[term] == scale_free(source)


def test_soft_attention_loss_sums_over_steps_and_averages_over_clips() -> None:
    steps, target = torch.randn(3, 5, 4).log_softmax(-1), torch.tensor([0, 3, 1])
    logits, mask = torch.randn(3, 4), torch.rand(3, 5, 1, 2, 2)
    terms = soft_attention_loss(logits, steps, target, mask, LossOptions(doubly_stochastic=10.0))
    expected = -sum(steps[clip, :, label].sum() for clip, label in enumerate(target)) / 3
    torch.testing.assert_close(terms["steps"], expected)
    torch.testing.assert_close(terms["total"], expected + 10 * doubly_stochastic(mask))
    torch.testing.assert_close(terms["cross_entropy"], F.cross_entropy(logits, target))
    plain = soft_attention_loss(logits, steps, target, mask, LossOptions())
    torch.testing.assert_close(plain["total"], expected)


def test_classification_loss_has_no_priors() -> None:
    logits, target = torch.randn(3, 4), torch.tensor([0, 3, 1])
    terms = classification_loss(logits, target, LossOptions(label_smoothing=0.1, total_variation=5.0))
    assert set(terms) == {"total", "cross_entropy"}
    torch.testing.assert_close(terms["total"], F.cross_entropy(logits, target, label_smoothing=0.1))


@pytest.mark.parametrize(
    ("progress", "delay", "warmup", "expected"),
    [(0, 0, 0, 1), (0.25, 0, 0.5, 0.5), (0.7, 0, 0.5, 1), (0.29, 0.3, 0.4, 0), (0.5, 0.3, 0.4, 0.5), (0.9, 0.3, 0.4, 1),
     (0.29, 0.3, 0, 0), (0.3, 0.3, 0, 1)],
)  # fmt: skip
def test_priors_wait_and_then_rise(progress: float, delay: float, warmup: float, expected: float) -> None:
    assert prior_share(progress, delay, warmup) == pytest.approx(expected)


def test_delayed_priors_leave_the_cross_entropy() -> None:
    mask, weights = torch.rand(2, 4, 1, 3, 3), torch.rand(2, 3, 4).softmax(-1)
    logits, target = torch.randn(2, 5), torch.tensor([0, 3])
    options = LossOptions(delay=0.5, warmup=0.2).resolved("default")
    early, late = (attention_loss(logits, target, mask, weights, options, at) for at in (0.49, 1.0))
    assert float(early["total"]) == float(early["cross_entropy"])
    assert float(late["total"]) != float(late["cross_entropy"])
