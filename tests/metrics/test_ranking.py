"""Matching against plain loops, and resampling against videos written out as often as they were drawn."""

from __future__ import annotations

import numpy as np
import pytest

from whenwhere.metrics.average_precision import average_precision
from whenwhere.metrics.ranking import Ranked, average_precisions, match, mean_average_precision, pairs_within, rank

THRESHOLDS = (0.2, 0.5, 0.8)
Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def random_case(seed: int) -> Case:
    """Scores and groups of detections, groups of truths, overlap of each with each; scores and overlaps with ties."""
    random = np.random.default_rng(seed)
    detections, truths = random.integers(0, 25), random.integers(0, 12)
    overlaps = random.integers(0, 11, (detections, truths)) / 10
    return (
        random.integers(0, 9, detections) / 9,
        random.integers(0, 4, detections),
        random.integers(0, 4, truths),
        overlaps,
    )


def loop_match(case: Case, threshold: float, matching: str) -> np.ndarray:
    """One detection after the other, one truth after the other."""
    scores, groups, truth_groups, overlaps = case
    correct, taken = np.zeros(len(scores), dtype=bool), set()
    for detection in sorted(range(len(scores)), key=lambda index: -scores[index]):  # sorted is stable
        best, chosen = 0.0, None
        for truth in range(len(truth_groups)):
            if truth_groups[truth] != groups[detection] or (matching == "greedy" and truth in taken):
                continue
            if overlaps[detection, truth] > best:
                best, chosen = overlaps[detection, truth], truth
        if chosen is not None and best >= threshold and chosen not in taken:
            taken.add(chosen)
            correct[detection] = True
    return correct


def fast_match(case: Case, matching: str, thresholds: tuple[float, ...] = THRESHOLDS) -> np.ndarray:
    scores, groups, truth_groups, overlaps = case
    one, other = pairs_within(groups, truth_groups)
    some = overlaps[one, other] > 0
    pairs = one[some], other[some], overlaps[one, other][some]
    return match(scores, groups, pairs, len(truth_groups), thresholds, matching)  # type: ignore[arg-type]


@pytest.mark.parametrize("matching", ["argmax", "greedy"])
def test_matching_equals_plain_loops(matching: str) -> None:
    for seed in range(200):
        case = random_case(seed)
        found = fast_match(case, matching)
        for column, threshold in enumerate(THRESHOLDS):
            np.testing.assert_array_equal(found[:, column], loop_match(case, threshold, matching), err_msg=f"{seed}")


def test_a_detection_whose_best_truth_is_taken_finds_another_only_when_greedy() -> None:
    overlaps = np.array([[0.9, 0.6], [0.8, 0.7]])
    case = np.array([0.9, 0.8]), np.zeros(2, int), np.zeros(2, int), overlaps
    assert fast_match(case, "argmax", (0.5,))[:, 0].tolist() == [True, False]
    assert fast_match(case, "greedy", (0.5,))[:, 0].tolist() == [True, True]
    assert fast_match(case, "greedy", (0.75,))[:, 0].tolist() == [True, False]


def test_the_second_detection_of_a_truth_is_wrong_and_of_equal_scores_the_first_is_right() -> None:
    case = np.array([0.5, 0.9, 0.9]), np.zeros(3, int), np.zeros(1, int), np.full((3, 1), 0.6)
    for matching in ("argmax", "greedy"):
        assert fast_match(case, matching, (0.5,))[:, 0].tolist() == [False, True, False]


def test_exactly_the_threshold_is_enough_and_no_pair_is_no_match() -> None:
    case = np.array([0.5, 0.4]), np.array([0, 1]), np.zeros(1, int), np.full((2, 1), 0.5)
    assert fast_match(case, "greedy", (0.5, 0.51)).tolist() == [[True, False], [False, False]]
    nothing = np.zeros(0), np.zeros(0, int), np.zeros(0, int), np.zeros((0, 0))
    assert fast_match(nothing, "greedy").shape == (0, 3)


@pytest.mark.parametrize("thresholds", [(), (0.0,), (0.5, 1.1), (float("nan"),)])
def test_thresholds_that_mean_nothing_are_errors(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        fast_match(random_case(0), "argmax", thresholds)
    with pytest.raises(ValueError, match="choose argmax or greedy"):
        fast_match(random_case(0), "hungarian")


def random_ranked(seed: int, videos: int = 6, detections: int = 40) -> Ranked:
    """Distinct scores: written out, the copies of a detection stay beside each other."""
    random = np.random.default_rng(seed)
    positives = random.integers(0, 6, videos)
    video, correct = random.integers(0, videos, detections), random.random((detections, 2)) < 0.5
    for index in range(videos):  # no more found than there is
        for column in correct.T:
            column[np.flatnonzero(column & (video == index))[positives[index] :]] = False
    return rank(random.permutation(detections) / detections, correct, video, positives)


@pytest.mark.parametrize("rule", ["area", "non_interpolated", "trapezoid"])
def test_a_resample_scores_as_the_videos_written_out(rule) -> None:
    for seed in range(10):
        ranked = random_ranked(seed)
        drawn = np.random.default_rng(seed).integers(0, 6, 6)
        parts = [np.flatnonzero(ranked.videos == video) for video in drawn]
        rows = np.concatenate(parts)
        total = int(ranked.positives[drawn].sum())
        expected = [average_precision(ranked.scores[rows], column[rows], total, rule) for column in ranked.correct.T]
        counts = np.bincount(drawn, minlength=6)
        np.testing.assert_allclose(average_precisions(ranked, rule, counts), expected, atol=1e-12)


def test_each_video_once_is_no_resample_and_other_shapes_are_errors() -> None:
    ranked = random_ranked(0)
    np.testing.assert_array_equal(average_precisions(ranked), average_precisions(ranked, counts=np.ones(6, int)))
    with pytest.raises(ValueError, match="one a video"):
        average_precisions(ranked, counts=np.ones(5, int))


def test_the_mean_leaves_out_classes_with_nothing_to_be_found() -> None:
    empty = Ranked(np.array([0.5]), np.array([[False, False]]), np.zeros(1, int), np.zeros(6, int))
    ranked = random_ranked(1)
    result = mean_average_precision({"a": ranked, "b": empty})
    np.testing.assert_array_equal(result.mean, average_precisions(ranked))
    assert np.isnan(result.per_class["b"]).all()
    assert np.isnan(mean_average_precision({"b": empty}).mean).all()
    with pytest.raises(ValueError, match="at least one class"):
        mean_average_precision({})


def test_a_class_that_is_never_detected_counts_as_zero() -> None:
    missed = Ranked(np.zeros(0), np.zeros((0, 2), bool), np.zeros(0, int), np.ones(6, int))
    found = Ranked(np.ones(1), np.ones((1, 2), bool), np.zeros(1, int), np.eye(6, dtype=int)[0])
    assert mean_average_precision({"a": missed, "b": found}).mean.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("rule", ["area", "non_interpolated", "trapezoid"])
def test_ignored_detections_change_nothing_wherever_they_rank(rule: str) -> None:
    random = np.random.default_rng(0)
    scores, correct, videos = random.random(40), random.random((40, 2)) < 0.4, random.integers(0, 5, 40)
    ignored = (random.random((40, 2)) < 0.3) & ~correct
    ignored[[scores.argmax(), scores.argmin()]] = ~correct[[scores.argmax(), scores.argmin()]]
    positives = np.full(5, 20)
    values = average_precisions(rank(scores, correct, videos, positives, ignored), rule)  # type: ignore[arg-type]
    for level in range(2):
        kept = ~ignored[:, level]
        assert values[level] == pytest.approx(
            average_precision(scores[kept], correct[kept, level], 100, rule)  # type: ignore[arg-type]
        )
