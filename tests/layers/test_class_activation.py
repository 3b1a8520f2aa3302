"""One map for a linear classifier, whether its weights are given once or by frame."""

from __future__ import annotations

import pytest
import torch

from whenwhere.layers import class_activation_map


def test_map_is_the_weighted_sum_of_channels_rectified_and_scaled() -> None:
    torch.manual_seed(0)
    features, weights = torch.randn(2, 3, 5, 4, 6), torch.randn(2, 5)
    mask = class_activation_map(features, weights)
    assert mask.shape == (2, 3, 1, 4, 6)
    for clip in range(2):
        expected = sum(weights[clip, c] * features[clip, :, c] for c in range(5)).clamp_min(0)
        torch.testing.assert_close(mask[clip, :, 0], expected / expected.max())


def test_weights_by_frame_that_are_all_alike_give_the_same_map() -> None:
    features, weights = torch.randn(2, 3, 5, 4, 6), torch.randn(2, 5)
    torch.testing.assert_close(
        class_activation_map(features, weights[:, None].expand(-1, 3, -1)), class_activation_map(features, weights)
    )


@pytest.mark.parametrize("features", [torch.zeros(1, 2, 3, 4, 4), -torch.ones(1, 2, 3, 4, 4)])
def test_nothing_for_the_class_gives_an_empty_finite_map(features: torch.Tensor) -> None:
    assert torch.equal(class_activation_map(features, torch.ones(1, 3)), torch.zeros(1, 2, 1, 4, 4))


def test_map_has_no_gradient() -> None:
    features, weights = torch.randn(1, 2, 3, 4, 4, requires_grad=True), torch.randn(1, 3, requires_grad=True)
    assert not class_activation_map(features, weights).requires_grad
