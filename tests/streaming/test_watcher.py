from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from watching import FRAMES, check_consecutive, frame_number, write_numbered

from whenwhere.errors import WhenwhereError
from whenwhere.recognizer import Recognizer, merge_repeats
from whenwhere.streaming import (
    Answer,
    ClipOptions,
    EventOptions,
    ReportedEvent,
    SourceError,
    SourceOptions,
    WatchOptions,
    watch,
)
from whenwhere.streaming.watcher import moment
from whenwhere.video import VideoError, iter_frames, read_frames

EVERY_FRAME = WatchOptions(window=FRAMES / 10, rate=1000)  # of a clip of ten frames a second
SURE_OF_ANYTHING = EventOptions(start=0.01, end=0.01, shortest=0.3)  # the model has no skill


def test_answers_are_those_of_the_recognizer_and_each_frame_passes_the_backbone_once(
    model: Recognizer, clip: Path
) -> None:
    passed: list[int] = []
    assert model.network.backbone is not None
    hook = model.network.backbone.register_forward_hook(lambda module, inputs, output: passed.append(len(inputs[0])))
    watcher = watch(clip, model, EVERY_FRAME)
    answers = list(watcher)
    hook.remove()
    statistics = watcher.statistics
    assert (statistics.decoded, statistics.picked) == (30, 30)
    assert sum(passed) == statistics.looked_at == 30 - statistics.dropped
    assert statistics.reconnections == 0
    whole = [answer for answer in answers if len(answer.times) == FRAMES]
    assert len(whole) >= 5
    assert len(answers) == statistics.answers
    assert [answer.number for answer in answers] == list(range(1, len(answers) + 1))
    for answer in whole:
        wanted = np.round(answer.times * 10).astype(int)
        assert wanted.tolist() == list(range(wanted[0], wanted[0] + FRAMES))
        assert frame_number(answer.frame) == wanted[-1]
        output = model.recognize(read_frames(clip, lambda *_, wanted=wanted: wanted))  # type: ignore[misc]
        _, importance, _, masks = merge_repeats(
            answer.times, output.importance[0], output.weights[0].mean(0), output.mask[0, :, 0]
        )
        said = [dict(answer.labels)[name] for name in model.classes]
        np.testing.assert_allclose(said, output.logits[0].softmax(-1), atol=1e-5)
        np.testing.assert_allclose(answer.importance, importance, atol=1e-5)
        np.testing.assert_allclose(answer.mask, masks[-1], atol=1e-5)
        assert answer.mask_range == pytest.approx((float(masks.min()), float(masks.max())), abs=1e-5)
        assert answer.mask_area == (0, 0, 96, 64)
        assert [score for _, score in answer.labels] == sorted(said, reverse=True)


def test_a_file_plays_at_its_own_rate_and_ends(model: Recognizer, clip: Path) -> None:
    start = time.monotonic()
    watcher = watch(clip, model, replace(EVERY_FRAME, rate=4))
    assert watcher.state == "connecting"
    answers = list(watcher)
    assert 2.8 <= time.monotonic() - start <= 8
    assert watcher.state == "ended"
    assert answers[-1].time == pytest.approx(2.9)  # the end is answered for whatever the rate
    assert answers[0].time >= 1.09  # not before there was a whole window
    assert len(answers) <= 10
    assert all(0 < answer.latency < 5 for answer in answers)
    summary = watcher.statistics.summary()
    assert summary.startswith("30 frames, ")
    assert "Latency p50" in summary


def test_a_loop_goes_on_in_time(model: Recognizer, tmp_path: Path) -> None:
    clip = write_numbered(tmp_path / "short.mp4", 8)
    watcher = watch(clip, model, replace(EVERY_FRAME, window=0.6, source=SourceOptions(loop=True)))
    seen: list[Answer] = []
    for answer in watcher:
        seen.append(answer)
        if answer.time > 2.0:
            watcher.stop()
    for answer in seen:
        assert frame_number(answer.frame) == round(answer.time * 10) % 8
    assert watcher.statistics.reconnections == 0
    assert watcher.statistics.decoded >= 20


def test_a_file_shorter_than_a_window_is_answered_for_once(model: Recognizer, tmp_path: Path) -> None:
    clip = write_numbered(tmp_path / "short.mp4", 4)
    (answer,) = watch(clip, model, WatchOptions(window=6.0))
    assert answer.time <= 0.31
    assert answer.importance.sum() == pytest.approx(1, abs=1e-5)


def test_who_is_slow_loses_frames_but_does_not_fall_behind(model: Recognizer, clip: Path) -> None:
    slow = model.network.head.register_forward_pre_hook(lambda module, inputs: time.sleep(0.4))
    watcher = watch(clip, model, replace(EVERY_FRAME, source=SourceOptions(loop=True)))
    start, held = time.monotonic(), []
    for answer in watcher:
        held.append(len(watcher.ring))
        lag = time.monotonic() - start - answer.time  # grows where frames are only queued
        if answer.number == 8:
            break
    slow.remove()
    statistics = watcher.statistics
    assert statistics.dropped >= 8
    assert max(held) <= FRAMES + 2
    assert 0 <= statistics.picked - statistics.looked_at - statistics.dropped <= 3  # two wait, one may be on its way
    assert statistics.percentile(95) < 1.5
    assert lag < 5


def test_events_are_told_and_their_clips_show_them(model: Recognizer, clip: Path, tmp_path: Path) -> None:
    told: list[ReportedEvent] = []
    options = replace(
        EVERY_FRAME, events=SURE_OF_ANYTHING, clips=ClipOptions(tmp_path / "clips", before=0.2, after=0.2)
    )
    before = time.time()
    answers = list(watch(clip, model, options, told.append, pytest.fail))
    assert told
    assert [answer.event for answer in answers if answer.event]
    for reported in told:
        event, said = reported.event, reported.to_dict()
        assert 0 <= event.start <= event.end <= 2.9
        assert event.label in model.classes
        assert reported.end_utc - reported.start_utc == pytest.approx(event.end - event.start, abs=1e-3)
        assert before - 1 <= reported.start_utc <= time.time()
        assert reported.clip is not None
        assert said["clip"] == str(reported.clip)
        shown = [frame_number(image) for _, image in iter_frames(reported.clip)]
        assert shown == list(range(shown[0], shown[-1] + 1))
        assert shown[0] <= round(10 * event.start)
        assert shown[-1] >= round(10 * event.end)
    assert {file.suffix for file in (tmp_path / "clips").iterdir()} == {".mp4"}


def test_leaving_early_finishes_what_is_open(model: Recognizer, clip: Path, tmp_path: Path) -> None:
    told: list[ReportedEvent] = []
    options = replace(
        EVERY_FRAME,
        source=SourceOptions(loop=True),
        events=SURE_OF_ANYTHING,
        clips=ClipOptions(tmp_path, before=0.0, after=60.0),
    )
    watcher = watch(clip, model, options, told.append, pytest.fail)
    for answer in watcher:
        if answer.time > 3.5:  # in the second pass
            watcher.stop()
    assert told
    assert told[-1].clip is not None
    shown = [frame_number(image) for _, image in iter_frames(told[-1].clip)]
    assert len(shown) >= 5
    assert not list(tmp_path.glob("*.partial"))
    check_consecutive(shown)


def test_attention_points_to_the_median_of_importance() -> None:
    times = np.array([1.0, 2.0, 3.0, 4.0])
    assert moment(times, np.array([0.1, 0.2, 0.6, 0.1])) == 3.0
    assert moment(times, np.array([1.0, 0.0, 0.0, 0.0])) == 1.0
    assert moment(times, np.full(4, 0.25)) == 2.0
    assert moment(times, np.array([0.0, 0.0, 0.0, 1.0])) == 4.0


def test_what_cannot_be_watched_is_said(model: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"nowhere\.mp4: no such file"):
        list(watch(tmp_path / "nowhere.mp4", model))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"text\.mp4: cannot be opened as a video"):
        list(watch(tmp_path / "text.mp4", model))
    with pytest.raises(ValueError, match="window must be a positive number"):
        WatchOptions(window=0.0)
    with pytest.raises(ValueError, match="rate must be a positive number"):
        WatchOptions(rate=0.0)
    data = replace(model.record.config.data, source="videos", modality="dynamic")
    dynamic = Recognizer(model.network, replace(model.record, config=replace(model.record.config, data=data)), "run")
    with pytest.raises(WhenwhereError, match=r"run looks at dynamic inputs.*modality rgb"):
        watch(tmp_path / "a.mp4", dynamic)


def test_a_camera_that_is_not_there_is_tried_as_often_as_asked(model: Recognizer) -> None:
    told: list[str] = []
    options = replace(EVERY_FRAME, source=SourceOptions(retries=2, first_wait=0.01))
    with pytest.raises(SourceError, match=r"/dev/video99: .*tried 2 times again"):
        list(watch("99", model, options, log=told.append))
    assert len(told) == 2
    assert all("trying again in" in text for text in told)


def test_a_model_of_a_fixed_rate_gets_the_window_of_its_training(model: Recognizer) -> None:
    assert watch("0", model).window == 4.0
    data = replace(model.record.config.data, fps=8.0)
    fixed = Recognizer(model.network, replace(model.record, config=replace(model.record.config, data=data)))
    watcher = watch("0", fixed)
    assert watcher.window == FRAMES / 8
    for number in range(20):
        watcher.ring.push(number / 8, torch.zeros(1, 1, 1))
    _, times, _, _ = watcher.ring.window(watcher._sampler)
    np.testing.assert_allclose(times, np.arange(20 - FRAMES, 20) / 8)
