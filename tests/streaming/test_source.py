from __future__ import annotations

import numpy as np
import pytest

from whenwhere.streaming import Source, SourceError, SourceOptions
from whenwhere.streaming.opening import open_source
from whenwhere.streaming.source import RatePicker, Timeline, backoff


@pytest.mark.parametrize(
    "text, kind, address, name",
    [
        ("0", "camera", "/dev/video0", "/dev/video0"),
        ("/dev/video12", "camera", "/dev/video12", "/dev/video12"),
        ("clips/a.mp4", "file", "clips/a.mp4", "clips/a.mp4"),
        ("rtsp://10.0.0.7:554/s1", "stream", "rtsp://10.0.0.7:554/s1", "rtsp://10.0.0.7:554/s1"),
        ("rtsp://me:p@ss@cam/s?key=1", "stream", "rtsp://me:p@ss@cam/s?key=1", "rtsp://cam/s"),
        ("HTTPS://u:w@cam/x.m3u8", "stream", "HTTPS://u:w@cam/x.m3u8", "https://cam/x.m3u8"),
    ],
)
def test_what_a_user_names(text: str, kind: str, address: str, name: str) -> None:
    assert Source.parse(text) == Source(kind, address, name)  # type: ignore[arg-type]


def test_waits_double_up_to_a_cap_and_chance_takes_off_at_most_half() -> None:
    options = SourceOptions(first_wait=0.5, longest_wait=10.0)
    assert [backoff(attempt, options, 0.0) for attempt in range(1, 8)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert backoff(10**6, options, 0.0) == 10.0
    for attempt in range(1, 40):
        longest = backoff(attempt, options, 0.0)
        for chance in np.linspace(0, 1, 11):
            assert longest / 2 <= backoff(attempt, options, float(chance)) <= longest


def test_time_goes_by_timestamps_and_across_jumps_by_the_clock() -> None:
    line = Timeline()
    assert [line.at(stamp, 100 + stamp) for stamp in (7.0, 7.5, 8.0)] == [0.0, 0.5, 1.0]
    assert line.at(8.1, 200.0) == pytest.approx(1.1)  # however late it comes
    assert line.at(95000.0, 200.5) == pytest.approx(1.6)  # a jump ahead
    assert line.at(95000.2, 201.0) == pytest.approx(1.8)
    assert line.at(3.0, 201.25) == pytest.approx(2.05)  # and back
    assert line.at(None, 201.5) == pytest.approx(2.3)  # none at all
    assert line.at(4.0, 202.0) == pytest.approx(2.8)
    line.restart(0.04)
    assert line.at(0.0, 299.0) == pytest.approx(2.84)  # a loop's seam
    assert line.offset == pytest.approx(2.84)
    line.restart()
    assert line.at(0.0, 305.0) == pytest.approx(8.84)  # a new connection


def test_time_never_stands_still() -> None:
    generator = np.random.default_rng(0)
    line, last = Timeline(), -1.0
    for stamp in generator.choice([0.0, 1.0, 2.0, 1e6, -5.0], 500):
        now = line.at(None if generator.random() < 0.1 else float(stamp), 5.0)
        assert now > last
        last = now


@pytest.mark.parametrize("source", [10.0, 24.0, 25.0, 29.97, 30.0, 60.0])
@pytest.mark.parametrize("rate", [2.0, 8.0, 12.5, 25.0])
def test_frames_are_picked_at_the_rate_asked_for(source: float, rate: float) -> None:
    for begin in (0.0, 0.013):
        picker = RatePicker(rate)
        times = begin + np.arange(int(20 * source)) / source
        picked = np.array([time for time in times if picker.picks(time)])
        assert abs(len(picked) - 20 * min(rate, source)) <= 1 + 0.01 * rate * 20
        assert np.diff(picked).max() <= 1 / min(rate, source) + 1 / source + 1e-9


def test_a_stream_of_the_same_rate_is_picked_whole_despite_jitter() -> None:
    generator = np.random.default_rng(0)
    picker = RatePicker(25.0)
    times = np.arange(2000) / 25 + generator.uniform(-0.004, 0.004, 2000)
    assert sum(picker.picks(time) for time in times) >= 1995


def test_after_a_gap_frames_are_not_made_up_for() -> None:
    picker = RatePicker(2.0)
    times = np.concatenate([np.arange(0, 4, 0.1), np.arange(60, 64, 0.1)])
    picked = [time for time in times if picker.picks(time)]
    assert np.diff(picked).min() >= 0.3


def test_addresses_that_cannot_be_are_an_error_at_once() -> None:
    with (
        pytest.raises(SourceError, match="does not know this kind of address"),
        open_source(Source.parse("nonsense://x/y"), SourceOptions()),
    ):
        pass


def test_options_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="retries must be at least 0"):
        SourceOptions(retries=-1)
    with pytest.raises(ValueError, match="first_wait"):
        SourceOptions(first_wait=2.0, longest_wait=1.0)
    with pytest.raises(ValueError, match="timeout must be positive"):
        SourceOptions(timeout=0.0)
