"""The printed priors and where they fail; the scale-free ones and what they do not depend on."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from whenwhere.losses import (
    AreaMeasure,
    contrast,
    contrast_sum,
    doubly_stochastic,
    effective_area,
    mask_area,
    persistence,
    total_variation,
    total_variation_sum,
    unimodality,
    unimodality_sum,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def flat(level: float, frames: int = 5, side: int = 7) -> Tensor:
    return torch.full((2, frames, 1, side, side), level)


def half(frames: int = 5, side: int = 8) -> Tensor:
    mask = torch.zeros(2, frames, 1, side, side)
    mask[..., : side // 2] = 1
    return mask


def is_unimodal(sequence: list[float]) -> bool:
    """Definition 1 of the paper's appendix, by trying every mode."""
    return any(
        all(sequence[i - 1] <= sequence[i] for i in range(1, mode + 1))
        and all(sequence[i] >= sequence[i + 1] for i in range(mode, len(sequence) - 1))
        for mode in range(len(sequence))
    )


# The equations as printed.


def test_sums_are_the_printed_equations() -> None:
    mask, weights = torch.rand(2, 3, 1, 4, 5), torch.rand(2, 3, 6).softmax(-1)
    variation = contrasts = valleys = 0.0
    for b, t in product(range(2), range(3)):
        m, w = mask[b, t, 0], weights[b, t]
        for i, j in product(range(4), range(5)):
            variation += float((m[i + 1, j] - m[i, j]).abs()) if i < 3 else 0
            variation += float((m[i, j + 1] - m[i, j]).abs()) if j < 4 else 0
            on = float(m[i, j] > 0.5)
            contrasts += float(-m[i, j] * on / 2 + m[i, j] * (1 - on) / 2)
        valleys += sum(max(0.0, float(w[i - 1] * w[i + 1] - w[i] ** 2)) for i in range(1, 5))
    assert float(total_variation_sum(mask)) == pytest.approx(variation / 2, rel=1e-5)
    assert float(contrast_sum(mask)) == pytest.approx(contrasts / 2, rel=1e-4)
    assert float(unimodality_sum(weights)) == pytest.approx(valleys / 2, rel=1e-4)


# 3. The printed mask priors are minimal where the mask says nothing.


def test_printed_contrast_is_minimal_at_a_mask_of_ones() -> None:
    ones = flat(1.0)
    assert contrast_sum(ones) == -0.5 * 5 * 7 * 7
    assert total_variation_sum(ones) == 0
    for mask in (torch.rand_like(ones), (torch.rand_like(ones) > 0.5).float(), flat(0.9), flat(0.0)):
        assert contrast_sum(mask) > contrast_sum(ones)


@pytest.mark.parametrize("frames, side", [(1, 7), (5, 7), (24, 8), (50, 14)])
def test_contrast_of_flat_masks_is_zero(frames: int, side: int) -> None:
    for level in torch.linspace(0, 1, 21).tolist():
        assert contrast(flat(level, frames, side)).abs() < 1e-6


def test_contrast_is_minimal_for_masks_that_are_all_or_nothing() -> None:
    assert contrast(half()) == pytest.approx(-1)
    assert contrast(half() * 0.5) == pytest.approx(-0.5)
    assert contrast(half() * 0.5 + 0.5) == pytest.approx(-0.5)
    for _ in range(20):
        assert -1 < contrast(torch.rand(2, 3, 1, 4, 4)) < 0


def test_contrast_pushes_salient_cells_up_and_the_others_down() -> None:
    mask = (0.4 + 0.2 * torch.rand(2, 3, 1, 4, 4)).requires_grad_()
    contrast(mask).backward()
    above = mask.flatten(1) > mask.flatten(1).mean(1, keepdim=True)
    assert mask.grad is not None
    assert torch.equal(mask.grad.flatten(1) < 0, above)


# 4. Eq. 10 sees neither flat weights nor distant spikes.


def test_printed_unimodality_is_blind_to_uniform_weights_and_distant_spikes() -> None:
    uniform = torch.full((1, 1, 8), 1 / 8)
    assert unimodality_sum(uniform) == pytest.approx(0, abs=1e-9)
    for zeros in (2, 3, 10):
        spikes = torch.tensor([[[0.5, *[0.0] * zeros, 0.5]]])
        assert unimodality_sum(spikes) == 0
        assert unimodality(spikes) == 0.5 * zeros
    one_apart = torch.tensor([[[0.5, 0.0, 0.5]]])
    assert unimodality_sum(one_apart) == 0.25


def test_unimodality_is_zero_exactly_for_unimodal_sequences() -> None:
    kinds = {True: 0, False: 0}
    for _ in range(1500):
        length = int(torch.randint(1, 7, ()))
        sequence = torch.randint(0, 4, (length,)).float()
        sequence = (sequence + (sequence.sum() == 0)) / sequence.sum().clamp_min(1)
        unimodal = is_unimodal(sequence.tolist())
        kinds[unimodal] += 1
        assert (unimodality(sequence.view(1, 1, -1)) == 0) == unimodal, sequence
    assert min(kinds.values()) > 250


def test_minimising_unimodality_fills_the_valley() -> None:
    logits = torch.tensor([2.0, 0.0, 0.0, 2.0, -1.0]).requires_grad_()
    optimiser = torch.optim.SGD([logits], lr=1.0)
    for _ in range(150):
        optimiser.zero_grad()
        unimodality(logits.softmax(0).view(1, 1, -1)).backward()
        optimiser.step()
    assert unimodality(logits.softmax(0).view(1, 1, -1)) < 0.05


# 6. Printed weights keep their meaning at any batch size, ours at any T, S, H and W.


@pytest.mark.parametrize("times", [2, 3])
def test_mask_priors_do_not_depend_on_the_number_of_frames(times: int) -> None:
    mask = torch.rand(2, 4, 1, 6, 6)
    longer = mask.repeat_interleave(times, dim=1)
    for prior in (total_variation, contrast, lambda m: mask_area(m, 0.05, 0.3), effective_area):
        torch.testing.assert_close(prior(longer), prior(mask))
    assert total_variation_sum(longer) == pytest.approx(times * float(total_variation_sum(mask)), rel=1e-4)


@pytest.mark.parametrize("times", [2, 3])
def test_mask_priors_do_not_depend_on_the_fineness_of_the_grid(times: int) -> None:
    mask = torch.rand(2, 4, 1, 6, 5)
    finer = mask.repeat_interleave(times, dim=-1).repeat_interleave(times, dim=-2)
    for prior in (total_variation, contrast, lambda m: mask_area(m, 0.05, 0.3), effective_area):
        torch.testing.assert_close(prior(finer), prior(mask))


@pytest.mark.parametrize("times", [2, 5])
def test_unimodality_does_not_depend_on_the_number_of_frames_or_steps(times: int) -> None:
    weights = torch.randn(2, 3, 6).softmax(-1)
    finer = weights.repeat_interleave(times, dim=-1) / times
    assert unimodality(weights) > 0.01
    torch.testing.assert_close(unimodality(finer), unimodality(weights))
    torch.testing.assert_close(unimodality(weights.repeat_interleave(times, dim=1)), unimodality(weights))


def test_half_a_frame_on_costs_one() -> None:
    for frames, side in ((1, 4), (7, 8), (30, 14)):
        assert total_variation(half(frames, side)) == pytest.approx(1)


# The area prior, and the whole.


@pytest.mark.parametrize(
    "level, expected",
    [
        (0.05, 0.0),
        (0.2, 0.0),
        (0.3, 0.0),
        (0.6, math.log(2) ** 2),
        (0.025, math.log(2) ** 2),
        (0.005, math.log(10) ** 2),
    ],
)
def test_area_is_free_within_its_range(level: float, expected: float) -> None:
    assert float(mask_area(flat(level), 0.05, 0.3)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("measure", ["mean", "effective"])
def test_area_of_an_empty_mask_is_finite(measure: AreaMeasure) -> None:
    mask = flat(0.0).requires_grad_()
    area = mask_area(mask, 0.05, 0.3, measure)
    area.backward()
    assert math.isfinite(float(area.detach()))
    assert mask.grad is not None
    assert mask.grad.isfinite().all()


@pytest.mark.parametrize("level", [1.0, 0.3, 0.004])
def test_effective_area_is_the_share_of_cells_that_are_on_whatever_their_level(level: float) -> None:
    assert effective_area(flat(level)).tolist() == pytest.approx([1, 1])
    assert effective_area(level * half()).tolist() == pytest.approx([0.5, 0.5])
    single = torch.zeros(1, 4, 1, 5, 5)
    single[0, 2, 0, 1, 3] = level
    assert effective_area(single).tolist() == pytest.approx([0.01])


def test_dust_is_small_by_its_mean_and_all_of_the_clip_by_its_effective_area() -> None:
    dust = flat(0.01).requires_grad_()
    assert float(mask_area(dust, 0.005, 0.02)) == 0
    assert float(mask_area(dust, 0.005, 0.02, "effective")) == pytest.approx(math.log(1 / 0.02) ** 2, rel=1e-4)
    # Once something stands out, less dust and more of it are both cheaper.
    mask = flat(0.01)
    mask[:, 2, 0, 3, 3] = 0.1
    mask.requires_grad_()
    mask_area(mask, 0.005, 0.02, "effective").backward()
    assert mask.grad is not None
    assert (mask.grad[:, 2, 0, 3, 3] < 0).all()
    assert (mask.grad[:, 0] > 0).all()


def test_persistence_prefers_a_plateau_to_its_peak_and_does_not_depend_on_sampling() -> None:
    def plateau(frames: int, length: int) -> Tensor:
        importance = torch.zeros(1, frames)
        importance[:, frames // 4 : frames // 4 + length] = 1 / length
        return importance

    assert float(persistence(torch.full((2, 16), 1 / 16))) == 0
    assert float(persistence(plateau(16, 4))) == pytest.approx(2 / 0.25)
    assert float(persistence(plateau(64, 16))) == pytest.approx(2 / 0.25)
    assert float(persistence(plateau(16, 1))) == pytest.approx(2 * 16)


def test_area_counts_every_clip_on_its_own() -> None:
    mask = torch.cat([flat(0.05), flat(0.6)])  # within the range on average, and yet wrong in each
    assert float(mask_area(mask, 0.1, 0.3)) == pytest.approx(math.log(2) ** 2)


def test_doubly_stochastic_penalty_of_planted_maps() -> None:
    """0 where every cell gets 1 in all; 2 frames that look at the first of 4 cells: (1 - 2)^2 + 3."""
    everywhere_once = torch.eye(4).view(1, 4, 1, 2, 2)
    assert float(doubly_stochastic(everywhere_once)) == 0
    staring = torch.zeros(1, 2, 1, 2, 2)
    staring[..., 0, 0] = 1
    assert float(doubly_stochastic(staring)) == 4
    assert float(doubly_stochastic(torch.cat([staring, staring]))) == 4  # a mean over clips
    assert float(doubly_stochastic(torch.full((1, 2, 1, 2, 2), 0.25))) == pytest.approx(4 * (1 - 2 / 4) ** 2)
