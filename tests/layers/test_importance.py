import pytest
import torch

from whenwhere.layers import frame_contribution, frame_importance, power_mean


def test_a_small_strong_map_and_a_wide_faint_one_by_hand() -> None:
    maps = torch.zeros(2, 4, 4)
    maps[0, 1, 2] = 1.0
    maps[1] = 0.5
    torch.testing.assert_close(power_mean(maps), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(power_mean(maps, order=1), torch.tensor([1 / 16, 0.5]))
    assert power_mean(torch.zeros(1, 3, 3)).tolist() == [0.0]


def test_strength_lies_between_mean_and_peak_and_scales_with_the_map() -> None:
    maps = torch.rand(20, 5, 7, generator=torch.Generator().manual_seed(0))
    strength = power_mean(maps)
    assert (strength > maps.mean((1, 2))).all()
    assert (strength < maps.amax((1, 2))).all()
    torch.testing.assert_close(power_mean(1e-20 * maps), 1e-20 * strength, atol=0, rtol=1e-4)
    torch.testing.assert_close(power_mean(maps.repeat_interleave(2, 1).repeat_interleave(2, 2)), strength)


@pytest.mark.parametrize("read, first", [(frame_contribution, False), (frame_importance, True)])
def test_a_background_let_through_evenly_contributes_more_and_counts_for_less(read: object, first: bool) -> None:
    """Frame 0: half of the cells at 1, the rest at 0; frame 1: all at 0.6."""
    mask = torch.full((1, 2, 1, 2, 2), 0.6)
    mask[0, 0, 0] = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    share = read(mask, torch.full((1, 3, 2), 0.5))  # type: ignore[operator]
    torch.testing.assert_close(share.sum(1), torch.ones(1))
    assert bool(share[0, 0] > share[0, 1]) is first


@pytest.mark.parametrize("read", [frame_contribution, frame_importance])
def test_flat_masks_leave_it_to_the_weights_and_a_dead_one_is_finite(read: object) -> None:
    weights = torch.tensor([[[0.0, 0.5, 0.5], [0.2, 0.4, 0.4]]])
    flat = torch.full((1, 3, 1, 2, 2), 0.3)
    torch.testing.assert_close(read(flat, weights), torch.tensor([[0.1, 0.45, 0.45]]))  # type: ignore[operator]
    assert read(0 * flat, weights).tolist() == [[0.0, 0.0, 0.0]]  # type: ignore[operator]


def test_importance_has_a_finite_gradient_where_the_mask_is_0() -> None:
    mask = torch.zeros(1, 2, 1, 2, 2, requires_grad=True)
    frame_importance(mask + torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1), torch.full((1, 1, 2), 0.5))[0, 0].backward()
    assert mask.grad is not None
    assert mask.grad.isfinite().all()
