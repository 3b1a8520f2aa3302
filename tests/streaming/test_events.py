from __future__ import annotations

import json
import resource
import shutil
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from whenwhere.errors import WhenwhereError
from whenwhere.streaming import Event, EventDetector, EventLog, EventOptions, ReportedEvent

LABELS = ("jump", "run", "background")
AT_ONCE = EventOptions(start=0.6, end=0.4, shortest=0.0)


def detect(probabilities: np.ndarray, options: EventOptions, step: float = 0.5) -> list[Event]:
    """Events of answers ``probabilities`` `(N, K)`, ``step`` seconds apart, whose attention points to now."""
    detector = EventDetector(options)
    found = [
        detector.update(number * step, number * step, dict(zip(LABELS, row, strict=True)))
        for number, row in enumerate(probabilities.tolist())
    ]
    return [event for event in [*found, detector.close()] if event]


def of_jump(*values: float) -> np.ndarray:
    """The rest is shared by the others."""
    return np.array([[value, (1 - value) / 2, (1 - value) / 2] for value in values])


def test_a_planted_event() -> None:
    (event,) = detect(of_jump(0.2, 0.5, 0.7, 0.5, 0.9, 0.45, 0.35, 0.5), AT_ONCE)
    assert (event.label, event.start, event.end, event.answers) == ("jump", 1.0, 2.5, 4)
    assert event.score == pytest.approx((0.7 + 0.5 + 0.9 + 0.45) / 4)
    assert event.peak == pytest.approx(0.9)


def test_between_the_thresholds_nothing_changes() -> None:
    assert detect(of_jump(0.5, 0.55, 0.45, 0.5), AT_ONCE) == []
    assert len(detect(of_jump(0.7, *[0.41, 0.59] * 20, 0.3), AT_ONCE)) == 1
    assert len(detect(of_jump(*[0.7, 0.41] * 20), EventOptions(0.6, 0.6, 0.0))) == 20  # without hysteresis it flickers


def test_short_ones_are_not_told() -> None:
    options = EventOptions(0.6, 0.4, shortest=1.0)
    assert detect(of_jump(0.7, 0.7, 0.1), options) == []
    assert [event.end - event.start for event in detect(of_jump(0.7, 0.7, 0.7, 0.1), options)] == [1.0]


def test_ignored_labels_end_events_but_are_none() -> None:
    background = [0.1, 0.1, 0.8]
    rows = np.array([background, [0.8, 0.1, 0.1], [0.8, 0.1, 0.1], background, background])
    assert [(e.label, e.start, e.end) for e in detect(rows, AT_ONCE)] == [("jump", 0.5, 1.0)]
    everything = EventOptions(0.6, 0.4, 0.0, ignore=())
    assert [e.label for e in detect(rows, everything)] == ["background", "jump", "background"]


def test_another_label_takes_over_at_once() -> None:
    rows = np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]])
    assert [(e.label, e.start, e.end) for e in detect(rows, AT_ONCE)] == [("jump", 0, 0.5), ("run", 1.0, 1.5)]


def reference(probabilities: np.ndarray, options: EventOptions, step: float) -> list[tuple[str, float, float]]:
    """State after each answer first, then its runs: another way to the same events."""
    states: list[tuple[str, int] | None] = []
    for number, row in enumerate(probabilities):
        now = states[-1] if states else None
        top = LABELS[int(row.argmax())]
        strong = row.max() >= options.start
        holds = now is not None and row[LABELS.index(now[0])] >= options.end and not (strong and top != now[0])
        fresh = (top, number) if strong and top not in options.ignore else None
        states.append(now if holds else fresh)
    runs = {state: [i for i, each in enumerate(states) if each == state] for state in states if state}
    spans = [(label, step * numbers[0], step * numbers[-1]) for (label, _), numbers in runs.items()]
    return [span for span in spans if span[2] - span[1] >= options.shortest]


@pytest.mark.parametrize("seed", range(20))
def test_any_answers_give_the_events_of_the_definition(seed: int) -> None:
    generator = np.random.default_rng(seed)
    walk = np.cumsum(generator.normal(0, 1.0, (200, 3)), 0) * generator.uniform(0.3, 1.5)
    probabilities = np.exp(walk - walk.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    end = float(generator.uniform(0.1, 0.6))
    options = EventOptions(float(generator.uniform(end, 0.9)), end, float(generator.choice([0.0, 1.0, 2.0])))
    events = detect(probabilities, options)
    assert [(e.label, e.start, e.end) for e in events] == reference(probabilities, options, 0.5)
    for event, following in pairwise(events):
        assert event.end <= following.start
    for event in events:
        assert options.end <= event.score <= event.peak <= 1
        assert event.peak >= options.start
        assert event.label not in options.ignore


def test_begin_and_end_are_where_attention_points() -> None:
    """The action is at the window's right edge when it comes, and at its left edge when it goes."""
    detector = EventDetector(EventOptions(shortest=0.5))
    sure = {"jump": 0.9, "run": 0.1}
    for time, moment in [(10.0, 9.8), (10.5, 9.9), (11.0, 10.1), (11.5, 10.0)]:
        assert detector.update(time, moment, sure) is None
        assert detector.confirmed == (time >= 10.5)
    event = detector.update(12.0, 11.0, {"jump": 0.1, "run": 0.4})
    assert event is not None
    assert (event.start, event.end) == (9.8, 10.1)
    assert detector.label is None
    assert not detector.confirmed


@pytest.mark.parametrize("seed", range(20))
def test_events_never_overlap_wherever_attention_points(seed: int) -> None:
    """Attention of the next event's first answer may point to before the last event's end."""
    generator = np.random.default_rng(seed)
    detector = EventDetector(EventOptions(0.6, 0.4, shortest=0.5))
    events = []
    for number in range(400):
        time, sure = number / 2, number // 8 % 2  # every four seconds another label
        probabilities = {LABELS[sure]: 0.9, LABELS[1 - sure]: 0.1}
        events.append(detector.update(time, float(time - generator.uniform(0, 4)), probabilities))
    told = [event for event in [*events, detector.close()] if event]
    assert len(told) == 50
    for event, following in pairwise(told):
        assert event.end <= following.start
    assert all(event.start <= event.end for event in told)


def test_options_that_cannot_be() -> None:
    for wrong in ({"start": 0.3, "end": 0.4}, {"end": 0.0}, {"start": 1.1}):
        with pytest.raises(ValueError, match="needs 0 < end <= start <= 1"):
            EventOptions(**wrong)
    with pytest.raises(ValueError, match="shortest must be at least 0"):
        EventOptions(shortest=-1.0)


def test_lines_are_appended_and_can_be_read_while_it_goes_on(tmp_path: Path) -> None:
    told = ReportedEvent(Event('跳 "high"', 1.0, 2.123456, 0.7, 0.8, 3), "camera", 0.25, 86400.0, Path("c/x.mp4"))
    for count in (1, 2):
        log = EventLog(tmp_path / "events.jsonl")
        log.write(told)
        lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()  # not closed yet
        assert len(lines) == count
    assert json.loads(lines[-1]) == {
        "label": "跳 \"high\"", "start": 1.0, "end": 2.1235, "score": 0.7, "peak": 0.8, "answers": 3,
        "start_utc": "1970-01-01T00:00:00.250Z", "end_utc": "1970-01-02T00:00:00.000Z",
        "source": "camera", "clip": "c/x.mp4",
    }  # fmt: skip
    assert datetime.fromisoformat(json.loads(lines[0])["end_utc"]).timestamp() == 86400.0
    with pytest.raises(WhenwhereError, match="cannot be written"):
        EventLog(tmp_path / "nowhere" / "events.jsonl")


def test_a_log_that_cannot_be_written_any_more_is_an_error(tmp_path: Path) -> None:
    told = ReportedEvent(Event("jump", 1.0, 2.0, 0.7, 0.8, 3), "camera", 0.25, 86400.0)
    folder = tmp_path / "logs"
    folder.mkdir()
    log = EventLog(folder / "events.jsonl")
    log.write(told)
    (folder / "events.jsonl").rename(tmp_path / "kept.jsonl")  # as who rotates logs does
    log.write(told)
    assert len((folder / "events.jsonl").read_text().splitlines()) == 1
    shutil.rmtree(folder)
    with pytest.raises(WhenwhereError, match=r"events\.jsonl: an event cannot be written \(No such file"):
        log.write(told)
    full = EventLog(Path("/dev/full"))
    with pytest.raises(WhenwhereError, match=r"full: an event cannot be written \(No space left"):
        full.write(told)


def test_a_line_for_which_there_is_no_room_leaves_no_half_of_it(tmp_path: Path) -> None:
    told = ReportedEvent(Event("jump", 1.0, 2.0, 0.7, 0.8, 3), "camera", 0.25, 86400.0)
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.write(told)
    whole = path.read_text()
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, allowed[1]))
    try:
        with pytest.raises(WhenwhereError, match="an event cannot be written"):
            log.write(told)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert path.read_text() == whole
    log.write(told)
    assert path.read_text() == 2 * whole
