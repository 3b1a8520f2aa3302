from __future__ import annotations

import numpy as np
import pytest

from whenwhere.geometry import temporal_iou
from whenwhere.localization import LocalizationOptions, soft_nms, suppress_segments
from whenwhere.localization.options import Suppression
from whenwhere.structures import Segment


def overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return shared / (a[1] - a[0] + b[1] - b[0] - shared)


def by_plain_loops(
    segments: list[tuple[float, float]], scores: list[float], kind: Suppression, sigma: float, threshold: float
) -> list[tuple[int, float]]:
    left, found = dict(enumerate(scores)), []
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        found.append((best, left.pop(best)))
        for i in list(left):
            iou = overlap(segments[best], segments[i])
            if kind == "gaussian":
                left[i] *= float(np.exp(-(iou**2) / sigma))
            elif iou > threshold:
                left[i] *= 1 - iou if kind == "linear" else 0
            if left[i] == 0:
                del left[i]
    return found


def random_case(seed: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    start = random.uniform(0, 10, count)
    return np.column_stack([start, start + random.uniform(0.5, 4, count)]), random.uniform(0.1, 1, count)


@pytest.mark.parametrize("kind", ["gaussian", "linear", "hard"])
@pytest.mark.parametrize("seed", range(10))
def test_agrees_with_plain_loops(kind: Suppression, seed: int) -> None:
    segments, scores = random_case(seed)
    order, lowered = soft_nms(segments, scores, kind, sigma=0.3, threshold=0.4)
    expected = by_plain_loops([tuple(s) for s in segments.tolist()], scores.tolist(), kind, 0.3, 0.4)
    assert order.tolist() == [index for index, _ in expected]
    np.testing.assert_allclose(lowered, [score for _, score in expected])


@pytest.mark.parametrize("seed", range(5))
def test_limits_of_the_gaussian(seed: int) -> None:
    segments, scores = random_case(seed)
    sharp, hard = soft_nms(segments, scores, sigma=1e-12), soft_nms(segments, scores, "hard", threshold=0.0)
    np.testing.assert_array_equal(sharp[0], hard[0])
    np.testing.assert_array_equal(sharp[1], hard[1])
    wide, none = soft_nms(segments, scores, sigma=1e12), soft_nms(segments, scores, "none")
    np.testing.assert_array_equal(wide[0], none[0])
    np.testing.assert_allclose(wide[1], none[1])


def test_hard_keeps_segments_apart_and_drops_only_what_overlaps_a_better_one() -> None:
    segments, scores = random_case(0, 200)
    order, kept = soft_nms(segments, scores, "hard", threshold=0.3)
    iou = temporal_iou(segments[order][:, None], segments[order])
    assert (iou[~np.eye(len(order), dtype=bool)] <= 0.3).all()
    np.testing.assert_array_equal(kept, scores[order])
    dropped = np.setdiff1d(np.arange(200), order)
    better = scores[order][None] >= scores[dropped][:, None]
    assert ((temporal_iou(segments[dropped][:, None], segments[order]) > 0.3) & better).any(1).all()


@pytest.mark.parametrize("kind", ["gaussian", "linear"])
def test_soft_never_raises_a_score_and_keeps_all_but_copies(kind: Suppression) -> None:
    segments, scores = random_case(1)
    order, lowered = soft_nms(segments, scores, kind)
    assert sorted(order.tolist()) == list(range(len(scores)))
    assert (lowered <= scores[order]).all()
    assert (lowered < scores[order]).any()
    copy = soft_nms(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([0.5, 0.9]), "linear")
    assert copy[0].tolist() == [1]


@pytest.mark.parametrize("kind", ["gaussian", "linear", "hard", "none"])
def test_the_floor_leaves_out_what_ends_up_below_it_and_nothing_else(kind: Suppression) -> None:
    segments, scores = random_case(2)
    every, above = soft_nms(segments, scores, kind), soft_nms(segments, scores, kind, floor=0.3)
    np.testing.assert_array_equal(above[0], every[0][every[1] >= 0.3])
    np.testing.assert_array_equal(above[1], every[1][every[1] >= 0.3])
    assert 0 < len(above[0]) < len(scores)


@pytest.mark.parametrize("kind", ["gaussian", "linear", "hard", "none"])
def test_nothing_gives_nothing(kind: Suppression) -> None:
    order, scores = soft_nms(np.zeros((0, 2)), np.zeros(0), kind)
    assert len(order) == len(scores) == 0


def test_what_cannot_be_is_an_error() -> None:
    one = np.array([[0.0, 1.0]])
    with pytest.raises(ValueError, match="choose gaussian, linear, hard, none"):
        soft_nms(one, np.ones(1), "cubic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="each of 1 segments"):
        soft_nms(one, np.ones(2))
    for scores in ([-0.1], [np.nan]):
        with pytest.raises(ValueError, match="at least 0"):
            soft_nms(one, np.array(scores))


def test_segments_of_windows_are_merged_class_by_class() -> None:
    """The same action seen in two windows, once cut off by a border; another class at the same time stays."""
    seen = [Segment(2, 6, "a", 0.9), Segment(2, 5, "a", 0.8), Segment(2, 6, "b", 0.5), Segment(8, 9, "a", 0.02)]
    hard = suppress_segments(seen, LocalizationOptions(nms="hard"))
    assert [(s.start, s.end, s.label, s.score) for s in hard] == [(2, 6, "a", 0.9), (2, 6, "b", 0.5)]
    soft = suppress_segments(seen, LocalizationOptions(nms="gaussian", score_floor=0))
    assert [(s.start, s.end, s.label) for s in soft] == [(2, 5, "a"), (2, 6, "a"), (2, 6, "b"), (8, 9, "a")]
    assert soft[0].score == pytest.approx(0.8 * np.exp(-(0.75**2) / 0.5))
    assert suppress_segments([]) == ()
