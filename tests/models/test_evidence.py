from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from whenwhere.models import AttentionOutput, FrameAverage, SpatioTemporalAttention, SpatioTemporalAttentionOptions
from whenwhere.models.evidence import class_evidence, grad_cam, smooth, temporal_profile


def test_of_pooling_and_a_linear_layer_it_is_the_class_activation_map() -> None:
    torch.manual_seed(0)
    head, features = FrameAverage(6, 2).eval(), torch.randn(2, 3, 6, 4, 5)
    _, evidence = class_evidence(head, features, torch.tensor([0, 1]))
    difference = head.classifier.weight[0] - head.classifier.weight[1]
    expected = torch.einsum("btchw,c->bthw", features, difference) / (3 * 4 * 5)
    torch.testing.assert_close(evidence[0], expected[0])
    torch.testing.assert_close(evidence[1], -expected[1])


def test_lies_where_the_class_is_planted_whatever_the_mask_does() -> None:
    """Channel 0 speaks for class 0 and channel 1 for class 1; the mask is left at its random start."""
    torch.manual_seed(0)
    options = SpatioTemporalAttentionOptions(hidden=8, steps=2, dropout=0.0)
    head = SpatioTemporalAttention(2, 2, options)
    optimizer = torch.optim.Adam((p for n, p in head.named_parameters() if "spatial" not in n), lr=0.01)

    def draw() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features, labels, cells = 0.1 * torch.rand(16, 4, 2, 3, 3), torch.randint(2, (16,)), torch.randint(9, (16,))
        for clip, label, cell in zip(features, labels, cells, strict=True):
            clip[1:3, label, cell // 3, cell % 3] += 2
        return features, labels, cells

    for _ in range(150):
        features, labels, _ = draw()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(features).logits, labels).backward()
        optimizer.step()
    features, labels, cells = draw()
    output, evidence = class_evidence(head.eval(), features, labels)
    assert evidence.shape == (16, 4, 3, 3)
    assert not evidence.requires_grad
    torch.testing.assert_close(output.logits, head(features).logits.detach())
    assert (evidence[:, 1:3].flatten(2).argmax(-1) == cells[:, None]).float().mean() > 0.9


def test_works_without_a_gradient_around_and_leaves_none_behind() -> None:
    torch.manual_seed(0)
    head = SpatioTemporalAttention(4, 3, SpatioTemporalAttentionOptions(hidden=4, steps=2)).eval()
    with torch.no_grad():
        _, evidence = class_evidence(head, torch.randn(1, 3, 4, 2, 2), torch.tensor([2]))
    assert evidence.abs().sum() > 0
    assert all(parameter.grad is None for parameter in head.parameters())


def test_smoothing_is_an_average_over_neighbours_in_space_and_time() -> None:
    evidence = torch.zeros(2, 9, 9, 9)
    evidence[1, 4, 4, 4] = 1
    smoothed = smooth(evidence)
    assert torch.equal(smoothed[0], evidence[0])
    binomial = torch.tensor([0, 0, 1, 4, 6, 4, 1, 0, 0]) / 16
    torch.testing.assert_close(smoothed[1], torch.einsum("t,h,w->thw", binomial, binomial, binomial))
    for place in torch.cartesian_prod(*[torch.arange(4)] * 3).tolist():
        lone = torch.zeros(1, 4, 4, 4)
        lone[0][tuple(place)] = 1
        assert smooth(lone).argmax() == lone.argmax()


class Tiny(nn.Module):
    """Looks over frames and cells and bends what it sees, so that no two gradients are alike."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.look, self.classifier = nn.Conv3d(channels, 5, 3, padding=1), nn.Linear(5 * frames, 3)

    def forward(self, features: torch.Tensor) -> AttentionOutput:
        seen = torch.tanh(self.look(features.transpose(1, 2))).square().mean((3, 4))
        batch, frames = features.shape[:2]
        uniform = features.new_full((batch, 1, frames), 1 / frames)
        return AttentionOutput(self.classifier(seen.flatten(1)), torch.ones_like(features[:, :, :1]), uniform)


@pytest.mark.parametrize("pool", ["frame", "clip"])
def test_captum_gives_the_same_grad_cam(pool) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum, an independent Grad-CAM, is not installed")
    torch.manual_seed(0)
    head, features = Tiny(4, 3), torch.randn(2, 3, 4, 5, 6)

    class FromLastMap(nn.Module):
        """Captum averages over all axes after the channels: clips of 3D maps, or frames of 2D maps as its batch."""

        def __init__(self) -> None:
            super().__init__()
            self.last_map = nn.Identity()

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            maps = self.last_map(maps)
            return head(maps.unflatten(0, (2, 3)) if pool == "frame" else maps.transpose(1, 2)).logits

    model = FromLastMap()
    for label in range(3):
        maps = features.flatten(0, 1) if pool == "frame" else features.transpose(1, 2)
        theirs = attr.LayerGradCam(model, model.last_map).attribute(maps, label, relu_attributions=True)
        _, ours = grad_cam(head, features, torch.tensor([label, label]), pool)
        torch.testing.assert_close(ours, theirs.detach().reshape(ours.shape))
        assert ours.max() > 0


@pytest.mark.parametrize("pool", ["frame", "clip"])
def test_of_average_pooling_grad_cam_is_the_class_activation_map(pool) -> None:
    torch.manual_seed(0)
    head, features = FrameAverage(6, 4).eval(), torch.randn(3, 4, 6, 2, 5)
    classes = torch.tensor([3, 0, 1])
    output, cam = grad_cam(head, features, classes, pool)
    expected = torch.einsum("btchw,bc->bthw", features, head.classifier.weight[classes]).relu() / (4 * 2 * 5)
    torch.testing.assert_close(cam, expected.detach())
    _, predicted = grad_cam(head, features, output.logits.argmax(1), pool)
    peak = predicted.amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close((predicted / peak).unsqueeze(2), output.mask)


def test_grad_cam_does_not_care_how_channels_are_numbered() -> None:
    torch.manual_seed(0)
    head, features, order = Tiny(4, 3), torch.randn(2, 3, 4, 5, 6), torch.tensor([2, 0, 3, 1])
    _, before = grad_cam(head, features, torch.tensor([0, 2]))
    with torch.no_grad():
        head.look.weight.copy_(head.look.weight[:, order].clone())
    _, after = grad_cam(head, features[:, :, order], torch.tensor([0, 2]))
    torch.testing.assert_close(after, before)


def test_a_class_nothing_speaks_for_has_an_empty_grad_cam() -> None:
    torch.manual_seed(0)
    head = SpatioTemporalAttention(4, 3, SpatioTemporalAttentionOptions(hidden=4, steps=2)).eval()
    with torch.no_grad():
        head.classifier.weight[1] = 0
        _, cam = grad_cam(head, torch.randn(2, 3, 4, 2, 2), torch.tensor([1, 0]))
    assert torch.equal(cam[0], torch.zeros(3, 2, 2))
    assert cam[1].max() > 0
    assert cam.min() >= 0
    assert not cam.requires_grad
    assert all(parameter.grad is None for parameter in head.parameters())
    with pytest.raises(ValueError, match="frame or clip, got 'cell'"):
        grad_cam(head, torch.randn(2, 3, 4, 2, 2), torch.tensor([1, 0]), "cell")  # type: ignore[arg-type]


def test_the_profile_of_maps_is_each_frames_share() -> None:
    maps = torch.zeros(2, 4, 2, 2)
    maps[0, 1, 0, 1], maps[0, 3] = 4.0, 3.0
    lone = 4 / 4**0.25  # one of four cells
    share = lone / (lone + 3)
    torch.testing.assert_close(temporal_profile(maps), torch.tensor([[0, share, 0, 1 - share], [0.25] * 4]))
    torch.testing.assert_close(temporal_profile(maps * 1e-20), temporal_profile(maps))


class Watched(FrameAverage):
    """Notes whether cuDNN is in use, forwards and backwards."""

    def forward(self, features: torch.Tensor) -> AttentionOutput:
        self.cudnn = [torch.backends.cudnn.enabled]
        output = super().forward(features)
        output.logits.register_hook(lambda _: self.cudnn.append(torch.backends.cudnn.enabled))
        return output


@pytest.mark.parametrize("explain", [class_evidence, grad_cam])
def test_gradients_do_without_cudnn_whose_lstm_has_none_in_evaluation(explain: Callable[..., object]) -> None:
    head = Watched(6, 2).eval()
    before = torch.backends.cudnn.enabled
    explain(head, torch.randn(2, 3, 6, 4, 5), torch.tensor([0, 1]))
    assert head.cudnn == [False, False]
    assert torch.backends.cudnn.enabled == before is True
