from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from whenwhere.evaluation.sanity import (
    cascading_randomisation,
    layers_from_logits,
    localization_stability,
    reinitialise,
)
from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.layers import ConvLSTM
from whenwhere.metrics.stability import Move
from whenwhere.models import (
    AttentionOutput,
    FrameAverage,
    Network,
    SoftAttentionLSTM,
    SoftAttentionLSTMOptions,
    SpatioTemporalAttention,
    SpatioTemporalAttentionOptions,
)

EXPLANATIONS = ("mask", "importance", "evidence", "grad_cam")


@pytest.fixture(scope="module")
def learned() -> tuple[Network, dict[str, Tensor], Tensor]:
    """A network of a second's training, and clips: of eight channels one a class, raised in one cell of two frames."""
    torch.manual_seed(0)
    head = SpatioTemporalAttention(8, 3, SpatioTemporalAttentionOptions(hidden=8, steps=2, dropout=0.0))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)

    def draw() -> tuple[Tensor, Tensor]:
        features, labels = torch.rand(16, 6, 8, 4, 4), torch.randint(3, (16,))
        for clip, label in zip(features, labels):
            start, cell = torch.randint(5, ()), torch.randint(16, ())
            clip[start : start + 2, label, cell // 4, cell % 4] += 3
        return features, labels

    for _ in range(120):
        features, labels = draw()
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(features).logits, labels).backward()
        optimizer.step()
    features, labels = draw()
    return Network(head).eval(), {"features": features}, labels


class NormMask(nn.Module):
    """Explains by the length of its features, whatever it has learned: what the sanity check is there to catch."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(8, 3)

    def forward(self, features: Tensor) -> AttentionOutput:
        mask = features.detach().norm(dim=2, keepdim=True)
        weights = mask.mean((2, 3, 4)).softmax(1).unsqueeze(1)
        return AttentionOutput(self.classifier(features.mean((1, 3, 4))), mask / mask.max(), weights)


class Patches(nn.Module):
    """A backbone that averages patches of four pixels, with a trained part of two stages inside a wrapper."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.AvgPool2d(4), nn.Conv2d(8, 8, 1)))

    def forward(self, frames: Tensor) -> Tensor:
        return self.model(frames)


def test_explanations_go_with_what_was_learned(learned) -> None:
    network, batch, labels = learned
    lines = cascading_randomisation(network, batch, labels, draws=4)
    by_layer = {line.layer: line.means() for line in lines}
    assert list(by_layer) == ["trained", *layers_from_logits(network)]
    assert all(by_layer["trained"][name] == pytest.approx(1) for name in EXPLANATIONS)
    assert by_layer["trained"]["probability"] > 0.8
    assert by_layer["head.classifier"]["probability"] < 0.6
    # The mask is made before the recurrence: it cannot notice until its own layers are reached.
    assert by_layer["head.start_cell"]["mask"] == pytest.approx(1)
    assert by_layer["head.classifier"]["importance"] == pytest.approx(1)
    assert by_layer["head.temporal_attention"]["importance"] < 0.99
    assert by_layer["head.classifier"]["evidence"] < 0.7
    assert abs(by_layer["head.spatial_attention"]["mask"]) < 0.5
    assert lines[-1].mask.shape == (4, 16)


def test_an_explanation_of_the_input_alone_is_caught(learned) -> None:
    _, batch, labels = learned
    lines = cascading_randomisation(Network(NormMask()), batch, labels)
    assert [line.layer for line in lines] == ["trained", "head.classifier"]
    assert lines[-1].means()["mask"] == pytest.approx(1)
    assert lines[-1].means()["importance"] == pytest.approx(1)
    assert lines[-1].means()["grad_cam"] < 0.9


def test_the_network_and_the_world_are_left_as_they_were(learned) -> None:
    network, batch, labels = learned
    before, random = deepcopy(network.state_dict()), torch.get_rng_state()
    first = cascading_randomisation(network, batch, labels, draws=1, seed=5)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    again = cascading_randomisation(network, batch, labels, draws=1, seed=5, clips=5)
    torch.testing.assert_close([line[1:] for line in again], [line[1:] for line in first])
    other = cascading_randomisation(network, batch, labels, draws=1, seed=6)
    assert not torch.equal(other[-1].mask, first[-1].mask)


def test_a_collapsed_mask_shows_in_the_first_line() -> None:
    options = SpatioTemporalAttentionOptions(hidden=4, steps=2, spatial=False)
    network = Network(SpatioTemporalAttention(8, 3, options))
    lines = cascading_randomisation(network, {"features": torch.rand(2, 3, 8, 2, 2)}, torch.tensor([0, 1]))
    assert lines[0].means()["mask"] == 0
    assert lines[0].means()["grad_cam"] == pytest.approx(1)


def test_layers_are_named_from_the_logits_down() -> None:
    options = SpatioTemporalAttentionOptions(hidden=4, order="convolution")
    assert layers_from_logits(Network(SpatioTemporalAttention(8, 3, options))) == [
        "head.classifier",
        "head.temporal_attention",
        "head.conv_lstm",
        "head.start_hidden",
        "head.start_cell",
        "head.spatial_attention",
        "head.temporal_convolution",
    ]
    reading = SpatioTemporalAttentionOptions(hidden=4, readout="attention", spatial=False)
    assert layers_from_logits(Network(SpatioTemporalAttention(8, 3, reading))) == [
        "head.classifier",
        "head.state_score",
        "head.conv_lstm",
    ]
    resnet = Network(FrameAverage(8, 3), Backbone(BackboneOptions(weights="glyphs")))
    names = layers_from_logits(resnet)
    assert names[:2] == ["head.classifier", "backbone.model.layer2"]
    assert names[-1] == "backbone.model.conv1"
    assert layers_from_logits(resnet, backbone=False) == ["head.classifier"]


def test_parameters_outside_every_part_are_not_forgotten() -> None:
    class Scaled(NormMask):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(8))

    network = Network(Scaled())
    assert layers_from_logits(network) == ["head.classifier", "head"]
    covered = {
        id(parameter) for name in layers_from_logits(network) for parameter in network.get_submodule(name).parameters()
    }
    assert covered == {id(parameter) for parameter in network.parameters()}


def test_randomising_the_backbone_reaches_frames_but_not_given_features() -> None:
    torch.manual_seed(0)
    network = Network(FrameAverage(8, 3), Patches())  # type: ignore[arg-type]
    frames, labels = torch.rand(2, 3, 3, 16, 16), torch.tensor([0, 1])
    lines = cascading_randomisation(network, {"frames": frames}, labels)
    assert [line.layer for line in lines] == [
        "trained",
        "head.classifier",
        "backbone.model.0.2",
        "backbone.model.0.0",
    ]
    only = cascading_randomisation(network, {"frames": frames}, labels, layers=["backbone.model.0.0"])
    assert only[1].means()["grad_cam"] < 0.99
    given = cascading_randomisation(network, {"features": torch.rand(2, 3, 8, 4, 4)}, labels)
    assert [line.layer for line in given] == ["trained", "head.classifier"]


def test_reinitialising_forgets_everything_and_keeps_what_is_set_by_hand() -> None:
    torch.manual_seed(0)
    module = nn.Module()
    module.cell, module.norm = ConvLSTM(4, 3), nn.BatchNorm2d(5)
    module.embedding = nn.Parameter(torch.arange(50.0))
    with torch.no_grad():
        for value in [*module.cell.parameters(), module.norm.weight, module.norm.running_mean]:
            value.fill_(7.0)
    reinitialise(module)
    assert module.cell.state_conv.bias.tolist() == [0] * 3 + [1] * 3 + [0] * 6  # forget gates open again
    assert all((value != 7).all() for value in [*module.cell.parameters(), *module.norm.state_dict().values()])
    assert torch.equal(module.norm.running_mean, torch.zeros(5))
    assert module.embedding.sort().values.tolist() == list(range(50))
    assert not torch.equal(module.embedding, torch.arange(50.0))


def test_a_layer_that_is_not_there_and_no_draws_are_errors() -> None:
    network, batch = Network(NormMask()), {"features": torch.rand(1, 2, 8, 2, 2)}
    with pytest.raises(ValueError, match=r"no layer 'head\.mask'; from the logits down it has \['head\.classifier'\]"):
        cascading_randomisation(network, batch, torch.tensor([0]), layers=["head.mask"])
    with pytest.raises(ValueError, match="draws >= 1"):
        cascading_randomisation(network, batch, torch.tensor([0]), draws=0)


def test_what_looks_at_every_cell_alike_is_stable() -> None:
    torch.manual_seed(0)
    network = Network(FrameAverage(8, 3))
    batch = {"features": torch.randn(4, 3, 8, 6, 6)}
    results = localization_stability(network, batch, torch.tensor([0, 1, 2, 0]))
    assert list(results) == ["mirrored", "right by 1", "down by 1"]
    for name in EXPLANATIONS:
        assert results["mirrored"][name].correlation.min() > 0.999
        assert results["mirrored"][name].iou.min() == 1
    for move in results.values():
        torch.testing.assert_close(move["grad_cam"].correlation, torch.ones(4))


def test_what_looks_at_one_place_is_not_stable() -> None:
    class Corner(NormMask):
        def forward(self, features: Tensor) -> AttentionOutput:
            output = super().forward(features)
            mask = torch.zeros_like(output.mask)
            mask[..., 0, 0] = 1
            return output._replace(mask=mask)

    results = localization_stability(Network(Corner()), {"features": torch.rand(2, 3, 8, 4, 4)}, torch.tensor([0, 1]))
    for move in results.values():
        assert move["mask"].iou.tolist() == [0, 0]
        assert move["mask"].correlation.max() < 0.01


def test_frames_are_moved_by_pixels_and_maps_moved_back_by_cells() -> None:
    torch.manual_seed(0)
    network = Network(FrameAverage(8, 2), Patches())  # type: ignore[arg-type]
    frames = torch.rand(2, 3, 3, 16, 20)
    moves = {"four": Move(columns=4), "two cells up, mirrored": Move(mirror=True, rows=-8), "one": Move(columns=1)}
    results = localization_stability(network, {"frames": frames}, torch.tensor([0, 1]), moves)
    for name in ("four", "two cells up, mirrored"):
        torch.testing.assert_close(results[name]["evidence"].correlation, torch.ones(2))
    assert 0 < results["one"]["evidence"].correlation.mean() < 0.999


def test_layers_of_a_soft_attention_lstm_go_from_the_logits_down() -> None:
    head = SoftAttentionLSTM(4, 3, SoftAttentionLSTMOptions(hidden=5))
    parts = ["classifier", "output", "lstm", "start_hidden", "start_cell", "energy", "query", "key"]
    assert layers_from_logits(Network(head)) == [f"head.{part}" for part in parts]
