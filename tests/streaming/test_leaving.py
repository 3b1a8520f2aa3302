"""However a watch is left, its threads end, and no clip is left half-written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from watching import FRAMES

from whenwhere.errors import WhenwhereError
from whenwhere.recognizer import Recognizer
from whenwhere.streaming import (
    Answer,
    ClipOptions,
    EventLog,
    EventOptions,
    ReportedEvent,
    SourceOptions,
    Watcher,
    WatchOptions,
    watch,
)
from whenwhere.video import iter_frames

OPTIONS = WatchOptions(
    window=FRAMES / 10,
    rate=1000,
    source=SourceOptions(loop=True),
    events=EventOptions(start=0.01, end=0.01, shortest=0.3),  # the model has no skill
)


class Wrong(Exception):
    """Of a listener's or consumer's own."""


def with_clips(folder: Path) -> WatchOptions:
    return replace(OPTIONS, clips=ClipOptions(folder, before=0.0, after=60.0))


def check_nothing_is_left(folder: Path) -> None:
    for thread in threading.enumerate():
        if thread.name in ("decoding", "reading"):
            thread.join(10)
            assert not thread.is_alive()
    assert not list(folder.glob("*.partial"))
    for clip in folder.glob("*.mp4"):
        assert list(iter_frames(clip))


def consume(watcher: Watcher, do: Callable[[Answer], None]) -> None:
    for answer in watcher:
        do(answer)


def test_what_a_listener_raises_reaches_the_caller(model: Recognizer, clip: Path, tmp_path: Path) -> None:
    """In the middle, where another label ends the event; the listener is not asked again."""
    told: list[ReportedEvent] = []

    def listen(event: ReportedEvent) -> None:
        told.append(event)
        raise Wrong("by the listener")

    options = with_clips(tmp_path)  # of events that count at once: the next is one, too, when the first is told
    watcher = watch(clip, model, replace(options, events=replace(options.events, shortest=0.0)), listen)

    def take_over(answer: Answer) -> None:
        if answer.event and list(tmp_path.glob("*.partial")):
            other = next(name for name in model.classes if name != answer.event)
            model.network.head.register_forward_hook(sure_of(model.classes.index(other)))

    with pytest.raises(Wrong, match="by the listener") as error:
        consume(watcher, take_over)
    assert error.value.__context__ is None
    assert len(told) == 1
    check_nothing_is_left(tmp_path)
    assert list(tmp_path.glob("*.mp4"))


def sure_of(number: int) -> Callable[..., object]:
    def change(module: object, inputs: object, output: object) -> object:
        output.logits[:] = 0  # type: ignore[attr-defined]
        output.logits[:, number] = 20  # type: ignore[attr-defined]
        return output

    return change


def test_a_listener_that_raises_at_the_end_leaves_nothing(model: Recognizer, clip: Path, tmp_path: Path) -> None:
    def listen(event: ReportedEvent) -> None:
        raise Wrong("at the end")

    answers = iter(watch(clip, model, with_clips(tmp_path), listen))
    while not list(tmp_path.glob("*.partial")):
        next(answers)
    with pytest.raises(Wrong, match="at the end"):
        answers.close()  # type: ignore[attr-defined]
    check_nothing_is_left(tmp_path)
    assert list(tmp_path.glob("*.mp4"))


def test_a_consumer_that_raises_leaves_nothing(model: Recognizer, clip: Path, tmp_path: Path) -> None:
    told: list[ReportedEvent] = []

    def leave(answer: Answer) -> None:
        if answer.event and list(tmp_path.glob("*.partial")):
            raise Wrong("by the consumer")

    with pytest.raises(Wrong, match="by the consumer"):
        consume(watch(clip, model, with_clips(tmp_path), told.append), leave)
    check_nothing_is_left(tmp_path)
    assert len(told) == 1  # the open event ended there
    assert told[0].clip is not None
    assert told[0].clip.exists()


def test_an_event_log_that_is_full_ends_the_watch(model: Recognizer, clip: Path, tmp_path: Path) -> None:
    watcher = watch(clip, model, with_clips(tmp_path), EventLog(Path("/dev/full")).write)
    with pytest.raises(WhenwhereError, match="an event cannot be written"):
        consume(watcher, lambda answer: watcher.stop() if answer.event else None)
    check_nothing_is_left(tmp_path)


def test_what_goes_wrong_in_decoding_reaches_the_caller(model: Recognizer, clip: Path, tmp_path: Path) -> None:
    """Whatever it is: a watch that ends without a word looks as if nothing had happened."""

    def log(text: str) -> None:
        raise Wrong("by the log")

    with pytest.raises(Wrong, match="by the log"):
        list(watch("99", model, replace(OPTIONS, source=SourceOptions(retries=3)), log=log))
    check_nothing_is_left(tmp_path)
