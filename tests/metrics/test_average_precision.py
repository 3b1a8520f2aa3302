import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from whenwhere.metrics.average_precision import area_under, average_precision, precision_recall


def test_precision_and_recall_after_each_detection_best_first():
    precision, recall = precision_recall(np.array([0.1, 0.9, 0.5]), np.array([True, True, False]), positives=4)
    assert precision.tolist() == [1, 1 / 2, 2 / 3]
    assert recall.tolist() == [1 / 4, 1 / 4, 2 / 4]


def test_a_worked_example_under_every_rule():
    # Best first: right, wrong, right; two to be found. Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    arguments = np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2
    assert average_precision(*arguments, rule="area") == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert average_precision(*arguments, rule="non_interpolated") == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(*arguments, rule="trapezoid") == pytest.approx(1 / 2 * 1 + 1 / 2 * (1 / 2 + 2 / 3) / 2)


def test_interpolation_lifts_a_dip():
    # wrong, right, right: precision 0, 1/2, 2/3; made to fall: 2/3 from the start.
    arguments = np.array([0.9, 0.8, 0.7]), np.array([False, True, True]), 2
    assert average_precision(*arguments, rule="area") == pytest.approx(2 / 3)
    assert average_precision(*arguments, rule="non_interpolated") == pytest.approx((1 / 2 + 2 / 3) / 2)


@pytest.mark.parametrize("seed", range(20))
def test_scikit_learn_agrees_where_it_must(seed):
    random = np.random.default_rng(seed)
    scores, correct = random.permutation(50) / 50, random.random(50) < 0.3
    ours = average_precision(scores, correct, int(correct.sum()), rule="non_interpolated")
    assert ours == pytest.approx(average_precision_score(correct, scores), abs=1e-12)


@pytest.mark.parametrize("rule", ["area", "non_interpolated", "trapezoid"])
def test_limits(rule):
    empty = np.zeros(0), np.zeros(0, dtype=bool)
    assert average_precision(*empty, positives=3, rule=rule) == 0
    assert np.isnan(average_precision(*empty, positives=0, rule=rule))
    assert np.isnan(average_precision(np.ones(2), np.zeros(2, bool), positives=0, rule=rule))
    assert average_precision(np.array([0.2, 0.9]), np.array([True, True]), 2, rule=rule) == 1
    assert average_precision(np.array([0.2, 0.9]), np.array([False, False]), 2, rule=rule) == 0


@pytest.mark.parametrize("rule", ["area", "non_interpolated", "trapezoid"])
def test_only_the_order_of_scores_counts(rule):
    random = np.random.default_rng(0)
    scores, correct = random.random(30), random.random(30) < 0.5
    assert average_precision(scores, correct, 30, rule) == average_precision(np.exp(5 * scores) - 9, correct, 30, rule)


def test_of_equal_scores_the_first_given_comes_first():
    assert average_precision(np.ones(2), np.array([True, False]), 1, "non_interpolated") == 1
    assert average_precision(np.ones(2), np.array([False, True]), 1, "non_interpolated") == 1 / 2


@pytest.mark.parametrize(
    "scores, correct, positives, words",
    [
        ([0.1, np.nan], [True, False], 1, "1 of 2 scores are not finite"),
        ([0.1], [True, False], 1, r"must both be \(N,\)"),
        ([0.1, 0.2], [True, True], 1, "2 detections are correct, but there are only 1"),
    ],
)
def test_what_cannot_be_is_an_error(scores, correct, positives, words):
    with pytest.raises(ValueError, match=words):
        average_precision(np.array(scores), np.array(correct), positives)


def test_an_unknown_rule_lists_the_known():
    with pytest.raises(ValueError, match="choose area, non_interpolated or trapezoid"):
        average_precision(np.ones(1), np.ones(1, bool), 1, rule="11 points")  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["area", "non_interpolated", "trapezoid"])
def test_many_curves_at_once_equal_one_after_the_other(rule):
    random = np.random.default_rng(0)
    scores, correct = random.random(30), random.random((2, 3, 30)) < 0.5
    curves = [precision_recall(scores, row, 40) for row in correct.reshape(-1, 30)]
    precision, recall = (np.reshape(values, correct.shape) for values in zip(*curves))
    alone = [average_precision(scores, row, 40, rule) for row in correct.reshape(-1, 30)]
    np.testing.assert_allclose(area_under(precision, recall, rule).ravel(), alone)
