"""The queue, the model's thread and the limited processes, without HTTP."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from serving import until
from tasks import chatter, fill_disk, listen_to_nothing, stop_in_the_middle, take_memory, work_on

from whenwhere.recognizer import Recognizer, load
from whenwhere.server.clips import ClipJob
from whenwhere.server.compute import Compute
from whenwhere.server.isolation import Limits, Line, Worker, isolated
from whenwhere.server.jobs import Jobs
from whenwhere.server.options import Refusal, ServerError, ServerOptions
from whenwhere.server.pipeline import WindowFeatures
from whenwhere.structures import Explanation
from whenwhere.video import clip_sampler, probe


@pytest.fixture(scope="module")
def recognizer(run: Path) -> Recognizer:
    return load(run)


@contextmanager
def running(recognizer: Recognizer, folder: Path, **options: Any) -> Iterator[Jobs]:
    jobs = Jobs(recognizer, ServerOptions(folder=folder, **options))
    try:
        yield jobs
    finally:
        jobs.close()
        assert list(folder.iterdir()) == []


def give(jobs: Jobs, path: Path) -> ClipJob:
    with jobs.arriving(path.name) as clip:
        shutil.copyfile(path, clip.upload)
    return clip


def ended(clip: ClipJob) -> ClipJob:
    until(lambda: clip.state in ("done", "failed", "removed"), "the clip ends")
    return clip


def test_time_limit_of_a_clip(recognizer: Recognizer, tmp_path: Path, clip: Path, long_clip: Path) -> None:
    with running(recognizer, tmp_path, seconds_per_clip=0.4, workers=1) as jobs:
        late = ended(give(jobs, long_clip))
        assert late.error is not None
        assert late.error.status == 504
        assert late.error.message == "the clip takes longer than this server allows; send a shorter or smaller one"
        assert not late.folder.exists()


def test_memory_limit_of_the_process_that_decodes(recognizer: Recognizer, tmp_path: Path, long_clip: Path) -> None:
    with running(recognizer, tmp_path, decoder_megabytes=1, workers=1) as jobs:
        failed = ended(give(jobs, long_clip))
        assert failed.error is not None
        assert failed.error.status == 422


def test_old_clips_are_removed_and_the_oldest_of_too_many(recognizer: Recognizer, tmp_path: Path, clip: Path) -> None:
    with running(recognizer, tmp_path, keep_clips=1, keep_seconds=1000) as jobs:
        first, second = (ended(give(jobs, clip)) for _ in range(2))
        jobs.sweep()
        assert [status.id for status in jobs.statuses()] == [second.id]
        assert (first.folder.exists(), second.folder.exists()) == (False, True)
        assert second.ended is not None
        second.ended -= 1001
        jobs.sweep()
        assert jobs.statuses() == []
        assert not second.folder.exists()


def test_what_a_killed_server_left_is_removed_by_the_next(recognizer: Recognizer, tmp_path: Path) -> None:
    killed = "import os; from pathlib import Path; from whenwhere.server.folder import OwnFolder as F;"
    killed += f"(F(Path({str(tmp_path)!r})).path / 'upload').write_text('of somebody'); os._exit(9)"
    subprocess.run([sys.executable, "-c", killed], check=False)
    assert [path.name for path in tmp_path.rglob("*")][-1] == "upload"
    foreign = tmp_path / "whenwhere-paper"
    foreign.mkdir()
    jobs = [Jobs(recognizer, ServerOptions(folder=tmp_path, workers=1)) for _ in range(2)]
    assert set(tmp_path.iterdir()) == {foreign, *(each.folder for each in jobs)}
    for each in jobs:
        each.close()
    assert list(tmp_path.iterdir()) == [foreign]


def test_a_folder_that_is_not_there_is_named(recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"uploads cannot be kept in .*nowhere"):
        Jobs(recognizer, ServerOptions(folder=tmp_path / "nowhere"))


def test_nothing_is_left_of_an_arrival_that_fails(recognizer: Recognizer, tmp_path: Path) -> None:
    with running(recognizer, tmp_path, queue=1) as jobs:
        with suppress(RuntimeError), jobs.arriving() as clip:
            clip.upload.write_bytes(b"begun")
            with pytest.raises(Refusal, match="1 clips wait already") as full, jobs.arriving():
                pass
            assert full.value.status == 429
            assert full.value.retry_after == 2  # a guess: nothing is known yet about how long clips take
            raise RuntimeError("cut")
        assert not clip.folder.exists()
        assert jobs.statuses() == []
        with jobs.arriving() as clip:  # its place is free again
            clip.upload.write_bytes(b"whole")


def test_clips_that_wait_when_the_server_stops_are_returned(
    recognizer: Recognizer, tmp_path: Path, long_clip: Path
) -> None:
    with running(recognizer, tmp_path, grace_seconds=0.1, workers=1) as jobs:
        clips = [give(jobs, long_clip) for _ in range(3)]
        jobs.stop_taking()
        with pytest.raises(Refusal, match="shutting down") as refused, jobs.arriving():
            pass
        assert refused.value.status == 503
        until(jobs.settled, "everything is done or returned")
        for clip in clips:
            assert clip.error is not None
            assert (clip.error.status, "send it again" in clip.error.message) == (503, True)


def test_frames_of_several_clips_share_a_pass(recognizer: Recognizer) -> None:
    size = recognizer.preprocessing.size
    clips = [torch.randint(256, (4, 3, size, size), dtype=torch.uint8) for _ in range(5)]
    alone = [recognizer.features_of(clip) for clip in clips]
    compute, held = Compute(recognizer, batch=8), threading.Event()
    try:
        compute.run(held.wait)  # so that all of them wait
        unwanted = compute.features(clips[0])
        assert unwanted.cancel()
        futures = [compute.features(clip) for clip in clips]
        held.set()
        for own, future in zip(alone, futures, strict=True):
            torch.testing.assert_close(future.result(30), own, atol=1e-5, rtol=1e-5)
        assert compute.passes == 3  # 8, 8 and 4 frames
        with pytest.raises(RuntimeError):
            compute.features(clips[0][:, :2]).result(30)
        assert compute.features(clips[0]).result(30).shape == alone[0].shape  # goes on after a failure
    finally:
        compute.close()


def test_limits_that_are_tighter_already_stay() -> None:
    code = (
        "import os, resource; from whenwhere.server.isolation import Limits;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "os.getuid() or os.setuid(65534);"  # root may raise them
        "Limits(300_000_000, 10, 1_000_000).apply(); print(resource.getrlimit(resource.RLIMIT_FSIZE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "(1000, 1000)", done.stderr


def test_features_of_a_long_clip_are_not_all_held(recognizer: Recognizer, long_clip: Path) -> None:
    model = copy(recognizer)
    model.sampler, model.window = clip_sampler(6, 50.0), 6 / 50.0  # 6 frames each 0.12 s, of 6 s
    info = probe(long_clip)
    features, held, looked = WindowFeatures(model, info), [], []
    for at in range(0, len(features.numbers), 8):
        numbers = features.numbers[at : at + 8]
        maps = torch.tensor(numbers, dtype=torch.float).view(-1, 1, 1, 1)
        for maps_of_window, times, start, end in features.add(numbers, maps):
            own = model.numbers_in(info, start, end)
            assert maps_of_window.flatten().tolist() == own.tolist()
            assert times.tolist() == info.timestamps[own].tolist()
            looked.append((start, end))
        held.append(len(features.held))
    assert features.complete
    assert looked == [tuple(window) for window in model.windows_of(info).tolist()]
    assert len(features.numbers) > 200
    assert max(held) <= 20
    late = WindowFeatures(model, info)
    assert len(list(late.add(late.numbers[1:], torch.zeros(len(late.numbers) - 1, 1, 1, 1)))) == 0
    assert not late.complete


def test_a_clip_of_many_windows_is_explained_as_by_the_recogniser(
    recognizer: Recognizer, tmp_path: Path, clip: Path
) -> None:
    model = copy(recognizer)
    model.sampler, model.window = clip_sampler(4, 5.0), 4 / 5.0
    expected = model.explain(clip)
    assert len(model.windows_of(probe(clip))) > 5
    with running(model, tmp_path) as jobs:
        done = ended(give(jobs, clip))
        explanation = Explanation.load(done.explanation)
    assert explanation.labels == expected.labels
    assert explanation.times == expected.times
    assert explanation.boxes == expected.boxes
    assert [(each.start, each.end, each.label) for each in explanation.segments] == [
        (each.start, each.end, each.label) for each in expected.segments
    ]
    # Frames come to the backbone in batches of another size, and sums round by it.
    scores, known = ([each.score for each in one.segments] for one in (explanation, expected))
    assert scores == pytest.approx(known, abs=1e-6)
    np.testing.assert_allclose(explanation.importance, expected.importance, atol=1e-6)


LIMITS = Limits(memory=300_000_000, cpu_seconds=60, file_bytes=1_000_000)


def test_memory_is_limited() -> None:
    with isolated(take_memory, 200, limits=LIMITS, seconds=60) as worker:
        assert worker.receive()[0]["taken"] == 200_000_000
    with isolated(take_memory, 400, limits=LIMITS, seconds=60) as worker, pytest.raises(Refusal, match="limits"):
        worker.receive()


@pytest.mark.parametrize(
    ("limits", "seconds", "said"),
    [(Limits(300_000_000, 0.5, 1), 60, "processor time"), (LIMITS, 0.5, "takes longer than")],
)
def test_time_is_limited(limits: Limits, seconds: float, said: str) -> None:
    began = time.monotonic()
    with isolated(work_on, limits=limits, seconds=seconds) as worker, pytest.raises(Refusal, match=said) as refused:
        worker.receive()
    assert refused.value.status == 504
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("task", [chatter, stop_in_the_middle])
def test_time_is_limited_whatever_a_process_says_meanwhile(task: Callable[[Line], None]) -> None:
    began = time.monotonic()

    def listen(worker: Worker) -> None:
        while time.monotonic() - began < 20:
            worker.receive()

    with isolated(task, limits=LIMITS, seconds=1) as worker, pytest.raises(Refusal, match="takes longer than"):
        listen(worker)
    assert time.monotonic() - began < 10


def test_a_process_that_does_not_listen_is_late_too() -> None:
    began = time.monotonic()
    with isolated(listen_to_nothing, limits=LIMITS, seconds=1) as worker:
        worker.send({"numbers": list(range(1_000_000))})  # more than the pipe holds
        with pytest.raises(Refusal, match="takes longer than"):
            worker.receive()
    assert time.monotonic() - began < 10


def test_files_are_limited(tmp_path: Path) -> None:
    with isolated(fill_disk, tmp_path / "f", limits=LIMITS, seconds=60) as worker, pytest.raises(Refusal):
        worker.receive()
    assert (tmp_path / "f").stat().st_size <= 1_000_000


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_seconds": 0}, "max_seconds must be positive"),
        ({"queue": -1}, "queue must be positive"),
        ({"grace_seconds": -1}, "grace_seconds must be at least 0"),
        ({"keep_seconds": float("nan")}, "keep_seconds must be positive"),
        ({"token": "short"}, "at least 8"),
        ({"token": "long enough\n"}, "plain ASCII"),
    ],
)
def test_options_are_checked(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ServerError, match=said):
        ServerOptions(**wrong)


def test_the_token_is_not_shown() -> None:
    assert "a secret" not in repr(ServerOptions(token="a secret token"))
