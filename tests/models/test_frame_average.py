"""The baseline: linear in the average frame, its class activation map as mask."""

from __future__ import annotations

import torch

from whenwhere.models import FrameAverage


def test_logits_are_linear_in_the_mean_feature() -> None:
    torch.manual_seed(0)
    model, features = FrameAverage(6, 4).eval(), torch.randn(2, 5, 6, 3, 3)
    torch.testing.assert_close(model(features).logits, model.classifier(features.mean((1, 3, 4))))


def test_mask_is_the_class_activation_map() -> None:
    model, features = FrameAverage(3, 2).eval(), torch.zeros(1, 4, 3, 5, 5)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, -1.0]]))
        model.classifier.bias.zero_()
    features[0, 1, 1, 2, 3] = 6.0  # evidence for class 1, in two places of different strength
    features[0, 3, 1, 0, 0] = 3.0
    features[0, 2, 2, 4, 4] = 1.0  # and against it: not part of the map
    features[0, 2, 0, 4, 0] = 2.0  # evidence for the class that lost
    expected = torch.zeros(1, 4, 1, 5, 5)
    expected[0, 1, 0, 2, 3], expected[0, 3, 0, 0, 0] = 1.0, 0.5
    output = model(features)
    assert output.logits.argmax() == 1
    assert torch.equal(output.mask, expected)
    assert not output.mask.requires_grad


def test_weights_are_uniform_and_importance_follows_the_map() -> None:
    torch.manual_seed(0)
    output = FrameAverage(6, 4).eval()(torch.randn(2, 5, 6, 3, 3))
    torch.testing.assert_close(output.weights, torch.full((2, 1, 5), 0.2))
    strength = output.mask.pow(4).mean((2, 3, 4)).pow(0.25)
    torch.testing.assert_close(output.importance, strength / strength.sum(1, keepdim=True))


def test_no_evidence_gives_an_empty_finite_mask() -> None:
    assert torch.equal(FrameAverage(6, 4)(torch.zeros(1, 2, 6, 3, 3)).mask, torch.zeros(1, 2, 1, 3, 3))
