"""Winograd's filtering against the convolution it replaces."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from whenwhere.layers.winograd import Convolution3x3, filtering_matrices, winograd_convolution

GRIDS = [(7, 7), (4, 4), (1, 1), (3, 9), (8, 5)]


def test_four_correlations_from_six_products() -> None:
    to_outputs, taps, inputs = filtering_matrices()
    x, w = torch.tensor([1.0, 2, 3, 5, 8, 13]).double(), torch.tensor([1.0, -1, 2]).double()
    expected = torch.tensor([1.0 - 2 + 6, 2 - 3 + 10, 3 - 5 + 16, 5 - 8 + 26]).double()
    assert torch.allclose(to_outputs.t() @ ((taps @ w) * (inputs.t() @ x)), expected, atol=1e-12)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_same_as_the_direct_convolution_in_float64(grid: tuple[int, int]) -> None:
    # More outputs than fit one chunk, and not a multiple of it.
    inputs = torch.randn(3, 5, *grid, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(150, 5, 3, 3, dtype=torch.float64, requires_grad=True)
    direct = F.conv2d(inputs, weight, padding=1)
    ours = winograd_convolution(inputs, weight)
    assert torch.allclose(ours, direct, atol=1e-11)
    upstream = torch.randn_like(direct)
    for mine, expected in zip(
        torch.autograd.grad(ours, (inputs, weight), upstream),
        torch.autograd.grad(direct, (inputs, weight), upstream),
        strict=True,
    ):
        assert torch.allclose(mine, expected, atol=1e-10)


def test_float32_is_as_exact_as_the_direct_convolution() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(8, 512, 7, 7, generator=generator).relu()
    weight = torch.randn(64, 512, 3, 3, generator=generator) / (9 * 512) ** 0.5
    exact = F.conv2d(inputs.double(), weight.double(), padding=1)
    error = (winograd_convolution(inputs, weight) - exact).abs().max() / exact.abs().max()
    assert error <= 5e-6  # the usual points 0, +-1, +-2 lose 7e-6 and more


@pytest.mark.parametrize(("channels", "outputs", "batch"), [(512, 512, 16), (512, 512, 1), (8, 8, 16)])
def test_the_layer_is_a_convolution_whichever_form_it_takes(channels: int, outputs: int, batch: int) -> None:
    torch.manual_seed(0)
    layer, inputs = Convolution3x3(channels, outputs), torch.randn(batch, channels, 7, 7)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    expected = F.conv2d(inputs, layer.weight, padding=1)
    assert (layer(inputs) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_layer_takes_the_fast_form_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, ...]] = []

    def record(inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        taken.append(tuple(inputs.shape))
        return F.conv2d(inputs, weight, padding=1)

    monkeypatch.setattr("whenwhere.layers.winograd.winograd_convolution", record)
    large = Convolution3x3(512, 512)
    for shape in ((16, 512, 7, 7), (1, 512, 7, 7), (1, 512, 40, 40)):
        large(torch.zeros(shape))
    Convolution3x3(64, 512)(torch.zeros(16, 64, 7, 7))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        large(torch.zeros(16, 512, 7, 7))
    assert taken == [(16, 512, 7, 7)]
