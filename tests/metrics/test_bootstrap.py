from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from whenwhere.metrics import bootstrap
from whenwhere.metrics.bootstrap import bootstrap_interval, bootstrap_statistic, paired_difference


@pytest.mark.parametrize("confidence", [0.5, 0.95])
@pytest.mark.parametrize("seed", [0, 7])
def test_scipy_gives_the_same_interval_from_the_same_draws(seed, confidence):
    values = np.random.default_rng(100 + seed).exponential(size=60)
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=confidence, n_resamples=500, method="percentile", rng=seed
    ).confidence_interval
    ours = bootstrap_interval(values, confidence=confidence, resamples=500, seed=seed)
    assert ours == pytest.approx((theirs.low, theirs.high), rel=1e-12)


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    samples = np.random.default_rng(0).exponential(size=(500, 60))
    intervals = np.array([bootstrap_interval(sample, confidence=0.9, resamples=300) for sample in samples])
    coverage = ((intervals[:, 0] <= 1) & (intervals[:, 1] >= 1)).mean()
    assert 0.84 <= coverage <= 0.94  # percentile intervals of skewed values fall a little short


def test_frames_of_one_clip_must_be_drawn_together():
    # 40 clips of 10 frames that differ little within a clip: 400 values, hardly more than 40 independent ones.
    random = np.random.default_rng(1)
    clips = np.repeat(np.arange(40), 10)
    samples = random.normal(size=(300, 40))[:, clips] + 0.1 * random.normal(size=(300, 400))

    def coverage(groups: np.ndarray | None) -> float:
        intervals = np.array([bootstrap_interval(s, groups, confidence=0.9, resamples=200) for s in samples])
        return float(((intervals[:, 0] <= 0) & (intervals[:, 1] >= 0)).mean())

    assert coverage(clips) > 0.83
    assert coverage(None) < 0.6


def test_a_clip_repeated_in_its_group_changes_nothing():
    values, names = np.random.default_rng(2).random(30), [f"clip {i:02}" for i in range(30)]
    alone = bootstrap_interval(values)
    assert bootstrap_interval(values, names) == alone
    assert bootstrap_interval(np.repeat(values, 5), np.repeat(names, 5)) == pytest.approx(alone, rel=1e-12)


def test_groups_of_different_size_weigh_by_their_clips():
    # Either group is drawn twice or each once: means 0, 1 and 9/10.
    low, high = bootstrap_interval([0.0, *[1.0] * 9], ["a", *["b"] * 9], confidence=0.98)
    assert (low, high) == (0, 1)
    assert bootstrap_interval([0.0, *[1.0] * 9], ["a", *["b"] * 9], confidence=0.1) == pytest.approx((0.9, 0.9))


@pytest.mark.parametrize("grouped", [False, True])
def test_a_weighted_mean_as_statistic_equals_the_fast_path(grouped):
    values = np.random.default_rng(3).random(50)
    groups = np.arange(50) % 12 if grouped else None
    slow = bootstrap_statistic(lambda weights: np.average(values, weights=weights), 50, groups, resamples=200)
    assert slow == pytest.approx(bootstrap_interval(values, groups, resamples=200), rel=1e-12)


def test_weights_say_how_often_each_clip_was_drawn():
    seen: list[np.ndarray] = []
    bootstrap_statistic(lambda weights: float(len(seen.append(weights) or seen)), 20, resamples=300)
    drawn = np.array(seen)
    assert drawn.shape == (300, 20)
    assert (drawn.sum(1) == 20).all()
    assert drawn.mean() == 1
    assert 0.25 < (drawn == 0).mean() < 0.5  # (1 - 1/20) ** 20 = 0.36


def test_intervals_shift_and_scale_with_the_values():
    values = np.random.default_rng(4).random(40)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert bootstrap_interval(3 * values + 1) == pytest.approx((3 * low + 1, 3 * high + 1))
    assert bootstrap_interval(-values) == pytest.approx((-high, -low))


def test_more_confidence_is_wider_and_more_clips_are_narrower():
    values = np.random.default_rng(5).random(400)
    widths = [np.diff(bootstrap_interval(values, confidence=c))[0] for c in (0.5, 0.8, 0.95, 0.99)]
    assert (np.diff(widths) > 0).all()
    assert np.diff(bootstrap_interval(values[:100]))[0] == pytest.approx(2 * widths[2], rel=0.2)


def test_the_seed_decides_and_memory_does_not(monkeypatch):
    values = np.random.default_rng(6).random(40)
    once = bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) == once != bootstrap_interval(values, seed=2)
    monkeypatch.setattr(bootstrap, "_BLOCK", 40 * 7)
    assert bootstrap_interval(values, seed=1) == pytest.approx(once, abs=0.01)
    assert sum(len(rows) for rows in bootstrap._draws(40, 0.95, 1000, 1)) == 1000


@pytest.mark.parametrize("values, groups", [([], None), ([0.4], None), ([0.4, 0.6, 0.9], ["a", "a", "a"])])
def test_nothing_to_draw_from_gives_no_interval(values, groups):
    assert np.isnan(bootstrap_interval(values, groups)).all()
    assert np.isnan(bootstrap_statistic(lambda weights: 1.0, len(values), groups)).all()


def test_equal_values_give_an_interval_of_no_width():
    assert bootstrap_interval(np.full(20, 0.25)) == (0.25, 0.25)


def test_draws_on_which_the_statistic_is_undefined_are_left_out_unless_they_are_most():
    # Undefined where clip 0 is not drawn, about 0.36 of the time.
    defined = bootstrap_statistic(lambda weights: 0.5 if weights[0] else np.nan, 20)
    assert defined == (0.5, 0.5)
    assert np.isnan(bootstrap_statistic(lambda weights: np.nan if weights[0] else 0.5, 20)).all()


def test_pairing_tells_apart_what_single_intervals_do_not():
    random = np.random.default_rng(7)
    hard = random.random(100)  # how hard a clip is, for any answer
    ours, control = hard + 0.05 + 0.02 * random.normal(size=100), hard
    assert bootstrap_interval(ours)[0] < bootstrap_interval(control)[1]
    difference, low, high = paired_difference(ours, control)
    assert difference == pytest.approx((ours - control).mean())
    assert 0.04 < low < difference < high < 0.06
    assert paired_difference(control, ours) == pytest.approx((-difference, -high, -low))


def test_no_difference_is_found_where_there_is_none():
    random = np.random.default_rng(8)
    intervals = [paired_difference(*random.random((2, 50)), confidence=0.9, resamples=200) for _ in range(300)]
    assert 0.85 < np.mean([low <= 0 <= high for _, low, high in intervals]) < 0.95


def test_limits_of_paired_differences():
    assert paired_difference([0.5, 0.7], [0.5, 0.7]) == (0, 0, 0)
    assert np.isnan(paired_difference([], [])).all()
    difference, *interval = paired_difference([0.9], [0.4])
    assert difference == pytest.approx(0.5)
    assert np.isnan(interval).all()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: bootstrap_interval([0.1, np.nan, np.inf]), "2 of 3 values are not finite numbers; leave out"),
        (lambda: bootstrap_interval([[0.1, 0.2]]), r"must be \(N,\).*got \(1, 2\)"),
        (lambda: bootstrap_interval([0.1, 0.2], ["a"]), r"each of the 2 clips, got an array \(1,\)"),
        (lambda: bootstrap_interval([0.1, 0.2], confidence=95), r"in \(0, 1\), got 95"),
        (lambda: bootstrap_interval([0.1, 0.2], resamples=0), "at least 1, got 0"),
        (lambda: bootstrap_interval([], resamples=0), "at least 1, got 0"),
        (lambda: paired_difference([0.1, 0.2], [0.1]), "same clips, got 2 of ours and 1 of the control"),
        (lambda: paired_difference([0.1], [np.nan]), "1 of 1 values are not finite"),
    ],
)
def test_what_cannot_be_is_an_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()
