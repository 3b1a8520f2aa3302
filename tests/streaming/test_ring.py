from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from whenwhere.streaming.ring import FeatureRing, NewestQueue
from whenwhere.video import Uniform, Window


def filled(ring: FeatureRing, times: list[float]) -> FeatureRing:
    for time_ in times:
        ring.push(time_, torch.full((1, 1, 1), time_))
    return ring


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_newest_items_win_and_the_others_are_counted(size: int) -> None:
    queue: NewestQueue[int] = NewestQueue(size)
    for number in range(9):
        queue.put(number)
    assert queue.take(0) == list(range(9))[-size:]
    assert queue.dropped == 9 - size
    queue.put(9)
    queue.close()
    assert not queue.finished
    assert queue.take(0) == [9]
    assert queue.finished


def test_taking_waits_for_an_item_but_not_for_ever() -> None:
    queue: NewestQueue[int] = NewestQueue()
    start = time.monotonic()
    assert queue.take(0.05) == []
    assert time.monotonic() - start >= 0.04
    threading.Timer(0.05, queue.put, [7]).start()
    assert queue.take(10) == [7]
    threading.Timer(0.05, queue.close).start()
    assert queue.take(10) == []
    assert queue.finished


@pytest.mark.parametrize("sampler", [Uniform(8), Window(8, 4.0)])
def test_a_full_window_is_the_newest_frames_each_once(sampler: Uniform | Window) -> None:
    """Whatever time the stream began at; frames come at the rate that the window asks for."""
    for begin in (0.0, 0.1, 7.3):
        ring = FeatureRing(2.0, 8)
        for number in range(30):
            filled(ring, [begin + number / 4])
            assert ring.full == (number >= 7)
            assert len(ring) <= 10
            if ring.full:
                features, times, start, end = ring.window(sampler)
                expected = begin + np.arange(number - 7, number + 1) / 4
                np.testing.assert_allclose(times, expected)
                np.testing.assert_allclose(features.flatten(), expected, rtol=1e-6)
                assert (start, end) == (pytest.approx(expected[0]), pytest.approx(expected[-1] + 0.25))


def test_where_frames_are_missing_the_one_on_display_stands_in() -> None:
    ring = filled(FeatureRing(2.0, 8), [0, 0.25, 0.5, 1.5, 1.75, 2.0])
    _, times, start, end = ring.window(Uniform(8))
    assert (start, end) == (0.25, 2.25)
    assert times.tolist() == [0.25, 0.5, 0.5, 0.5, 0.5, 1.5, 1.75, 2.0]


def test_a_young_stream_is_looked_at_whole() -> None:
    ring = filled(FeatureRing(2.0, 8), [0, 0.25, 0.5])
    assert not ring.full
    _, times, start, end = ring.window(Uniform(3))
    assert times.tolist() == [0, 0.25, 0.5]
    assert (start, end) == (0, 0.75)


def test_any_rhythm_of_frames_stays_within_the_ring() -> None:
    generator = np.random.default_rng(0)
    ring = FeatureRing(2.0, 8)
    times = np.cumsum(generator.choice([0.01, 0.25, 3.0], 300, p=[0.45, 0.5, 0.05]))
    for newest in times.tolist():
        filled(ring, [newest])
        assert len(ring) <= 10
        features, picked, _, end = ring.window(Uniform(8))
        assert len(features) == 8
        assert picked[-1] <= newest < end
        assert (np.diff(picked) >= 0).all()
    ring.clear()
    assert len(ring) == 0
    assert not ring.full
