from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from damaged import write_damaged

from whenwhere.datasets.loader import FeatureDataset, VideoDataset, Views
from whenwhere.evaluation.measure import predict
from whenwhere.evaluation.scores import all_scores
from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.models import TSN, AttentionOutput, FrameAverage, Network
from whenwhere.structures import Box, Clip, Segment
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


def test_of_several_views_the_middle_one_says_where() -> None:
    """Grad-CAM of TSN at 10 crops, as published: that of the centre crop, while all have their say on the class."""
    torch.manual_seed(0)
    features = torch.randn(3, 6, 3, 4, 4)
    truth = {"active": torch.ones(3, 6, dtype=torch.bool), "boxes": torch.rand(3, 6, 4)}
    network = Network(TSN(3, 2).eval())
    dataset = FeatureDataset(features, torch.tensor([0, 1, 1]), 2, truth=truth)
    dataset.views = Views(clips=3, average="logits")
    said = predict(network, dataset, batch_size=6)
    alone = FeatureDataset(features[:, [1, 4]], torch.tensor([0, 1, 1]), 2, truth={"active": truth["active"][:, :2]})
    middle = predict(network, alone)
    for name in ("grad_cam", "evidence", "difference", "masks"):
        torch.testing.assert_close(getattr(said, name), getattr(middle, name))
    seen = torch.cat([features[:, [index, index + 3]] for index in (0, 1, 2)], dim=1)
    torch.testing.assert_close(said.logits, network.head(seen).logits)


def test_clips_that_do_not_decode_take_their_names_along(tmp_path: Path) -> None:
    clips = []
    for number, label in enumerate("abab"):
        path = write_damaged(tmp_path / f"{number}.avi", whole=2 if number == 1 else 12)
        clips.append(Clip(str(path), label))
    backbone = Backbone(BackboneOptions(name="test_resnet", weights="random", size=32, trainable=True))
    dataset = VideoDataset(clips, ("a", "b"), 4, backbone.preprocessing)
    network = Network(FrameAverage(backbone.channels, 2), backbone)
    said = predict(network, dataset, batch_size=2, names=["first", "second", "third", "fourth"])
    assert said.clips == ("first", "third", "fourth")
    assert said.labels.tolist() == [0, 0, 1]
    assert len(said.broken) == 1
    assert predict(network, dataset, batch_size=2).clips == ()


def test_decoded_clips_are_measured_against_their_manifest(tmp_path: Path) -> None:
    """A trainable backbone: two clips of 2 s, 80 x 64 pixels, with an actor in the second half."""
    clips = []
    for number, label in enumerate("ab"):
        path = tmp_path / f"{number}.mp4"
        write_video(path, (np.full((64, 80, 3), 20 * number + 4 * t, np.uint8) for t in range(20)), 10.0)
        boxes = tuple(Box(time, 0, 0, 40, 32, label, tube=0) for time in (1.25, 1.75))
        clips.append(Clip(str(path), label, segments=(Segment(1.0, 2.0, label),), boxes=boxes))
    backbone = Backbone(BackboneOptions(name="test_resnet", weights="random", size=64, trainable=True))
    dataset = VideoDataset(clips, ("a", "b"), 4, backbone.preprocessing)
    predictions = predict(Network(FrameAverage(backbone.channels, 2), backbone), dataset)
    assert predictions.active is not None
    assert predictions.active.tolist() == [[False, False, True, True]] * 2
    scores = {score.name: score for score in all_scores(predictions)}
    assert scores["when: mean tIoU"].controls["all frames"].value == pytest.approx(1 / 2)
    assert scores["where: mean box IoU"].controls["full frame"].value == pytest.approx(1 / 4)
    assert scores["where: pointing"].count == 4
    assert "less than 15 pixels away" in scores["where: pointing"].protocol
