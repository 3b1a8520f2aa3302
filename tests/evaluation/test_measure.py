from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from whenwhere.datasets.loader import FeatureDataset, VideoDataset, Views
from whenwhere.evaluation.measure import predict
from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.models import TSN, AttentionOutput, FrameAverage, Network
from whenwhere.structures import Clip
from whenwhere.video import Uniform, read_frames, write_video


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


def test_logits_of_several_views_are_averaged_when_asked_for() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 6, 3, 1, 1)
    dataset = FeatureDataset(features, torch.tensor([0, 1]), 2)
    network = Network(TSN(3, 4).eval())
    dataset.views = Views(clips=3, average="logits")
    seen = torch.cat([features[:, [index, index + 3]] for index in (0, 1, 2)], dim=1)
    torch.testing.assert_close(predict(network, dataset).logits, network.head(seen).logits)
    dataset.views = Views(average="logits")
    torch.testing.assert_close(predict(network, dataset).logits, network.head(features[:, [1, 4]]).logits)


def test_tsn_is_tested_on_25_frames_by_10_crops(tmp_path: Path) -> None:
    """The published protocol through decoded frames, against frames cut and averaged one by one."""
    generator = np.random.default_rng(0)
    for number in range(2):
        pixels = (generator.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(30))
        write_video(tmp_path / f"{number}.mp4", pixels, 10.0)
    clips = [Clip(str(tmp_path / f"{number}.mp4"), "ab"[number]) for number in range(2)]
    options = BackboneOptions(name="test_resnet", weights="random", size=32, resize="crop")
    backbone = Backbone(options).eval()
    network = Network(TSN(backbone.channels, 2).eval(), backbone)
    torch.nn.init.normal_(network.head.classifier.weight)
    dataset = VideoDataset(clips, ("a", "b"), 25, backbone.preprocessing)
    dataset.views = Views(crops=10, average="logits")
    predictions = predict(network, dataset)
    expected = []
    for clip in clips:
        crops = backbone.preprocessing.crops(read_frames(clip.path, Uniform(25)).pixels, 10)
        with torch.no_grad():
            each = [backbone(crops[c, t][None]).mean((2, 3)) for c in range(10) for t in range(25)]
            expected.append(network.head.classifier(torch.cat(each)).mean(0))
    assert len(each) == 250
    torch.testing.assert_close(predictions.logits, torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert predictions.masks.shape[:2] == (2, 25)


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
