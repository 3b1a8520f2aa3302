"""Wang et al. 2017: two selections over the shots of a video."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from whenwhere.models import UntrimmedNet, UntrimmedNetOptions
from whenwhere.models.evidence import class_evidence
from whenwhere.models.untrimmed_net import select_hard, select_softly

each_selection = pytest.mark.parametrize("selection", ["soft", "hard"])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def build(selection: str, classes: int = 4, **options: Any) -> UntrimmedNet:
    return UntrimmedNet(5, classes, UntrimmedNetOptions(selection=selection, **options)).eval()  # type: ignore[arg-type]


def videos(count: int = 3, shots: int = 7) -> Tensor:
    return torch.randn(count, shots, 5, 2, 3)


@each_selection
def test_weights_are_shares_of_the_shots(selection: str) -> None:
    output = build(selection)(videos())
    assert output.weights.shape == (3, 1, 7)
    assert output.weights.min() >= 0
    torch.testing.assert_close(output.weights.sum(2), torch.ones(3, 1))
    torch.testing.assert_close(output.importance.sum(1), torch.ones(3))


def test_soft_selection_weighs_class_probabilities() -> None:
    model, features = build("soft"), videos()
    output, pooled = model(features), features.mean((3, 4))
    assert model.attention is not None
    attention = torch.stack([(pooled[:, i] @ model.attention.weight[0]).exp() for i in range(7)], 1)
    shares = attention / attention.sum(1, keepdim=True)
    expected = sum(shares[:, i, None] * model.classifier(pooled[:, i]).softmax(1) for i in range(7))
    torch.testing.assert_close(output.weights[:, 0], shares)
    torch.testing.assert_close(output.logits.exp(), expected)
    torch.testing.assert_close(output.logits.exp().sum(1), torch.ones(3))


def test_soft_selection_stays_finite_where_probabilities_vanish() -> None:
    logits, weights = select_softly(torch.tensor([[[500.0, -500.0], [300.0, -300.0]]]), torch.tensor([[900.0, 0.0]]))
    # Class 1 has exp(-1000) in the first shot and exp(-600) in the second, which has exp(-900) of the attention.
    assert logits.tolist() == [[0.0, -1000.0]]
    assert weights.tolist() == [[1.0, 0.0]]


def test_hard_selection_is_the_mean_of_the_best_shots_class_by_class() -> None:
    """Class 0: (5 + 4 + 1) / 3; class 1: (9 + 2 + 0) / 3, the predicted one, whose shots are 1, 2 and 3."""
    scores = torch.tensor([[[5.0, -3.0], [4.0, 0.0], [-2.0, 9.0], [1.0, 2.0], [0.0, -1.0]]])
    logits, weights = select_hard(scores, 3)
    torch.testing.assert_close(logits, torch.tensor([[10 / 3, 11 / 3]]))
    torch.testing.assert_close(weights, torch.tensor([[0, 1 / 3, 1 / 3, 1 / 3, 0]]))


def test_hard_selection_of_all_shots_is_the_average_and_of_one_the_maximum() -> None:
    scores = torch.randn(2, 6, 3)
    for top in (6, 20):
        logits, weights = select_hard(scores, top)
        torch.testing.assert_close(logits, scores.mean(1))
        torch.testing.assert_close(weights, torch.full((2, 6), 1 / 6))
    assert torch.equal(select_hard(scores, 1)[0], scores.amax(1))


@each_selection
@torch.no_grad()
def test_blind_to_the_order_of_shots(selection: str) -> None:
    model, features, order = build(selection), videos(), torch.randperm(7)
    output, moved = model(features), model(features[:, order])
    torch.testing.assert_close(moved.logits, output.logits)
    torch.testing.assert_close(moved.weights, output.weights[..., order])
    torch.testing.assert_close(moved.mask, output.mask[:, order])
    torch.testing.assert_close(moved.steps, output.steps[:, order])


@each_selection
def test_mask_is_the_class_activation_map_and_importance_needs_both(selection: str) -> None:
    """Shots 1 and 2 show the class, in cell (0, 2) and twice as strongly in (1, 1)."""
    model = build(selection, classes=2, top=2)
    features = torch.zeros(1, 4, 5, 2, 3)
    features[0, 1, 0, 0, 2], features[0, 2, 0, 1, 1] = 6.0, 12.0
    with torch.no_grad():
        model.classifier.weight.zero_()[0, 0] = 1.0
        model.classifier.bias.zero_()
        if model.attention is not None:
            model.attention.weight.zero_()[0, 0] = 3.0
    output = model(features)
    expected = torch.zeros(1, 4, 1, 2, 3)
    expected[0, 1, 0, 0, 2], expected[0, 2, 0, 1, 1] = 0.5, 1.0
    assert torch.equal(output.mask, expected)
    assert output.weights[0, 0, [1, 2]].min() > output.weights[0, 0, [0, 3]].max()
    assert output.importance[0, [0, 3]].tolist() == [0.0, 0.0]
    assert 0 < output.importance[0, 1] < output.importance[0, 2]


@each_selection
def test_steps_are_log_probabilities_of_the_shots(selection: str) -> None:
    model, features = build(selection), videos()
    expected = model.classifier(features.mean((3, 4))).softmax(-1)
    torch.testing.assert_close(model(features).steps.exp(), expected)


@each_selection
def test_every_parameter_gets_a_gradient(selection: str) -> None:
    model = build(selection).train()
    F.cross_entropy(model(videos()).logits, torch.tensor([0, 3, 1])).backward()
    assert not [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]


@each_selection
def test_overfits_eight_videos(selection: str) -> None:
    features, target = torch.randn(8, 7, 12, 2, 2), torch.arange(8) % 4
    model = UntrimmedNet(12, 4, UntrimmedNetOptions(selection, dropout=0.0)).train()  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(features).logits, target).backward()
        optimizer.step()
    assert (model.eval()(features).logits.argmax(1) == target).all()


@each_selection
def test_evidence_lies_in_the_shots_that_are_selected(selection: str) -> None:
    model, features = build(selection, top=1), videos()
    output, evidence = class_evidence(model, features, model(features).logits.argmax(1))
    assert evidence.shape == (3, 7, 2, 3)
    if selection == "hard":  # a shot that is chosen for no class has no say
        chosen = model.classifier(features.mean((3, 4))).argmax(1)
        silent = torch.ones(3, 7, dtype=torch.bool).scatter_(1, chosen, False)
        assert silent.any()
        assert evidence[silent].abs().max() == 0
    assert output.weights.shape == (3, 1, 7)


@pytest.mark.parametrize(
    "selection, classes, count",
    [("hard", 20, 20_500), ("hard", 101, 103_525), ("soft", 20, 21_524), ("soft", 101, 104_549)],
)
def test_parameters_at_the_published_sizes(selection: str, classes: int, count: int) -> None:
    """fc-action of the released prototxt, and fc-attention without the bias that the softmax cancels."""
    with torch.device("meta"):
        model = UntrimmedNet(1024, classes, UntrimmedNetOptions(selection))  # type: ignore[arg-type]
    assert sum(value.numel() for value in model.parameters()) == count
    assert count == classes * 1025 + (1024 if selection == "soft" else 0)


@pytest.mark.parametrize("wrong, words", [({"selection": "both"}, "soft or hard"), ({"top": 0}, "at least 1 shot")])
def test_options_that_make_no_sense_are_errors(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        UntrimmedNetOptions(**wrong)


def test_features_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ValueError, match=r"\(B, T, C, H, W\), got \(2, 5\)"):
        build("soft")(torch.zeros(2, 5))
