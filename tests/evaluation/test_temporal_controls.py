from __future__ import annotations

import numpy as np
import pytest

from whenwhere.evaluation.temporal_controls import (
    ALL_FRAMES,
    EVEN_PIECES,
    even_pieces,
    random_half,
    temporal_controls,
)
from whenwhere.evaluation.truth import SegmentTruth
from whenwhere.metrics.temporal_detection import AMBIGUOUS, SegmentTable


def truth() -> SegmentTruth:
    rows = [("a", "run", 0, 2), ("a", "run", 5, 9), ("a", "walk", 3, 4), ("b", "run", 0, 3), ("c", AMBIGUOUS, 0, 90)]
    return SegmentTruth(SegmentTable.from_rows(rows), ("a", "b", "c", "d"), {"a": 10.0, "b": 4.0})


def test_controls_answer_once_for_every_class_a_video_has() -> None:
    controls = temporal_controls(truth())
    whole = controls[ALL_FRAMES]
    answers = {(v, c): s for v, c, s in zip(whole.videos.tolist(), whole.labels.tolist(), whole.segments.tolist())}
    assert answers == {("a", "run"): [0, 10], ("a", "walk"): [0, 10], ("b", "run"): [0, 4]}
    pieces = controls[EVEN_PIECES]
    assert pieces.segments[pieces.videos == "b"].tolist() == [[0, 2.5], [2.5, 4]]  # 2.5 s is the median length


def test_controls_do_not_see_when_the_action_is() -> None:
    here = truth()
    moved = SegmentTable(here.segments.videos, here.segments.labels, here.segments.segments + 1)
    for name, table in temporal_controls(here).items():
        other = temporal_controls(SegmentTruth(moved, here.videos, here.durations))[name]
        np.testing.assert_array_equal(table.segments, other.segments)
        np.testing.assert_array_equal(table.scores, other.scores)


def test_a_random_half_is_half_and_apart() -> None:
    segments = random_half(10_000.5, np.random.default_rng(0))
    assert np.diff(segments, axis=1).sum() == pytest.approx(5000, abs=200)  # four standard deviations
    assert (segments[1:, 0] > segments[:-1, 1]).all()
    assert segments.max() <= 10_000.5


def test_even_pieces_cover_the_video_once() -> None:
    pieces = even_pieces(10.0, 3.0)
    assert pieces.tolist() == [[0, 3], [3, 6], [6, 9], [9, 10]]
    assert even_pieces(2.0, 3.0).tolist() == [[0, 2]]


def test_without_durations_there_are_no_controls() -> None:
    with pytest.raises(ValueError, match="duration of b is not known"):
        temporal_controls(SegmentTruth(truth().segments, truth().videos, {"a": 10.0}))
