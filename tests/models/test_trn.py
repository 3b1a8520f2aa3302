"""TRN: relations of frames in their order; chance in training only."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import nn

from whenwhere.models import TRN, TRNOptions
from whenwhere.models.evidence import grad_cam
from whenwhere.models.trn import drawn_subsets, spaced_subsets


def trn(frames: int = 8, **options: object) -> TRN:
    torch.manual_seed(0)
    model = TRN(6, 4, TRNOptions(frames=frames, width=8, bottleneck=16, **options))  # type: ignore[arg-type]
    nn.init.normal_(model.reduce.weight)
    return model.eval()


def test_the_order_of_frames_matters() -> None:
    model, features = trn(), torch.randn(3, 8, 6, 2, 2)
    assert not torch.allclose(model(features).logits, model(features.flip(1)).logits, atol=1e-3)


def test_can_tell_a_clip_from_its_reverse() -> None:
    """Eight clips and their reverses have the same frames; only their order tells the classes apart."""
    forward = torch.randn(8, 8, 6, 2, 2, generator=torch.Generator().manual_seed(1))
    features, label = torch.cat([forward, forward.flip(1)]), torch.arange(16) // 8
    model = trn(dropout=0.0)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(features).logits, label).backward()
        optimizer.step()
    assert (model.eval()(features).logits.argmax(1) == label).all()


def test_logits_are_the_sum_over_subsets_and_scales() -> None:
    model, features = trn(frames=4), torch.randn(2, 4, 6, 2, 2)
    reduced = model.reduce(features.mean((3, 4)))
    # Of six pairs the middles of thirds are the second, fourth and sixth; of four triples the first, third and fourth.
    chosen = [[(0, 1, 2, 3)], [(0, 1, 2), (0, 2, 3), (1, 2, 3)], [(0, 2), (1, 2), (2, 3)]]
    expected = torch.zeros(2, 4)
    for relation, subsets in zip(model.relations, chosen, strict=True):
        for subset in subsets:
            expected += relation(torch.cat([reduced[:, frame] for frame in subset], dim=1))
    torch.testing.assert_close(model(features).logits, expected)


def test_chance_is_in_training_only() -> None:
    model, features = trn(dropout=0.0), torch.randn(2, 8, 6, 2, 2)
    assert torch.equal(model(features).logits, model(features).logits)
    model.train()
    assert len({tuple(model(features).logits[0].tolist()) for _ in range(5)}) == 5
    torch.manual_seed(3)
    first = model(features).logits
    torch.manual_seed(3)
    assert torch.equal(model(features).logits, first)


@pytest.mark.parametrize("choose", [spaced_subsets, drawn_subsets])
@pytest.mark.parametrize("scale", range(2, 9))
def test_subsets_differ_and_are_in_order(choose: object, scale: int) -> None:
    subsets = choose(8, scale, 3)  # type: ignore[operator]
    assert len(set(subsets)) == len(subsets) == min(3, len(list(combinations(range(8), scale))))
    assert all(len(subset) == scale and list(subset) == sorted(set(subset)) for subset in subsets)


def test_every_subset_is_drawn_as_often() -> None:
    torch.manual_seed(0)
    drawn = [subset for _ in range(2000) for subset in drawn_subsets(4, 2, 3)]
    counts = torch.tensor([drawn.count(subset) for subset in combinations(range(4), 2)])
    assert counts.sum() == 6000
    assert (counts - 1000).abs().max() < 120  # five standard deviations are 112


def reference(channels: int, classes: int, frames: int) -> nn.Module:
    """The layers of the public code, built from what it documents: scales 8..2, feature and bottleneck 256."""
    scales = [
        nn.Sequential(nn.ReLU(), nn.Linear(n * 256, 256), nn.ReLU(), nn.Linear(256, classes))
        for n in range(frames, 1, -1)
    ]
    return nn.ModuleList([nn.Linear(channels, 256), *scales])


@pytest.mark.parametrize(
    "channels, classes, total", [(1024, 174, 2_870_978), (2048, 339, 3_429_957)], ids=["something", "moments"]
)
def test_parameters_are_as_many_as_in_the_public_code(channels: int, classes: int, total: int) -> None:
    """On the features of BN-Inception for Something-Something, of ResNet-50 for Moments in Time."""
    count = sum(p.numel() for p in TRN(channels, classes).parameters())
    assert count == sum(p.numel() for p in reference(channels, classes, 8).parameters())
    assert count == total


def test_mask_is_grad_cam_of_the_class_named() -> None:
    model, features = trn(), torch.randn(3, 8, 6, 4, 4)
    output = model(features)
    _, cam = grad_cam(model, features, output.logits.argmax(1))
    torch.testing.assert_close(output.mask[:, :, 0], cam / cam.flatten(1).amax(1)[:, None, None, None])
    assert not output.mask.requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_mask_is_the_same_without_gradients(mode: object) -> None:
    model, features = trn(), torch.randn(1, 8, 6, 4, 4)
    expected = model(features).mask
    with mode():  # type: ignore[operator]
        torch.testing.assert_close(model(features * 1.0).mask, expected)


def test_of_more_frames_it_takes_the_middles_of_equal_stretches() -> None:
    model, features = trn(frames=4), torch.randn(2, 12, 6, 2, 2)
    picked = [1, 4, 7, 10]
    output = model(features)
    torch.testing.assert_close(output.logits, model(features[:, picked]).logits)
    assert output.weights[0, 0].nonzero()[:, 0].tolist() == picked
    torch.testing.assert_close(output.weights.sum(-1), torch.ones(2, 1))
    unseen = [frame for frame in range(12) if frame not in picked]
    assert not output.mask[:, unseen].any()


def test_too_few_frames_and_bad_options_are_errors() -> None:
    with pytest.raises(ValueError, match=r"T >= trn\.frames = 8, got \(1, 7, 6, 2, 2\)"):
        trn()(torch.zeros(1, 7, 6, 2, 2))
    with pytest.raises(ValueError, match=r"trn\.frames must be at least 2"):
        TRNOptions(frames=1)
    with pytest.raises(ValueError, match=r"trn\.subsets, .* at least 1"):
        TRNOptions(subsets=0)
    with pytest.raises(ValueError, match=r"trn\.dropout"):
        TRNOptions(dropout=-0.1)
