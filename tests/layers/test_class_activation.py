from __future__ import annotations

import torch

from whenwhere.layers import class_activation_map


def test_a_map_for_each_clip_of_its_own_class() -> None:
    """What speaks for the class, over the clip's maximum; what speaks against it is 0."""
    features = torch.zeros(2, 2, 2, 1, 2)
    features[:, 0, 0, 0, 0], features[:, 1, 0, 0, 1], features[:, 1, 1, 0, 0] = 4.0, 1.0, 3.0
    weight = torch.tensor([[1.0, -1.0], [0.0, 0.5]], requires_grad=True)
    maps = class_activation_map(features, weight, torch.tensor([0, 1]))
    assert maps.shape == (2, 2, 1, 1, 2)
    assert maps[:, :, 0, 0].tolist() == [[[1.0, 0.0], [0.0, 0.25]], [[0.0, 0.0], [1.0, 0.0]]]
    assert not maps.requires_grad


def test_nothing_for_the_class_is_an_empty_map() -> None:
    maps = class_activation_map(torch.ones(1, 2, 3, 2, 2), -torch.ones(1, 3), torch.tensor([0]))
    assert torch.equal(maps, torch.zeros(1, 2, 1, 2, 2))
