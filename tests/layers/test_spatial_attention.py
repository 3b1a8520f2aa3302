"""The mask: its range, its widths, and the scaling that leaves only relative saliency."""

from __future__ import annotations

import pytest
import torch

from whenwhere.layers import SpatialAttention, mask_of_maps, scale_mask_by_clip_mean, smooth_mask


def test_a_mask_is_one_map_a_frame_between_0_and_1() -> None:
    torch.manual_seed(0)
    mask = SpatialAttention(16)(torch.randn(2, 3, 16, 5, 6) * 10)
    assert mask.shape == (2, 3, 1, 5, 6)
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask.std() > 0


def test_frames_do_not_mix() -> None:
    torch.manual_seed(0)
    layer, features = SpatialAttention(8).eval(), torch.randn(1, 4, 8, 5, 5)
    changed = features.clone()
    changed[:, 2] += 1
    differs = (layer(features) != layer(changed)).flatten(2).any(-1)
    assert differs.tolist() == [[False, False, True, False]]


def test_published_widths() -> None:
    with torch.device("meta"):
        layer = SpatialAttention(2048)
    convolutions = [tuple(p.shape) for p in layer.parameters() if p.ndim == 4]
    assert convolutions == [(1024, 2048, 3, 3), (512, 1024, 3, 3), (1, 512, 3, 3)]
    assert all(m.bias is None for m in layer.modules() if isinstance(m, torch.nn.Conv2d))


def test_scaled_mask_averages_one_and_forgets_its_level() -> None:
    torch.manual_seed(0)
    mask = torch.rand(3, 5, 1, 4, 4)
    scaled = scale_mask_by_clip_mean(mask)
    torch.testing.assert_close(scaled.mean((1, 2, 3, 4)), torch.ones(3))
    torch.testing.assert_close(scale_mask_by_clip_mean(mask * 0.01), scaled)
    # Relative saliency between frames survives: it is the clip's mean, not the frame's.
    torch.testing.assert_close(scaled[:, 0] / scaled[:, 1], mask[:, 0] / mask[:, 1])


@pytest.mark.parametrize("level", [0.0, 1e-9])
def test_a_dead_mask_does_not_explode(level: float) -> None:
    mask = torch.full((1, 2, 1, 3, 3), level, requires_grad=True)
    scaled = scale_mask_by_clip_mean(mask)
    scaled.sum().backward()
    assert scaled.max() <= 1
    assert mask.grad is not None
    assert mask.grad.isfinite().all()


def test_with_one_cell_a_kernel_judges_each_cell_alone() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, 8, 4, 5)
    changed = features.clone()
    changed[1, 2, :, 3, 1] += 1
    alone, around = SpatialAttention(8, kernel=1).eval(), SpatialAttention(8).eval()
    differs = (alone(features) != alone(changed)).nonzero().tolist()
    assert differs == [[1, 2, 0, 3, 1]]
    assert (around(features) != around(changed)).sum() > 1
    with pytest.raises(ValueError, match="kernel must be 1 or 3, got 2"):
        SpatialAttention(8, kernel=2)


def test_smoothing_leaves_parts_and_fades_lone_cells() -> None:
    mask = torch.zeros(1, 9, 1, 8, 8)
    mask[0, 1:4, 0, 1:4, 1:4] = 1
    mask[0, 7, 0, 6, 5] = 1
    smoothed = smooth_mask(mask)
    assert float(smoothed[0, 2, 0, 2, 2]) == 1
    assert float(smoothed[0, 7, 0, 6, 5]) == 0.125
    assert smoothed.max() == 1
    assert torch.equal(smoothed[:, 6:].flatten(1).argmax(1), mask[:, 6:].flatten(1).argmax(1))


def test_smoothing_moves_nothing() -> None:
    mask = torch.rand(2, 4, 1, 5, 6, generator=torch.Generator().manual_seed(0))
    for axis in (1, 3, 4):
        torch.testing.assert_close(smooth_mask(mask.flip(axis)), smooth_mask(mask).flip(axis))
    torch.testing.assert_close(smooth_mask(torch.ones_like(mask))[:, 1:-1, :, 1:-1, 1:-1], torch.ones(2, 2, 1, 3, 4))
    assert smooth_mask(mask[:, :1]).shape == (2, 1, 1, 5, 6)


def test_a_mask_of_several_maps_is_high_where_any_of_them_is() -> None:
    maps = torch.full((1, 2, 3, 4, 4), -9.0)
    maps[0, 0, 1, 2, 3] = maps[0, 1, 2, 0, 0] = 9.0
    mask = mask_of_maps(maps)
    assert mask.shape == (1, 2, 1, 4, 4)
    assert {tuple(place) for place in (mask > 0.5).nonzero().tolist()} == {(0, 0, 0, 2, 3), (0, 1, 0, 0, 0)}
    torch.testing.assert_close(mask_of_maps(maps[:, :, 1:2]), torch.sigmoid(maps[:, :, 1:2]))
    # The mean odds, so that as many maps of nothing as there are classes do not add up to something.
    torch.testing.assert_close(mask_of_maps(torch.zeros(1, 1, 50, 2, 2)), torch.full((1, 1, 1, 2, 2), 0.5))
