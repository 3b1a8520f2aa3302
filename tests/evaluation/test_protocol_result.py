from __future__ import annotations

import numpy as np
import pytest

from whenwhere.evaluation.protocol_result import measured_rate, protocol_result, strangers
from whenwhere.evaluation.temporal_protocols import _frame_scores
from whenwhere.evaluation.truth import SegmentTruth
from whenwhere.metrics.temporal_detection import SegmentTable

RATES, SIZES = np.array([[1.0, 0.5], [0.0, 0.0]]), np.array([1, 3])


def test_a_rate_weighs_videos_by_what_they_hold() -> None:
    measured = measured_rate(RATES, SIZES, {})
    assert measured.mean.tolist() == [1 / 4, 1 / 8]
    assert measured.again(np.array([3, 1])).tolist() == [1 / 2, 1 / 4]
    assert measured.again(np.array([0, 2])).tolist() == [0, 0]


def test_a_result_holds_what_json_can() -> None:
    about = {"n": 4, "unit": "frames", "videos": 2, "predictions": 3, "notes": []}
    measured = measured_rate(RATES, SIZES, {"run": np.array([np.nan, 1.0])})
    result = protocol_result("p", ("iou", (0.1, 0.5)), measured, {"control": measured}, **about, resamples=50)
    assert (result["map"], result["low"], result["high"]) == ([1 / 4, 1 / 8], [0, 0], [1, 1 / 2])
    assert (result["per_class"], result["controls"]) == ({"run": [None, 1]}, {"control": [1 / 4, 1 / 8]})
    without = protocol_result("p", ("iou", (0.1, 0.5)), measured, {}, **about, resamples=0)
    assert (without["low"], without["high"], without["resamples"]) == ([None] * 2, [None] * 2, 0)


def test_strangers_are_named_once_and_counted_each() -> None:
    assert strangers("videos", ["z", "a", "z"], ["a"], "are wrong") == [
        "2 predictions are of videos that the truth does not have and are wrong: z"
    ]
    assert strangers("videos", [], ["a"], "are wrong") == []


def segments(seed: int, copies: dict[str, int]) -> SegmentTable:
    """Six segments of 3 s in each video, the same in each of its copies; scores are shared by some."""
    random, rows = np.random.default_rng(seed), []
    for video, times in copies.items():
        starts = random.uniform(0, 17, 6).tolist()
        for copy in range(times):
            rows += [(f"{video}{copy}", "run" if i % 2 else "walk", start, start + 3) for i, start in enumerate(starts)]
    return SegmentTable.from_rows(rows, [round(start) for *_, start, _ in rows])


def test_frames_of_a_resample_are_those_of_videos_written_out() -> None:
    values = []
    for copies, counts in (({"a": 1, "b": 1, "c": 1}, [2, 0, 1]), ({"a": 2, "b": 0, "c": 1}, [1, 1, 1])):
        names = tuple(f"{video}{copy}" for video, times in copies.items() for copy in range(times))
        truth = SegmentTruth(segments(0, copies), names, dict.fromkeys(names, 20.0))
        values.append(_frame_scores(segments(1, copies), truth).again(np.array(counts))[0])
    assert values[0] == pytest.approx(values[1])
    assert 0 < values[0] < 1
