from __future__ import annotations

import numpy as np
import pytest

from whenwhere.metrics.bootstrap import bootstrap_statistic, bootstrap_statistics


def test_figures_computed_at_once_have_the_intervals_they_have_alone() -> None:
    values = np.random.default_rng(1).random((30, 3))
    low, high = bootstrap_statistics(lambda counts: counts @ values / counts.sum(), 30, resamples=100)
    for column in range(3):
        alone = bootstrap_statistic(lambda counts, c=column: counts @ values[:, c] / counts.sum(), 30, resamples=100)
        assert (low[column], high[column]) == pytest.approx(alone)
    assert (low < values.mean(0)).all()
    assert (values.mean(0) < high).all()


def test_a_figure_that_is_rarely_there_has_no_interval_and_its_neighbour_has() -> None:
    low, high = bootstrap_statistics(lambda counts: [np.nan if counts[0] else 1.0, counts[1:].sum()], 4, resamples=200)
    assert np.isnan([low[0], high[0]]).all()
    assert low[1] < high[1]


def test_one_clip_gives_no_interval() -> None:
    low, high = bootstrap_statistics(lambda counts: [1.0, 2.0], 1)
    assert np.isnan([*low, *high]).all()
