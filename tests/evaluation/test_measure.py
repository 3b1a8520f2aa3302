from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from whenwhere.datasets.loader import FeatureDataset, Views
from whenwhere.evaluation.measure import (
    Predictions,
    accuracy_score,
    all_scores,
    predict,
    spatial_scores,
    temporal_scores,
)
from whenwhere.evaluation.probe import fit_probe
from whenwhere.models import AttentionOutput, Network


def planted(right: bool) -> Predictions:
    """Two clips of 8 frames on a 4 x 4 grid; the action is in frames 2-4, in the cell at row 1, column 3."""
    active = torch.zeros(2, 8, dtype=torch.bool)
    active[:, 2:5] = True
    boxes = torch.full((2, 8, 4), float("nan"))
    boxes[active] = torch.tensor([0.75, 0.25, 1.0, 0.5])
    masks = torch.zeros(2, 8, 4, 4)
    masks[:, :, 1, 3 if right else 0] = 1.0
    importance = active.float() if right else (~active).float()
    importance = importance / importance.sum(1, keepdim=True)
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    labels = torch.tensor([0, 1]) if right else torch.tensor([1, 0])
    evidence = masks * (active if right else ~active)[..., None, None]
    return Predictions(logits, labels, masks, evidence, importance, importance, active, boxes)


def test_a_perfect_answer_scores_one_and_a_wrong_one_zero() -> None:
    right = {score.name: score.value for score in all_scores(planted(True))}
    wrong = {score.name: score.value for score in all_scores(planted(False))}
    assert right["accuracy"] == right["when: mean tIoU"] == right["when: tIoU > 0.7"] == right["where: pointing"] == 1
    assert right["where: pointing, class evidence"] == 1
    assert wrong["where: pointing, class evidence"] == 0
    assert right["where: mean box IoU"] > 0.4  # the mask is cut on a finer, interpolated grid
    assert wrong["accuracy"] == wrong["when: mean tIoU"] == wrong["where: pointing"] == 0
    assert wrong["where: mean box IoU"] == 0


def test_controls_by_hand() -> None:
    when = temporal_scores(planted(True))[0]
    assert when.controls["all frames"] == pytest.approx(3 / 8)
    where = {score.name: score for score in spatial_scores(planted(True))}
    assert where["where: mean box IoU"].controls["full frame"] == pytest.approx(1 / 16)
    assert where["where: mean box IoU"].controls["centre box"] == 0
    assert where["where: pointing"].controls["centre"] == 0
    assert where["where: pointing"].count == 6
    assert accuracy_score(planted(True)).controls == {"chance": 0.5, "largest class": 0.5}


def test_clips_without_the_action_do_not_count() -> None:
    base = planted(True)
    active = base.active.clone()
    active[1] = False
    boxes = base.boxes.clone()
    boxes[1] = float("nan")
    fewer = Predictions(
        base.logits, base.labels, base.masks, base.evidence, base.weights, base.importance, active, boxes
    )
    assert temporal_scores(fewer)[0].count == 1
    assert spatial_scores(fewer)[0].count == 3


def test_unknown_truth_is_left_out() -> None:
    base = planted(True)
    blind = replace(base, active=None, boxes=None, evidence=None)
    assert [score.name for score in all_scores(blind)] == ["accuracy"]


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


def test_probabilities_of_several_views_are_averaged() -> None:
    """A head that reads its logits off the features; two clips seen three times each."""

    class Reader(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))

        def forward(self, features: torch.Tensor) -> AttentionOutput:
            batch, frames = features.shape[:2]
            first = features[:, :1, :1].expand(-1, frames, -1, -1, -1)
            return AttentionOutput(features[:, 0, :, 0, 0] * self.scale, first, torch.ones(batch, 1, frames) / frames)

    features = torch.randn(2, 6, 3, 1, 1)
    dataset = FeatureDataset(features, torch.tensor([0, 1]), 2)
    dataset.views = Views(clips=3)
    predictions = predict(Network(Reader()), dataset, batch_size=2)
    expected = torch.stack([features[:, index, :, 0, 0].softmax(-1) for index in (0, 1, 2)]).mean(0)
    torch.testing.assert_close(predictions.logits.softmax(-1), expected)
    torch.testing.assert_close(predictions.masks[:, 0, 0, 0], features[:, 1, 0, 0, 0])
