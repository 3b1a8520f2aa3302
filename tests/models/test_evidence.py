from __future__ import annotations

import torch

from whenwhere.models import FrameAverage, SpatioTemporalAttention, SpatioTemporalAttentionOptions
from whenwhere.models.evidence import class_evidence, smooth


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
