from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from whenwhere.localization import (
    LocalizationOptions,
    candidate_segments,
    contrast,
    find_class_segments,
    find_segments,
    important_frames,
)
from whenwhere.structures import Segment

PARTS, PAPER = LocalizationOptions(rule="parts"), LocalizationOptions(rule="paper")
EVERY_RULE = [LocalizationOptions(rule=rule) for rule in ("peak", "parts", "paper", "scripts")]


def spans(segments: tuple[Segment, ...]) -> list[tuple[float, float]]:
    return [(segment.start, segment.end) for segment in segments]


def bumps(seed: int, frames: int = 24) -> np.ndarray:
    """Importance of a few smooth bumps, no two frames alike."""
    noise = np.random.default_rng(seed).random(frames)
    smooth = np.convolve(noise, np.hanning(7), mode="same") ** 3
    return smooth / smooth.sum()


def test_important_frames_are_those_above_half_of_the_range() -> None:
    importance = torch.tensor([0.05, 0.05, 0.2, 0.3, 0.3, 0.1])
    assert important_frames(importance).tolist() == [False, False, True, True, True, False]


def test_important_frames_do_not_depend_on_scale_or_offset_of_a_clear_peak() -> None:
    importance = torch.rand(4, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(important_frames(importance), important_frames(importance * 7))


def test_flat_importance_gives_the_whole_clip_not_a_segment_of_noise() -> None:
    noise = 1 + 0.01 * torch.rand(16, generator=torch.Generator().manual_seed(0))
    assert important_frames(noise / noise.sum()).all()


def test_the_papers_rule_makes_segments_of_noise_and_has_no_guard_but_where_it_is_undefined() -> None:
    noise = 1 + 0.01 * torch.rand(16, generator=torch.Generator().manual_seed(0))
    expected = (noise - noise.min()) / (noise.max() - noise.min()) > 0.5
    assert torch.equal(important_frames(noise, PAPER), expected)
    assert important_frames(torch.full((5,), 0.2), PAPER).all()
    assert important_frames(torch.zeros(5)).all()


def test_published_rules_fix_their_thresholds() -> None:
    importance = torch.tensor([0.0, 0.4, 0.6, 1.0])
    low = LocalizationOptions(rule="paper", time_threshold=0.1)
    assert important_frames(importance, low).tolist() == [False, False, True, True]


def test_segments_end_halfway_between_frames() -> None:
    importance = torch.tensor([0.0, 0.5, 0.5, 0.0, 0.0])
    (segment,) = find_segments(importance, np.array([0.0, 1.0, 2.0, 3.0, 4.0]), 5.0, "jump")
    assert (segment.start, segment.end, segment.label) == (0.5, 2.5, "jump")
    assert segment.score == pytest.approx(1.0)


def test_two_peaks_give_two_segments_that_reach_the_ends() -> None:
    importance = torch.tensor([0.4, 0.0, 0.1, 0.0, 0.5])
    first, second = find_segments(importance, np.arange(5) + 0.5, 5.0, "x")
    assert (first.start, first.end) == (0.0, 1.0)
    assert (second.start, second.end) == (4.0, 5.0)
    assert (first.score, second.score) == (pytest.approx(0.4), pytest.approx(0.5))


@pytest.mark.parametrize("options", EVERY_RULE, ids=lambda options: options.rule)
def test_one_frame_is_the_whole_video(options: LocalizationOptions) -> None:
    (segment,) = find_segments(torch.tensor([1.0]), np.array([0.3]), 2.0, "x", options)
    assert (segment.start, segment.end) == (0.0, 2.0)


@pytest.mark.parametrize("options", EVERY_RULE, ids=lambda options: options.rule)
def test_a_planted_plateau_is_found_exactly(options: LocalizationOptions) -> None:
    importance = torch.zeros(16)
    importance[5:9] = 0.25
    (segment,) = find_segments(importance, (np.arange(16) + 0.5) / 2, 8.0, "x", options)
    assert (segment.start, segment.end, segment.score) == (2.5, 4.5, 1.0)


@pytest.mark.parametrize("options", EVERY_RULE, ids=lambda options: options.rule)
def test_scale_does_not_count(options: LocalizationOptions) -> None:
    times = np.arange(24) + 0.5
    once, thrice = (find_segments(k * bumps(0), times, 24.0, "x", options) for k in (1, 3))
    assert spans(once) == spans(thrice)
    assert [s.score for s in once] == pytest.approx([s.score for s in thrice])


@pytest.mark.parametrize("options", EVERY_RULE, ids=lambda options: options.rule)
@pytest.mark.parametrize("seed", range(5))
def test_reversed_time_gives_reversed_segments(options: LocalizationOptions, seed: int) -> None:
    times, importance = np.cumsum(np.random.default_rng(seed).uniform(0.1, 1, 24)), bumps(seed)
    duration = times[-1] + 0.2
    forward = find_segments(importance, times, duration, "x", options)
    backward = find_segments(importance[::-1], duration - times[::-1], duration, "x", options)
    mirrored = sorted((duration - s.end, duration - s.start, s.score) for s in backward)
    np.testing.assert_allclose(mirrored, sorted((s.start, s.end, s.score) for s in forward), atol=1e-9)


def test_contrast_by_hand() -> None:
    # One frame a second; the segment [2, 6) has a surround of one second on either side.
    signal = np.array([0.0, 0.2, 0.8, 1.0, 1.0, 0.8, 0.4, 0.0])
    inside, outside = (0.8 + 1 + 1 + 0.8) / 4, (0.2 + 0.4) / 2
    found = contrast(signal, np.arange(9.0), np.array([[2.0, 6.0]]), inflation=0.25)
    assert found == pytest.approx([inside - outside])
    # At the clip's end there is a surround on one side only; half a second of it is half a frame.
    assert contrast(signal, np.arange(9.0), np.array([[6.0, 8.0]]), 0.25) == pytest.approx([0.2 - 0.8])
    # The whole clip has none and is compared with its least frame.
    assert contrast(signal, np.arange(9.0), np.array([[0.0, 8.0]]), 0.25) == pytest.approx([signal.mean()])


def test_candidates_are_the_runs_above_every_threshold_each_once() -> None:
    signal = np.array([0.0, 0.4, 1.0, 0.4, 0.0, 0.75, 0.0])
    found, scores = candidate_segments(signal, np.arange(7) + 0.5, 7.0)
    # 0.1-0.3: the first bump's whole width and the second bump; 0.4-0.7: its peak alone; 0.8-0.9: the peak only.
    assert found.tolist() == [[1, 4], [2, 3], [5, 6]]
    assert scores == pytest.approx([(0.4 + 1 + 0.4) / 3, 1 - 0.4, 0.75])


def test_flat_importance_gives_the_whole_clip_a_low_score() -> None:
    noise = 1 + 0.05 * np.random.default_rng(0).random(16)
    (segment,) = find_segments(noise, np.arange(16), 16.0, "x", PARTS)
    assert (segment.start, segment.end) == (0, 16)
    assert 0 < segment.score < 0.05
    (constant,) = find_segments(np.full(4, 0.25), np.arange(4), 4.0, "x", PARTS)
    assert constant.score == 0


def test_a_clear_segment_scores_above_a_faint_one_and_in_proportion_to_the_probability() -> None:
    times, clear, faint = np.arange(16) + 0.5, np.full(16, 0.01), np.full(16, 0.5)
    clear[4:8], faint[4:8] = 1.0, 1.0
    a, b, c = (find_segments(s, times, 16.0, "x", PARTS, p)[0] for s, p in ((clear, 1), (faint, 1), (clear, 0.3)))
    assert spans((a,)) == spans((b,)) == spans((c,)) == [(4, 8)]
    assert a.score == pytest.approx(0.99)
    assert b.score == pytest.approx(0.5)
    assert c.score == pytest.approx(0.3 * 0.99)


def test_classes_have_segments_of_their_own_where_their_evidence_is() -> None:
    evidence = np.full((3, 12), 0.05)
    evidence[0, 1:4], evidence[1, 7:11] = 0.9, 0.8
    times = np.arange(12) + 0.5
    names = ["run", "jump", "swim"]
    found = find_class_segments(evidence, times, 12.0, names)
    assert [(s.start, s.end, s.label) for s in found] == [(1, 4, "run"), (7, 11, "jump")]
    total = 3 * 0.9 + 4 * 0.8 + 5 * 0.05
    assert [s.score for s in found] == pytest.approx([2.7 / total, 3.2 / total])
    parts = find_class_segments(evidence, times, 12.0, names, PARTS, [0.9, 0.8, 0.05])
    assert [(s.start, s.end, s.label) for s in parts if s.score > 0.1] == [(1, 4, "run"), (7, 11, "jump")]
    assert [s.label for s in parts if s.score <= 0.1] in ([], ["swim"])


def test_neighbouring_classes_are_two_segments() -> None:
    evidence = np.array([[0.9, 0.9, 0.1, 0.1], [0.1, 0.1, 0.9, 0.9]])
    found = find_class_segments(evidence, np.arange(4) + 0.5, 4.0, ["a", "b"])
    assert [(s.start, s.end, s.label) for s in found] == [(0, 2, "a"), (2, 4, "b")]


def test_evidence_may_speak_against_a_class() -> None:
    evidence = np.array([-3.0, -3.0, 2.0, 2.0, -3.0])
    for options in (LocalizationOptions(), PARTS):
        assert spans(find_segments(evidence, np.arange(5) + 0.5, 5.0, "x", options)) == [(2, 4)]


@pytest.mark.parametrize("options", EVERY_RULE, ids=lambda options: options.rule)
def test_short_segments_are_dropped(options: LocalizationOptions) -> None:
    importance = np.array([0, 1, 0, 0, 1, 1, 0])
    found = find_segments(importance, np.arange(7) + 0.5, 7.0, "x", replace(options, min_seconds=1.5))
    assert spans(found) == [(4, 6)]


@pytest.mark.parametrize("options", EVERY_RULE, ids=lambda options: options.rule)
@pytest.mark.parametrize(
    "importance, times, duration, words",
    [
        ([], [], 2.0, "at least one frame"),
        ([0.5, np.nan], [0.0, 1.0], 2.0, "1 values that are not finite"),
        ([0.5, 0.5], [0.0, 0.0], 2.0, r"must increase within \[0, 2.0\] s"),
        ([0.5, 0.5], [0.0, 3.0], 2.0, r"must increase within \[0, 2.0\] s"),
        ([0.5, 0.5], [0.0, np.nan], 2.0, r"must increase within \[0, 2.0\] s"),
        ([0.5, 0.5], [0.0, 1.0], 0.0, "must increase within"),
        ([0.5, 0.5, 0.5], [0.0, 1.0], 2.0, "each of 2 frames"),
    ],
)
def test_what_is_no_trace_is_an_error(
    options: LocalizationOptions, importance: list[float], times: list[float], duration: float, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        find_segments(np.array(importance), np.array(times), duration, "x", options)


def test_evidence_and_labels_must_fit() -> None:
    with pytest.raises(ValueError, match="3 labels and 3 probabilities"):
        find_class_segments(np.ones((2, 4)), np.arange(4), 4.0, ["a", "b", "c"])
    with pytest.raises(ValueError, match="at least one frame"):
        important_frames(torch.zeros(2, 0))
    with pytest.raises(ValueError, match="1 values that are not finite"):
        important_frames(torch.tensor([0.1, float("nan")]))
