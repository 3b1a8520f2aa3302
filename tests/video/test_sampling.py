from __future__ import annotations

import numpy as np
import pytest
import torch

from whenwhere.video import (
    Between,
    FixedRate,
    RandomSegment,
    Strided,
    Uniform,
    Window,
    clip_sampler,
    frames_at,
    make_sampler,
)
from whenwhere.video.sampling import windows_around

Sampler = Uniform | RandomSegment | Strided | FixedRate | Window


def constant_rate(count: int, fps: float = 30) -> tuple[np.ndarray, float]:
    return np.arange(count) / fps, count / fps


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_frame_on_display() -> None:
    timestamps = np.array([0, 1, 1.5, 4])
    times = np.array([-1, 0, 0.9, 1, 1.4, 1.5, 3.99, 4, 100])
    np.testing.assert_array_equal(frames_at(timestamps, times), [0, 0, 0, 1, 1, 2, 2, 3, 3])
    # Against the definition, frame by frame.
    rng = np.random.default_rng(0)
    timestamps = np.cumsum(rng.uniform(0.01, 1, 50)) - 0.01
    times = rng.uniform(0, timestamps[-1], 200)
    expected = [max(i for i, start in enumerate(timestamps) if start <= max(t, timestamps[0])) for t in times]
    np.testing.assert_array_equal(frames_at(timestamps, times), expected)


@pytest.mark.parametrize("fps", [24, 30, 30000 / 1001, 60, 120])
def test_millisecond_rounding_does_not_shift_frames(fps: float) -> None:
    exact = np.arange(500) / fps
    np.testing.assert_array_equal(frames_at(np.round(exact, 3), exact), np.arange(500))


@pytest.mark.parametrize(
    "sampler",
    [
        Uniform(7),
        RandomSegment(7),
        Strided(7, 3),
        FixedRate(5),
        FixedRate(9, max_frames=7),
        Window(7, 9),
        Uniform(1),
        Strided(1, 9),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 31, 300])
@pytest.mark.parametrize("random", [False, True])
def test_every_sampler_gives_existing_frames_in_order(sampler: Sampler, count: int, random: bool) -> None:
    timestamps = np.concatenate([[0], np.cumsum(np.random.default_rng(count).uniform(0.01, 0.2, count - 1))])
    indices = sampler(timestamps, float(timestamps[-1] + 0.05), seeded() if random else None)
    assert np.issubdtype(indices.dtype, np.integer)
    assert indices.min() >= 0
    assert indices.max() < count
    assert (np.diff(indices) >= 0).all()
    if not isinstance(sampler, FixedRate):
        assert indices.shape == (sampler.frames,)


def test_uniform_takes_slot_centres() -> None:
    np.testing.assert_array_equal(Uniform(4)(*constant_rate(40)), [5, 15, 25, 35])
    np.testing.assert_array_equal(Uniform(40)(*constant_rate(40)), np.arange(40))
    np.testing.assert_array_equal(Uniform(6)(*constant_rate(3)), [0, 0, 1, 1, 2, 2])


def test_uniform_goes_by_time_not_by_count() -> None:
    """90 frames in the first second and 10 in the next nine: nine of ten samples belong to the slow part."""
    timestamps = np.concatenate([np.arange(90) / 90, 1 + np.arange(10) * 0.9])
    indices = Uniform(10)(timestamps, 10.0)
    assert (indices >= 90).sum() == 9
    np.testing.assert_array_equal(timestamps[indices][1:], 1 + 0.9 * np.array([0, 1, 2, 3, 5, 6, 7, 8, 9]))


def test_random_segment_draws_in_every_slot_and_reaches_all_frames() -> None:
    timestamps, duration = constant_rate(40)
    drawn = np.stack([RandomSegment(4)(timestamps, duration, seeded(seed)) for seed in range(300)])
    assert (drawn // 10 == np.arange(4)).all()
    assert len(np.unique(drawn)) == 40
    np.testing.assert_array_equal(RandomSegment(4)(timestamps, duration), Uniform(4)(timestamps, duration))


def test_randomness_comes_from_the_generator_alone() -> None:
    timestamps, duration = constant_rate(300)
    for sampler in (RandomSegment(8), Strided(8, 2)):
        torch.manual_seed(1)
        first = sampler(timestamps, duration, seeded(5))
        torch.manual_seed(2)
        np.testing.assert_array_equal(sampler(timestamps, duration, seeded(5)), first)
        assert not np.array_equal(sampler(timestamps, duration, seeded(6)), first)


def test_strided() -> None:
    np.testing.assert_array_equal(Strided(4, 5)(*constant_rate(20)), [2, 7, 12, 17])
    starts = {int(Strided(4, 5)(*constant_rate(20), seeded(seed))[0]) for seed in range(100)}
    assert starts == {0, 1, 2, 3, 4}
    assert set(np.diff(Strided(4, 5)(*constant_rate(20), seeded(3)))) == {5}
    np.testing.assert_array_equal(Strided(4, 5)(*constant_rate(10)), [0, 3, 6, 9])  # too short: the stride shrinks
    np.testing.assert_array_equal(Strided(6, 5)(*constant_rate(3)), [0, 0, 1, 1, 2, 2])  # fewer frames than asked


def test_fixed_rate() -> None:
    np.testing.assert_array_equal(FixedRate(10)(*constant_rate(30)), np.arange(10) * 3)
    np.testing.assert_array_equal(FixedRate(30)(*constant_rate(30)), np.arange(30))
    np.testing.assert_array_equal(FixedRate(60)(*constant_rate(3)), [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(FixedRate(0.1)(*constant_rate(30)), [0])
    np.testing.assert_array_equal(FixedRate(10, max_frames=2)(*constant_rate(40)), [10, 30])
    timestamps = np.array([0, 0.1, 0.2, 2.0])
    np.testing.assert_array_equal(FixedRate(2)(timestamps, 3.0), [0, 2, 2, 2, 3, 3])


def test_make_sampler() -> None:
    assert make_sampler("uniform", 8) == Uniform(8)
    assert make_sampler("strided", 8, stride=4) == Strided(8, 4)
    assert make_sampler("random_segment", 8) == RandomSegment(8)
    assert make_sampler("fixed_rate", 8, fps=2) == FixedRate(2, max_frames=8)
    assert make_sampler("window", 8, fps=2) == Window(8, 2)
    with pytest.raises(ValueError, match=r"'unifrom'.*uniform, random_segment, strided, fixed_rate or window"):
        make_sampler("unifrom", 8)


def test_impossible_options() -> None:
    for bad in (
        lambda: Uniform(0),
        lambda: Strided(4, 0),
        lambda: RandomSegment(-1),
        lambda: FixedRate(0),
        lambda: Window(4, 0),
    ):
        with pytest.raises(ValueError, match="must be"):
            bad()


def test_window_keeps_its_rate_and_stays_within_the_video() -> None:
    timestamps, duration = constant_rate(300)  # 10 s
    middle = Window(5, fps=10)(timestamps, duration)
    assert middle.tolist() == [142, 145, 148, 151, 154]  # from 4.75 s on, every third frame
    assert Window(5, 10, place=0)(timestamps, duration).tolist() == [0, 3, 6, 9, 12]
    assert Window(5, 10, place=1)(timestamps, duration)[-1] + 3 <= 300
    starts = {int(Window(5, 10)(timestamps, duration, seeded(seed))[0]) for seed in range(200)}
    assert min(starts) < 20
    assert 260 < max(starts) <= 285


def test_window_on_a_short_video_repeats_its_last_frame() -> None:
    timestamps, duration = constant_rate(9)  # 0.3 s
    assert Window(5, fps=10)(timestamps, duration, seeded()).tolist() == [0, 3, 6, 8, 8]


def test_clip_sampler_goes_by_rate_where_there_is_one() -> None:
    assert clip_sampler(4) == Uniform(4)
    assert clip_sampler(4, None, 0.25) == Uniform(4, 0.25)
    assert clip_sampler(4, 5.0, 0.25) == Window(4, 5.0, 0.25)


@pytest.mark.parametrize("sampler", [Uniform(6), RandomSegment(6), Strided(6, 2), FixedRate(5)])
def test_a_stretch_is_sampled_as_if_it_were_the_video(sampler: Sampler) -> None:
    timestamps, duration = constant_rate(300)
    part = Between(sampler, 2.0, 5.0)(timestamps, duration, seeded())
    alone = sampler(*constant_rate(90), seeded())
    np.testing.assert_array_equal(part, 60 + alone)


@pytest.mark.parametrize("sampler", [Uniform(6), RandomSegment(6), Strided(6, 2), FixedRate(5)])
def test_a_stretch_may_reach_beyond_the_end_or_lie_within_one_frame(sampler: Sampler) -> None:
    timestamps = np.array([0.0, 1.0, 4.0])
    assert set(Between(sampler, 1.5, 3.5)(timestamps, 5.0)) == {1}
    np.testing.assert_array_equal(
        Between(sampler, 0.9, 99.0)(timestamps, 5.0), Between(sampler, 0.9, 5.0)(timestamps, 5.0)
    )
    whole = Between(sampler, 0.0, 5.0)(timestamps, 5.0)
    np.testing.assert_array_equal(whole, sampler(timestamps, 5.0, None))


def test_a_stretch_that_cannot_be_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs 0 <= start < end"):
        Between(Uniform(4), 3.0, 3.0)
    with pytest.raises(ValueError, match=r"lies behind the end of the video at 10.00 s"):
        Between(Uniform(4), 10.0, 12.0)(*constant_rate(300))


def test_windows_lie_about_their_frames_and_within_the_video() -> None:
    assert windows_around(np.array([0, 3, 6]), 7, 5).tolist() == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [2, 3, 4, 5, 6]]
    assert windows_around(np.array([1]), 3, 5).tolist() == [[0, 1, 2, 2, 2]]
    assert windows_around(np.array([2]), 3, 1).tolist() == [[2]]
