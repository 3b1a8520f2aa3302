from __future__ import annotations

import pytest
import torch

from whenwhere.features.projection import Projection, ProjectionError


def planted(count: int = 4000) -> torch.Tensor:
    """Three strong directions in ten dimensions, a little noise in the others."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(10, 10, generator=generator)).Q
    scale = torch.tensor([5.0, 3.0, 2.0, *[0.05] * 7])
    return torch.randn(count, 10, generator=generator) * scale @ basis.T + 4


def test_outputs_are_white_on_what_it_was_fitted_on() -> None:
    cells = planted()
    out = Projection.fit(cells, 3)(cells[:, :, None, None])[:, :, 0, 0]
    torch.testing.assert_close(out.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(out.T), torch.eye(3), atol=1e-3, rtol=0)


def test_agrees_with_scikit_learn_up_to_sign() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    cells = planted()
    expected = torch.from_numpy(decomposition.PCA(3, whiten=True).fit_transform(cells.double().numpy())).float()
    ours = Projection.fit(cells, 3)(cells[:, :, None, None])[:, :, 0, 0]
    torch.testing.assert_close(ours.abs(), expected.abs(), atol=2e-3, rtol=1e-3)


def test_each_cell_is_projected_alone_and_memory_is_contiguous() -> None:
    projection = Projection.fit(planted(), 3)
    maps = torch.randn(2, 10, 4, 5)
    out = projection(maps)
    assert out.is_contiguous()
    torch.testing.assert_close(out[1, :, 2, 3], projection(maps[1:, :, 2:3, 3:4])[0, :, 0, 0])


def test_too_few_vectors_is_an_error() -> None:
    with pytest.raises(ProjectionError, match="more than 8 vectors, got 5"):
        Projection.fit(torch.randn(5, 10), 8)


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_fewer_directions_than_components_is_an_error(noise: float) -> None:
    """Static clips: the same vectors again and again, up to what arithmetic does to them."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn(20, 64, generator=generator).repeat(10, 1)
    cells += noise * torch.randn(200, 64, generator=generator)
    with pytest.raises(ProjectionError, match=r"32 components .* vary in 19 directions only.*data\.components 19"):
        Projection.fit(cells, 32)
    new = torch.randn(50, 64, 1, 1, generator=generator)
    assert Projection.fit(cells, 19)(new).abs().max() < 100
