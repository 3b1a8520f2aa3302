from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from whenwhere.metrics.ranking import mean_average_precision
from whenwhere.metrics.temporal_detection import (
    AMBIGUOUS,
    SegmentTable,
    activitynet_detection,
    thumos14_detection,
)

LEVELS = [0.1, 0.3, 0.5, 0.7, 0.95]
DETECTION = {"activitynet": (activitynet_detection, "area"), "thumos14": (thumos14_detection, "non_interpolated")}
EMPTY = SegmentTable.from_rows([], [])


def table(*rows: tuple) -> SegmentTable:
    """Rows of video, label, start, end and, for predictions, a score."""
    scores = [row[4] for row in rows] if rows and len(rows[0]) == 5 else None
    return SegmentTable.from_rows([row[:4] for row in rows], scores)


def mean_ap(protocol: str, predicted: SegmentTable, truth: SegmentTable, levels=LEVELS, counts=None) -> np.ndarray:
    match, rule = DETECTION[protocol]
    return mean_average_precision(match(predicted, truth, levels), rule, counts).mean


def random_case(seed: int, ties: bool = False) -> tuple[SegmentTable, SegmentTable]:
    """Predictions around the truths and elsewhere, in four videos and three classes; some truths are ambiguous."""
    random = np.random.default_rng(seed)

    def rows(count: int) -> list[tuple]:
        starts = random.integers(0, 40, count) / 2
        ends = starts + random.integers(0, 12, count) / 2
        videos, labels = random.integers(0, 4, count), random.integers(0, 3, count)
        return [(f"v{v}", f"c{c}", s, e) for v, c, s, e in zip(videos, labels, starts, ends)]

    truth = [row if random.random() > 0.1 else (row[0], AMBIGUOUS, *row[2:]) for row in rows(40)]
    near = [(v, c, s, e + random.integers(0, 3) / 4) for v, c, s, e in truth if c != AMBIGUOUS]
    predicted = [*near, *rows(40)]
    scores = random.integers(0, 9, len(predicted)) / 9 if ties else random.permutation(len(predicted))
    return SegmentTable.from_rows(predicted, scores), SegmentTable.from_rows(truth)


def overlap(a: list[float], b: list[float]) -> float:
    shared = min(a[1], b[1]) - max(a[0], b[0])
    return shared / (max(a[1], b[1]) - min(a[0], b[0])) if shared > 0 else 0.0


def slow_activitynet(predicted: SegmentTable, truth: SegmentTable, level: float) -> float:
    """Plain loops: each detection takes the best truth that is left; then the envelope of precision."""
    values = []
    for label in sorted(set(truth.labels)):
        places = [i for i in range(len(predicted)) if predicted.labels[i] == label]
        taken: set[int] = set()
        hits = []
        for i in sorted(places, key=lambda i: -predicted.scores[i]):
            best, chosen = 0.0, None
            for j in range(len(truth)):
                if truth.labels[j] == label and truth.videos[j] == predicted.videos[i] and j not in taken:
                    iou = overlap(predicted.segments[i], truth.segments[j])
                    if iou >= level and iou > best:
                        best, chosen = iou, j
            hits.append(chosen is not None)
            taken |= {chosen} - {None}
        total = sum(truth.labels == label)
        precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
        values.append(sum(max(precision[n:]) for n, hit in enumerate(hits) if hit) / total)
    return float(np.mean(values))


def slow_thumos14(predicted: SegmentTable, truth: SegmentTable, level: float) -> float:
    """Plain loops: video by video, each truth takes the best detection that is left."""
    values = []
    for label in sorted(set(truth.labels) - {AMBIGUOUS}):
        kept: list[tuple[float, bool]] = []
        for video in sorted(set(predicted.videos) | set(truth.videos)):
            own = [j for j in range(len(truth)) if truth.videos[j] == video]
            here = [i for i in range(len(predicted)) if (predicted.videos[i], predicted.labels[i]) == (video, label)]
            here.sort(key=lambda i: -predicted.scores[i])
            right: set[int] = set()
            for j in (j for j in own if truth.labels[j] == label):
                free = [i for i in here if i not in right]
                if free:
                    ious = [overlap(truth.segments[j], predicted.segments[i]) for i in free]
                    if max(ious) > level:
                        right.add(free[ious.index(max(ious))])
            unclear = [truth.segments[j] for j in own if truth.labels[j] == AMBIGUOUS]
            for i in here:
                if i in right or not any(overlap(predicted.segments[i], segment) for segment in unclear):
                    kept.append((predicted.scores[i], i in right))
        kept.sort(key=lambda entry: -entry[0])
        hits = [hit for _, hit in kept]
        gain = sum(sum(hits[: n + 1]) / (n + 1) for n, hit in enumerate(hits) if hit)
        values.append(gain / sum(truth.labels == label))
    return float(np.mean(values))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_both_protocols_equal_plain_loops(seed: int, ties: bool) -> None:
    predicted, truth = random_case(seed, ties)
    clear = truth.pick(truth.labels != AMBIGUOUS)
    expected = [slow_activitynet(predicted, clear, level) for level in LEVELS]
    np.testing.assert_allclose(mean_ap("activitynet", predicted, clear), expected, atol=1e-12)
    expected = [slow_thumos14(predicted, truth, level) for level in LEVELS]
    np.testing.assert_allclose(mean_ap("thumos14", predicted, truth), expected, atol=1e-12)


@pytest.mark.parametrize("protocol", DETECTION)
def test_thresholds_in_any_order_and_many_at_once_change_nothing(protocol: str) -> None:
    predicted, truth = random_case(3)
    truth = truth.pick(truth.labels != AMBIGUOUS)
    levels = np.linspace(0.01, 1, 70)
    together = mean_ap(protocol, predicted, truth, levels)
    np.testing.assert_array_equal(mean_ap(protocol, predicted, truth, levels[::-1]), together[::-1])
    alone = [mean_ap(protocol, predicted, truth, [level])[0] for level in levels[::7]]
    np.testing.assert_array_equal(together[::7], alone)


@pytest.mark.parametrize("protocol", DETECTION)
def test_the_truth_itself_scores_one_and_an_empty_answer_zero(protocol: str) -> None:
    truth = table(("a", "run", 0, 4), ("a", "run", 6, 9), ("b", "walk", 1, 2))
    perfect = SegmentTable(truth.videos, truth.labels, truth.segments, np.array([0.1, 0.2, 0.3]))
    assert (mean_ap(protocol, perfect, truth) == 1).all()
    assert (mean_ap(protocol, EMPTY, truth) == 0).all()


@pytest.mark.parametrize("protocol", DETECTION)
def test_an_empty_truth_is_an_error(protocol: str) -> None:
    with pytest.raises(ValueError, match="at least one class"):
        mean_ap(protocol, table(("a", "run", 0, 4, 1.0)), table())


@pytest.mark.parametrize("protocol", DETECTION)
def test_one_detection_a_truth_the_others_are_wrong(protocol: str) -> None:
    # Best first: wrong, right, the same again. AP = 1/2, at one of two positions.
    truth = table(("a", "run", 0, 4))
    predicted = table(("a", "run", 0, 4, 0.5), ("a", "run", 10, 14, 0.9), ("a", "run", 0, 4, 0.4))
    assert mean_ap(protocol, predicted, truth, [0.5]).tolist() == [1 / 2]
    match, _ = DETECTION[protocol]
    ranked = match(predicted, truth, [0.5])["run"]
    assert ranked.correct[:, 0].tolist() == [False, True, False]


def test_activitynet_gives_the_truth_to_the_surer_detection_the_kit_to_the_closer() -> None:
    truth = table(("a", "run", 0, 4))
    predicted = table(("a", "run", 0, 3, 0.9), ("a", "run", 0, 4, 0.5))
    assert activitynet_detection(predicted, truth, [0.5])["run"].correct[:, 0].tolist() == [True, False]
    assert thumos14_detection(predicted, truth, [0.5])["run"].correct[:, 0].tolist() == [False, True]


def test_a_detection_whose_best_truth_is_taken_falls_back_to_the_next() -> None:
    truth = table(("a", "run", 0, 4), ("a", "run", 1, 5))
    predicted = table(("a", "run", 0, 4, 0.9), ("a", "run", 0, 4.5, 0.8))
    # The second overlaps the first truth by 8/9, the other by 7/10.
    correct = activitynet_detection(predicted, truth, [0.5, 0.8])["run"].correct
    assert correct.tolist() == [[True, True], [True, False]]


def test_an_overlap_of_exactly_the_threshold_is_enough_for_activitynet_only() -> None:
    truth, predicted = table(("a", "run", 0, 4)), table(("a", "run", 0, 2, 1.0))
    assert mean_ap("activitynet", predicted, truth, [0.5]).tolist() == [1]
    assert mean_ap("thumos14", predicted, truth, [0.5]).tolist() == [0]


def test_touching_an_ambiguous_segment_is_ignored_unless_it_is_right() -> None:
    truth = table(("a", "run", 0, 4), ("a", AMBIGUOUS, 3, 9), ("b", AMBIGUOUS, 0, 9))
    predicted = table(("a", "run", 8, 20, 0.9), ("a", "run", 0, 4, 0.8), ("a", "run", 10, 12, 0.7))
    ranked = thumos14_detection(predicted, truth, [0.5])["run"]
    assert ranked.ignored[:, 0].tolist() == [True, False, False]
    assert mean_ap("thumos14", predicted, truth, [0.5]).tolist() == [1]
    # Without the ambiguous segment the surest detection is wrong.
    assert mean_ap("thumos14", predicted, truth.pick(truth.labels == "run"), [0.5]).tolist() == [1 / 2]
    # What is right at one threshold may be ignored at the next.
    predicted = table(("a", "run", 2, 4, 0.9))
    assert thumos14_detection(predicted, truth, [0.4, 0.6])["run"].ignored.tolist() == [[False, True]]


def test_equal_scores_keep_the_order_given_or_that_of_the_videos() -> None:
    truth = table(("a", "run", 0, 4))
    wrong_first = table(("b", "run", 0, 4, 0.5), ("a", "run", 0, 4, 0.5))
    assert mean_ap("activitynet", wrong_first, truth, [0.5]).tolist() == [1 / 2]
    assert mean_ap("thumos14", wrong_first, truth, [0.5]).tolist() == [1]


@pytest.mark.parametrize("protocol", DETECTION)
def test_segments_of_no_length_neither_find_nor_are_found(protocol: str) -> None:
    truth = table(("a", "run", 1, 1), ("a", "run", 2, 4))
    predicted = table(("a", "run", 1, 1, 0.9), ("a", "run", 2, 4, 0.8))
    # Wrong, right; one of two can be found.
    assert mean_ap(protocol, predicted, truth, [0.5]).tolist() == [1 / 2 * 1 / 2]


@pytest.mark.parametrize("protocol", DETECTION)
def test_unknown_videos_are_wrong_and_unknown_classes_count_nowhere(protocol: str) -> None:
    truth = table(("a", "run", 0, 4))
    right = ("a", "run", 0, 4, 0.5)
    assert mean_ap(protocol, table(right, ("z", "run", 0, 4, 0.9)), truth, [0.5]).tolist() == [1 / 2]
    assert mean_ap(protocol, table(right, ("a", "swim", 0, 4, 0.9)), truth, [0.5]).tolist() == [1]


@pytest.mark.parametrize("protocol", DETECTION)
@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_scikit_learns_where_every_truth_is_found(protocol: str, seed: int) -> None:
    """Non-interpolated by definition; interpolation can only lift it."""
    random = np.random.default_rng(seed)
    truth = table(*[("a", "run", 10 * i, 10 * i + 5) for i in range(20)])
    hits = random.permutation(np.arange(60) < 20)
    starts = np.where(hits, 10 * (np.cumsum(hits) - 1), 1000.0)
    scores = random.permutation(60) / 60
    predicted = SegmentTable.from_rows([("a", "run", s, s + 5) for s in starts], scores)
    value, expected = mean_ap(protocol, predicted, truth, [0.5])[0], average_precision_score(hits, scores)
    assert value >= expected - 1e-12
    if protocol == "thumos14":
        assert value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("protocol", DETECTION)
@pytest.mark.parametrize("seed", range(5))
def test_a_resample_of_videos_equals_scoring_its_videos_written_out(protocol: str, seed: int) -> None:
    predicted, truth = random_case(seed)
    if protocol == "activitynet":
        truth = truth.pick(truth.labels != AMBIGUOUS)
    names = np.array(["v0", "v1", "v2", "v3", "without any"])
    match, rule = DETECTION[protocol]
    counts = np.array([2, 0, 1, 3, 5])
    fast = mean_average_precision(match(predicted, truth, LEVELS, names), rule, counts).mean

    def written_out(segments: SegmentTable) -> SegmentTable:
        places = np.searchsorted(names, segments.videos)
        rows = np.concatenate([np.flatnonzero(counts[places] > copy) for copy in range(counts.max())])
        copies = np.concatenate([np.full((counts[places] > copy).sum(), copy) for copy in range(counts.max())])
        picked = segments.pick(rows)
        videos = np.array([f"{video}, copy {copy}" for video, copy in zip(picked.videos, copies)])
        return SegmentTable(videos, picked.labels, picked.segments, picked.scores)

    slow = mean_average_precision(match(written_out(predicted), written_out(truth), LEVELS), rule).mean
    np.testing.assert_allclose(fast, slow, atol=1e-12)
    once = mean_average_precision(match(predicted, truth, LEVELS, names), rule, np.ones(5, dtype=int)).mean
    np.testing.assert_array_equal(once, mean_ap(protocol, predicted, truth))


@pytest.mark.parametrize("protocol", DETECTION)
def test_a_test_set_of_thumos14s_size_is_scored_in_seconds(protocol: str) -> None:
    """3,358 truths of 20 classes in 213 videos, ten predictions each, ten thresholds: at most 5 s, takes 0.5."""
    random = np.random.default_rng(0)
    starts, lengths = random.random(3358) * 200, 1 + random.random(3358) * 5
    videos, labels = random.integers(0, 213, 3358), random.integers(0, 20, 3358)
    bounds = np.stack([starts, starts + lengths], axis=1)
    rows = np.repeat(np.arange(3358), 10)
    shifted = bounds[rows] + random.normal(0, 1, (len(rows), 1))
    predicted = SegmentTable(videos[rows], labels[rows], shifted, random.random(len(rows)))
    began = time.perf_counter()
    values = mean_ap(protocol, predicted, SegmentTable(videos, labels, bounds), np.linspace(0.1, 1, 10))
    assert time.perf_counter() - began < 5
    assert (np.diff(values) <= 0).all()
    assert values[0] > 0.05


def test_names_may_be_numbers() -> None:
    named = random_case(0)
    numbered = [
        SegmentTable(*(np.array([int(x[-1]) for x in column]) for column in (t.videos, t.labels)), t.segments, t.scores)
        for t in (t.pick(t.labels != AMBIGUOUS) for t in named)
    ]
    clear = named[1].pick(named[1].labels != AMBIGUOUS)
    np.testing.assert_array_equal(mean_ap("activitynet", *numbered), mean_ap("activitynet", named[0], clear))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"segments": np.array([[0, np.nan]])}, "segment 0 of 1 is not finite"),
        ({"segments": np.array([[4, 0]])}, "ends before it starts"),
        ({"scores": np.array([np.nan])}, "1 of 1 scores are not finite"),
        ({"scores": np.array([0.1, 0.2])}, r"scores must be \(1,\)"),
        ({"labels": np.array(["run", "walk"])}, r"labels must be \(1,\)"),
    ],
)
def test_tables_refuse_what_cannot_be(change: dict, words: str) -> None:
    columns = {
        "videos": np.array(["a"]),
        "labels": np.array(["run"]),
        "segments": np.array([[0, 4]]),
        "scores": np.ones(1),
    }
    with pytest.raises(ValueError, match=words):
        SegmentTable(**{**columns, **change})


@pytest.mark.parametrize("protocol", DETECTION)
def test_detection_needs_scores_thresholds_and_known_videos(protocol: str) -> None:
    match, _ = DETECTION[protocol]
    truth, predicted = table(("a", "run", 0, 4)), table(("a", "run", 0, 4, 1.0))
    with pytest.raises(ValueError, match="need scores"):
        match(truth, truth, [0.5])
    for levels in ([], [0.0], [1.1], [np.nan]):
        with pytest.raises(ValueError, match=r"in \(0, 1\]"):
            match(predicted, truth, levels)
    with pytest.raises(ValueError, match="1 videos with segments are not among the 1 given: a"):
        match(predicted, truth, [0.5], ["b"])
