from __future__ import annotations

import torch

from whenwhere.datasets.loader import FeatureDataset, Views
from whenwhere.evaluation.measure import predict
from whenwhere.models import AttentionOutput, FrameAverage, Network


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


def test_where_truth_is_known_the_controls_of_the_network_are_kept() -> None:
    features = torch.randn(2, 6, 3, 4, 4)
    truth = {"active": torch.ones(2, 6, dtype=torch.bool)}
    predictions = predict(Network(FrameAverage(3, 2)), FeatureDataset(features, torch.tensor([0, 1]), 6, truth=truth))
    assert predictions.grad_cam is not None
    assert predictions.difference is not None
    assert predictions.evidence is not None
    assert predictions.boxes is None
    change = features.diff(dim=1).abs().mean(2)
    torch.testing.assert_close(predictions.difference[:, 1:], change)
    assert predict(Network(FrameAverage(3, 2)), FeatureDataset(features, torch.tensor([0, 1]), 6)).grad_cam is None
