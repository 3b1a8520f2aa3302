from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from whenwhere.metrics.stability import Move, agreement, rank_correlation, threshold_iou


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_scipy_gives_the_same_rank_correlation_ties_or_not(levels):
    random = np.random.default_rng(levels)
    a, b = random.integers(levels, size=(2, 6, 40)).astype(np.float32)
    ours = rank_correlation(torch.from_numpy(a), torch.from_numpy(b))
    expected = [spearmanr(x, y).statistic for x, y in zip(a, b)]
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_rank_correlation_is_of_order_alone():
    a, b = torch.rand(3, 50), torch.rand(3, 50)
    torch.testing.assert_close(rank_correlation(a, a.exp()), torch.ones(3))
    torch.testing.assert_close(rank_correlation(a, -(a**3)), -torch.ones(3))
    torch.testing.assert_close(rank_correlation(a, b), rank_correlation(b, a))
    order = torch.randperm(50)
    torch.testing.assert_close(rank_correlation(a[:, order], b[:, order]), rank_correlation(a, b))
    sliced = torch.rand(50, 3)
    torch.testing.assert_close(rank_correlation(sliced.T, a), rank_correlation(sliced.T.contiguous(), a))


def test_a_constant_agrees_with_nothing():
    constant, other = torch.full((2, 9), 0.1), torch.rand(2, 9)
    assert rank_correlation(constant, other).tolist() == [0, 0]
    assert rank_correlation(other, constant).tolist() == [0, 0]
    assert rank_correlation(constant, constant).tolist() == [0, 0]
    assert rank_correlation(torch.ones(1), torch.zeros(1)).item() == 0


def test_ranks_of_what_cannot_be_ranked_are_an_error():
    with pytest.raises(ValueError, match="finite"):
        rank_correlation(torch.tensor([0.0, float("nan")]), torch.rand(2))
    with pytest.raises(ValueError, match=r"got \(3,\) and \(4,\)"):
        rank_correlation(torch.rand(3), torch.rand(4))
    with pytest.raises(ValueError, match=r"got \(2, 0\)"):
        rank_correlation(torch.rand(2, 0), torch.rand(2, 0))


def test_iou_above_half_of_each_peak():
    a = torch.tensor([[1.0, 0.6, 0.2, 0.0], [0.1, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -2.0, -3.0, -4.0]])
    b = torch.tensor([[0.0, 30.0, 20.0, 9.0], [0.7, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(threshold_iou(a, b), torch.tensor([1 / 3, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(threshold_iou(a.view(4, 2, 2), b.view(4, 2, 2)), threshold_iou(a, b))
    torch.testing.assert_close(threshold_iou(a, b, threshold=0.9), torch.tensor([0.0, 1.0, 0.0, 0.0]))


def test_a_move_by_hand():
    grid = torch.arange(6).view(2, 3)
    assert Move(mirror=True)(grid).tolist() == [[2, 1, 0], [5, 4, 3]]
    assert Move(columns=1)(grid).tolist() == [[0, 0, 1], [3, 3, 4]]
    assert Move(rows=-1)(grid).tolist() == [[3, 4, 5], [3, 4, 5]]
    assert Move(mirror=True, rows=1, columns=-2)(grid).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert Move(rows=1, columns=-1).overlap(grid).tolist() == [[3, 4]]
    assert torch.equal(Move()(grid), grid)
    assert torch.equal(Move().overlap(grid), grid)


@pytest.mark.parametrize("move", [Move(mirror=True), Move(rows=2), Move(columns=-3), Move(True, -1, 2), Move()])
def test_a_map_that_moves_with_the_clip_agrees_whatever_happens_at_the_edge(move):
    original, moved = torch.rand(2, 2, 4, 6, 7)
    move.overlap(moved).copy_(move.overlap(move(original)))
    result = agreement(original, moved, move)
    torch.testing.assert_close(result.correlation, torch.ones(2))
    torch.testing.assert_close(result.iou, torch.ones(2))


def test_a_map_that_stays_where_it_was_does_not_agree():
    original = torch.zeros(1, 1, 4, 4)
    original[..., 1, 0] = 1
    for move in (Move(mirror=True), Move(columns=1), Move(rows=1)):
        result = agreement(original, original, move)
        assert result.correlation.item() < 0.01
        assert result.iou.item() == 0


def test_importance_without_a_place_is_compared_as_it_is():
    importance = torch.rand(3, 8)
    torch.testing.assert_close(agreement(importance, importance).correlation, torch.ones(3))


def test_moves_that_leave_nothing_are_an_error():
    with pytest.raises(ValueError, match="leaves nothing of 4 rows and 3 columns"):
        agreement(torch.rand(1, 4, 3), torch.rand(1, 4, 3), Move(columns=3))
    with pytest.raises(ValueError, match="differ in shape"):
        agreement(torch.rand(1, 4, 3), torch.rand(1, 4, 4), Move())
