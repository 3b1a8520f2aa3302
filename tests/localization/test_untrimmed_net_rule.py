"""UntrimmedNet's detection rule against what its released thumos_detection.m does, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whenwhere.localization import (
    LocalizationOptions,
    WindowResult,
    find_class_segments,
    important_frames,
    mask_boxes,
    merge_windows,
    untrimmed_net_segments,
)

RULE = LocalizationOptions(rule="untrimmed_net")


def test_runs_above_half_the_largest_of_each_class_the_video_has() -> None:
    """Between frames class a has 0.4, 0.6, 0.4, 0.2, 0.5, 0.8: above 0.4 are the second and the last two."""
    scores = np.array([[0.2, 0.6, 0.6, 0.2, 0.2, 0.8], [0.8, 0.4, 0.4, 0.8, 0.8, 0.2], [0.0] * 6])
    found = untrimmed_net_segments(scores, np.arange(6.0), 7.0, ["a", "b", "c"], [0.5, 0.1, 0.4])
    assert [(s.label, s.start, s.end) for s in found] == [("a", 1.0, 2.0), ("a", 4.0, 7.0)]
    assert [s.score for s in found] == pytest.approx([0.6 + 0.1, 0.65 + 0.1])  # b has no more than 0.1, c no frame


def test_it_is_a_rule_of_localization_and_drops_what_is_too_short() -> None:
    scores = np.array([[0.2, 0.6, 0.6, 0.2, 0.2, 0.8]])
    times, options = np.arange(6.0), LocalizationOptions(rule="untrimmed_net", min_seconds=2.0)
    found = find_class_segments(scores, times, 7.0, ["a"], RULE, [0.5])
    assert found == untrimmed_net_segments(scores, times, 7.0, ["a"], [0.5])
    assert [(s.start, s.end) for s in find_class_segments(scores, times, 7.0, ["a"], options, [0.5])] == [(4.0, 7.0)]


def test_the_ends_of_the_video() -> None:
    """What is seen in the first frame starts with the video; nothing is left to say of a frame at its very end."""
    (segment,) = untrimmed_net_segments(np.full((1, 4), 0.9), np.arange(4.0) + 0.5, 4.0, ["a"], [0.9])
    assert (segment.start, segment.end) == (0.0, 4.0)
    at_the_end = np.array([[0.0, 0.0, 0.1, 0.9]])
    spans = [(s.start, s.end) for s in untrimmed_net_segments(at_the_end, np.arange(4.0), 3.0, ["a"], [0.9])]
    assert spans == [(2.0, 3.0)]
    assert untrimmed_net_segments(np.array([[0.0, 0.0, 0.0, 0.9]]), np.arange(4.0), 4.5, ["a"], [0.05]) == ()


def test_scores_that_are_not_numbers_are_errors() -> None:
    with pytest.raises(ValueError, match="1 values that are not finite"):
        untrimmed_net_segments(np.array([[0.1, np.nan]]), np.arange(2.0), 2.0, ["a"], [0.5])
    with pytest.raises(ValueError, match="times must increase"):
        untrimmed_net_segments(np.ones((1, 2)), np.zeros(2), 2.0, ["a"], [0.5])


def test_frames_are_those_above_half_the_largest_not_half_the_range() -> None:
    importance = torch.tensor([0.3, 0.22, 0.2, 0.28])
    assert important_frames(importance, RULE).tolist() == [True] * 4
    assert important_frames(importance, LocalizationOptions(rule="paper")).tolist() == [True, False, False, True]
    assert important_frames(torch.tensor([0.5, 0.25, 0.26]), RULE).tolist() == [True, False, True]
    assert important_frames(torch.zeros(3), RULE).tolist() == [True] * 3


def test_boxes_are_those_of_the_rule_peak() -> None:
    masks = torch.rand(3, 5, 5)
    assert torch.equal(mask_boxes(masks, RULE), mask_boxes(masks))


def window(start: float, score: float | None) -> WindowResult:
    times, share = start + np.arange(4.0), np.full(4, 0.25)
    scores = None if score is None else np.column_stack([np.full(4, score), np.full(4, 1 - score)])
    return WindowResult(start, start + 4, times, share, share, np.zeros((4, 1, 1)), np.array([0.5, 0.5]), scores)


def test_scores_of_frames_outlast_the_merging_of_windows() -> None:
    merged = merge_windows([window(0, 0.9), window(4, 0.2)])
    assert merged.scores is not None
    np.testing.assert_allclose(merged.scores, [[0.9] * 4 + [0.2] * 4, [0.1] * 4 + [0.8] * 4])
    assert merge_windows([window(0, 0.9), window(4, None)]).scores is None
