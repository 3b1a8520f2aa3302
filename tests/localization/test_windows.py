from __future__ import annotations

import numpy as np
import pytest

from whenwhere.localization import WindowResult, find_class_segments, merge_traces, merge_windows, plan_windows
from whenwhere.localization.windows import confidence


def frames_of(windows: np.ndarray, count: int) -> list[np.ndarray]:
    """Centres of equal time slots, as a uniform sampler takes them."""
    return [start + (np.arange(count) + 0.5) * (end - start) / count for start, end in windows]


@pytest.mark.parametrize("duration", [0.5, 3.9, 4.0, 4.1, 10.0, 61.7])
@pytest.mark.parametrize("length", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_windows_cover_every_moment_and_end_with_the_video(duration: float, length: float, overlap: float) -> None:
    windows = plan_windows(duration, length, overlap)
    assert windows[0, 0] == 0
    assert windows[-1, 1] == duration
    np.testing.assert_allclose(windows[:, 1] - windows[:, 0], min(length, duration), rtol=1e-5)
    assert (windows[1:, 0] > windows[:-1, 0]).all()
    shared = windows[:-1, 1] - windows[1:, 0]
    assert (shared >= 0).all()
    np.testing.assert_allclose(shared[:-1], overlap * length, atol=1e-9)
    assert (shared >= overlap * length - 1e-5).all()


def test_windows_by_hand() -> None:
    assert plan_windows(10, 4, 0.5).tolist() == [[0, 4], [2, 6], [4, 8], [6, 10]]
    assert plan_windows(9, 4, 0.5).tolist() == [[0, 4], [2, 6], [4, 8], [5, 9]]
    assert plan_windows(3, 4).tolist() == [[0, 3]]
    assert len(plan_windows(0.3 * 7, 0.3, 0.0)) == 7  # 0.3 * 7 is a little more than 2.1


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((10.0, 0.0, 0.5), "window must be a positive number of seconds, got 0.0"),
        ((10.0, float("nan"), 0.5), "window must be a positive number"),
        ((10.0, 2.0, 1.0), r"overlap must be a share in \[0, 1\), got 1.0"),
        ((10.0, 2.0, -0.1), "overlap must be a share"),
        ((0.0, 2.0, 0.5), "duration must be a positive number of seconds"),
    ],
)
def test_windows_that_cannot_be_are_an_error(arguments: tuple[float, float, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plan_windows(*arguments)


@pytest.mark.parametrize("duration, overlap", [(10.0, 0.5), (10.0, 0.0), (12.0, 0.75)])
def test_windows_of_a_known_trace_give_back_the_trace(duration: float, overlap: float) -> None:
    """Windows whose frames coincide, as they do at these overlaps: exact for any trace, and for maps too."""
    windows = plan_windows(duration, 4, overlap)
    times = frames_of(windows, 8)
    random = np.random.default_rng(0)
    grid = frames_of(np.array([[0, duration]]), round(duration * 2))[0]
    trace, maps = random.random(len(grid)), random.random((len(grid), 3, 2))
    lookup = [np.searchsorted(grid, own - 1e-9) for own in times]
    common, merged = merge_traces(windows, times, [trace[index] for index in lookup])
    np.testing.assert_allclose(common, grid)
    np.testing.assert_allclose(merged, trace)
    np.testing.assert_allclose(merge_traces(windows, times, [maps[index] for index in lookup])[1], maps)


def test_frames_that_do_not_coincide_are_interpolated() -> None:
    """Exact for a straight line between the outermost frames of each window."""
    windows = plan_windows(11.3, 4, 0.37)
    times = frames_of(windows, 5)
    common, merged = merge_traces(windows, times, [3 * own - 1 for own in times])
    assert len(common) == sum(map(len, times))
    inner = (common > times[0][0]) & (common < times[-1][-1])
    off = np.abs(merged - (3 * common - 1))[inner]
    # Beyond a window's outermost frames its trace is constant, where the taper leaves it little weight.
    assert off.max() < 0.1
    assert np.median(off) < 0.01


def test_borders_of_windows_leave_no_step() -> None:
    """Two windows that disagree: the trace goes over from one to the other gradually and starts at each one's own."""
    windows = plan_windows(6, 4, 0.5)
    times = frames_of(windows, 40)
    common, merged = merge_traces(windows, times, [np.zeros(40), np.ones(40)])
    assert merged[common < 2].tolist() == [0] * 20
    assert merged[common > 4].tolist() == [1] * 20
    steps = np.diff(merged)
    assert (steps >= 0).all()
    assert steps.max() < 0.1


def test_traces_that_cannot_be_merged_are_an_error() -> None:
    windows, times = np.array([[0.0, 2.0]]), [np.array([0.5, 1.5])]
    with pytest.raises(ValueError, match=r"window 0.00-2.00 s: expected a finite value for each of 2 frames"):
        merge_traces(windows, times, [np.array([0.1, np.nan])])
    with pytest.raises(ValueError, match="each of 2 frames"):
        merge_traces(windows, times, [np.ones(3)])
    with pytest.raises(ValueError, match="got 1 windows, 2 times"):
        merge_traces(windows, times * 2, [np.ones(2)])
    with pytest.raises(ValueError, match="got 0 windows"):
        merge_traces(np.zeros((0, 2)), [], [])
    apart = np.array([[0.0, 1.0], [2.0, 3.0]])
    with pytest.raises(ValueError, match=r"no window covers 1.50 s"):
        merge_traces(apart, [np.array([0.5, 1.5]), np.array([2.5])], [np.ones(2), np.ones(1)])


def planted(duration: float, length: float, actions: list[tuple[int, float, float]]) -> list[WindowResult]:
    """What a perfect model of 4 classes says about windows of a video with ``actions`` (class, start, end).

    Importance is 1 in the action and 0.1 elsewhere as shares of its window, whatever the window holds; probabilities
    follow the action that fills most of the window and are even without one.
    """
    results = []
    windows = plan_windows(duration, length, 0.5)
    for (start, end), times in zip(windows.tolist(), frames_of(windows, 16), strict=True):
        held = [max(0.0, min(end, b) - max(start, a)) for _, a, b in actions]
        probabilities = np.full(4, 0.25)
        importance = np.ones(16)
        if max(held) > 0:
            kind, a, b = actions[int(np.argmax(held))]
            probabilities = np.where(np.arange(4) == kind, 0.91, 0.03)
            importance = np.where((times >= a) & (times < b), 1.0, 0.1)
        share = importance / importance.sum()
        masks = np.zeros((16, 2, 2))
        masks[:, 0, 0] = importance
        results.append(WindowResult(start, end, times, share, share, masks, probabilities))
    return results


def test_different_classes_of_one_video_have_segments_where_they_are() -> None:
    """Also across windows: the second action fills several, in which importance is flat, the first half a window."""
    merged = merge_windows(planted(60, 4, [(2, 6, 8), (1, 20, 36), (3, 50, 51)]))
    found = find_class_segments(merged.evidence, merged.times, 60, ["a", "b", "c", "d"])
    assert [s.label for s in found] == ["c", "b", "d"]
    for segment, (start, end) in zip(found, [(6, 8), (20, 36), (50, 51)], strict=True):
        assert segment.start == pytest.approx(start, abs=0.26)  # frames are a quarter of a second apart
        assert segment.end == pytest.approx(end, abs=0.26)


def test_what_is_merged_is_what_an_explanation_needs() -> None:
    results = planted(21, 4, [(0, 5, 9)])
    merged = merge_windows(results)
    total = len(merged.times)
    assert (np.diff(merged.times) > 0).all()
    assert merged.evidence.shape == (4, total)
    assert merged.masks.shape == (total, 2, 2)
    for values in (merged.importance, merged.weights, merged.probabilities):
        assert values.sum() == pytest.approx(1)
    np.testing.assert_allclose(merged.importance, merged.evidence.max(0) / merged.evidence.max(0).sum())
    assert 0 <= merged.evidence.min() <= merged.evidence.max() <= 1
    # A sixth of the windows knows; the others say anything is as likely and have no vote.
    assert merged.probabilities[0] == pytest.approx(0.91)
    assert merged.best_probabilities.tolist() == pytest.approx([0.91, 0.25, 0.25, 0.25])


def test_one_window_is_itself() -> None:
    random = np.random.default_rng(0)
    share, weights, probabilities = (values / values.sum() for values in map(random.random, (12, 12, 5)))
    masks = random.random((12, 3, 3))
    one = WindowResult(0, 6, np.arange(12) / 2, share, weights, masks, probabilities)
    merged = merge_windows([one])
    np.testing.assert_allclose(merged.times, one.times)
    np.testing.assert_allclose(merged.importance, share)
    np.testing.assert_allclose(merged.weights, weights)
    np.testing.assert_allclose(merged.masks, masks)
    np.testing.assert_allclose(merged.probabilities, probabilities)
    np.testing.assert_allclose(merged.evidence, probabilities[:, None] * share / share.max())


def test_windows_that_know_nothing_count_alike() -> None:
    np.testing.assert_allclose(confidence(np.full((4, 5), 0.2)), 1 / 4)
    np.testing.assert_allclose(confidence(np.ones((3, 1))), 1 / 3)
    known = confidence(np.array([[0.98, 0.01, 0.01], [0.4, 0.3, 0.3]]))
    assert known[0] > 0.9
    dead = WindowResult(0, 2, np.arange(2.0), np.zeros(2), np.zeros(2), np.zeros((2, 1, 1)), np.array([0.5, 0.5]))
    assert merge_windows([dead]).importance.tolist() == [0.5, 0.5]


def test_a_window_with_nan_is_named() -> None:
    results = planted(10, 4, [(0, 5, 7)])
    results[1] = results[1]._replace(importance=np.full(16, np.nan))
    with pytest.raises(ValueError, match=r"window 2.00-6.00 s"):
        merge_windows(results)
    with pytest.raises(ValueError, match="no windows"):
        merge_windows([])
