"""From an uploaded file to its explanation and the files a page shows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whenwhere.localization import WindowResult
from whenwhere.recognizer import Recognizer
from whenwhere.rendering import VideoFacts
from whenwhere.server.clips import ClipJob, OverlayStatus, Progress
from whenwhere.server.compute import Compute
from whenwhere.server.decoding import ClipLimits, draw_overlay, info_from, read, write
from whenwhere.server.isolation import TOO_LATE, CancelledError, Limits, Worker, isolated
from whenwhere.server.options import Refusal, ServerOptions
from whenwhere.video import VideoInfo

_OUTPUT_BYTES = 2_000_000_000
_AHEAD = 2  # messages of frames that may wait for the model; the process that decodes waits then


def header_limits(options: ServerOptions) -> Limits:
    """Of a process that looks at a header."""
    return Limits(int(options.decoder_megabytes * 1e6), 10, 1_000_000)


class Pipeline:
    """Takes one clip from file to explanation; several threads may use it at once."""

    def __init__(
        self, recognizer: Recognizer, compute: Compute, options: ServerOptions, clip_limits: ClipLimits
    ) -> None:
        self.recognizer, self.compute, self.clip_limits = recognizer, compute, clip_limits
        self.seconds = options.seconds_per_clip
        self.limits = Limits(int(options.decoder_megabytes * 1e6), 2 * self.seconds, _OUTPUT_BYTES)
        self.model = Path(recognizer.name).name  # not where it lies

    def explain(self, clip: ClipJob) -> None:
        """Write the clip's ``explanation.json``, thumbnail and, where needed, a copy that browsers play.

        Raises:
            Refusal: the clip cannot be explained.
            CancelledError: nobody wants it any more.
        """
        deadline = time.monotonic() + self.seconds
        clip.enter("decoding")
        info, looks = self._look(clip, deadline)
        answer = self.compute.run(partial(self.recognizer.explanation_of, info, looks))
        explanation = replace(_result(answer, clip, deadline), path=clip.name, model=self.model)
        explanation.save(clip.explanation)
        clip.frames = len(info.timestamps)
        clip.enter("writing", clip.frames)
        self._write(clip, deadline)
        clip.label, clip.score = explanation.label, explanation.score

    def draw_overlay(self, clip: ClipJob) -> None:
        """Write the clip's ``overlay.mp4``; raises as :meth:`explain`."""
        with isolated(
            draw_overlay,
            clip.upload,
            clip.overlay_video,
            clip.explanation,
            limits=self.limits,
            seconds=self.seconds,
            cancelled=clip.cancelled.is_set,
        ) as worker:
            while "drawn" in (message := worker.receive()[0]):
                clip.overlay = OverlayStatus("drawing", Progress(message["drawn"], clip.frames))

    def _look(self, clip: ClipJob, deadline: float) -> tuple[VideoInfo, list[WindowResult]]:
        """What a player knows of the clip, and what the model says about each window of it."""
        model = self.recognizer
        with isolated(
            read,
            clip.upload,
            self.clip_limits,
            model.reader,
            model.preprocessing,
            limits=self.limits,
            seconds=deadline - time.monotonic(),
            cancelled=clip.cancelled.is_set,
        ) as worker:
            message, _ = worker.receive()
            info = info_from(message["info"], clip.name, self.clip_limits)
            clip.duration = info.duration
            windows = WindowFeatures(model, info)
            clip.enter("decoding", len(windows.numbers))
            worker.send({"numbers": windows.numbers})
            looks = [
                _result(self.compute.run(partial(model.look_at, *window)), clip, deadline)
                for frames, features in self._frames(clip, worker, deadline)
                for window in windows.add(frames, features)
            ]
        if not windows.complete:
            raise Refusal(422, "the clip's decoder left out frames; the file is damaged: convert it and try again")
        return info, looks

    def _frames(self, clip: ClipJob, worker: Worker, deadline: float) -> Iterator[tuple[list[int], Tensor]]:
        """Numbers and features of frames, as they are decoded and the model gets to them."""
        waiting: deque[tuple[list[int], Future[Tensor]]] = deque()
        decoded, size = 0, self.recognizer.preprocessing.size
        while "end" not in (answer := worker.receive())[0]:
            message, data = answer
            if "decoded" in message:
                decoded += 1
                clip.advance(decoded)
                continue
            own = [int(number) for number in message["frames"]]
            fitted = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(len(own), 3, size, size)
            waiting.append((own, self.compute.features(fitted)))
            if len(waiting) > _AHEAD:
                own, future = waiting.popleft()
                yield own, _result(future, clip, deadline)
        clip.enter("computing", decoded)
        clip.advance(decoded - sum(len(own) for own, _ in waiting))
        for own, future in waiting:
            features = _result(future, clip, deadline)
            clip.advance(clip.progress.done + len(own))
            yield own, features

    def _write(self, clip: ClipJob, deadline: float) -> None:
        with isolated(
            write,
            clip.upload,
            clip.folder,
            limits=self.limits,
            seconds=deadline - time.monotonic(),
            cancelled=clip.cancelled.is_set,
        ) as worker:
            while True:
                message, _ = worker.receive()
                if "facts" in message:
                    clip.facts = VideoFacts(**message["facts"])
                    return
                clip.advance(message["written"])


class WindowFeatures:
    """Features of frames until the windows they are in have been looked at: of a long clip never those of all.

    Args:
        model: says which frames are in a window.
        info: of the clip.

    Attributes:
        numbers: of all frames that are looked at, increasing.
        held: features by number of frame.
    """

    def __init__(self, model: Recognizer, info: VideoInfo) -> None:
        self._times = info.timestamps
        windows = [(start, end, model.numbers_in(info, start, end)) for start, end in model.windows_of(info).tolist()]
        first = np.minimum.accumulate([numbers.min() for *_, numbers in reversed(windows)])[::-1]
        needed_then = [*first[1:].tolist(), len(self._times)]  # from which number on, after each window
        self._windows = deque(zip(windows, needed_then, strict=True))
        self.numbers = sorted({int(number) for *_, numbers in windows for number in numbers})
        self.held: dict[int, Tensor] = {}

    @property
    def complete(self) -> bool:
        """Whether every window has got its frames."""
        return not self._windows

    def add(self, numbers: list[int], features: Tensor) -> Iterator[tuple[Tensor, np.ndarray, float, float]]:
        """Take features `(T, C, H, W)` of the next frames; what `look_at` takes of windows that are whole."""
        self.held.update(zip(numbers, features, strict=True))
        while self._windows and self.held.keys() >= set(self._windows[0][0][2].tolist()):
            (start, end, own), needed = self._windows.popleft()
            yield torch.stack([self.held[number] for number in own.tolist()]), self._times[own], start, end
            self.held = {number: kept for number, kept in self.held.items() if number >= needed}


def _result(future: Future, clip: ClipJob, deadline: float):  # type: ignore[no-untyped-def, type-arg]
    """Of a computation, unless the clip is not wanted any more or late."""
    while True:
        try:
            return future.result(timeout=0.1)
        except TimeoutError:
            if future.done():
                raise
            if clip.cancelled.is_set():
                future.cancel()
                raise CancelledError from None
            if time.monotonic() > deadline:
                future.cancel()
                raise Refusal(504, TOO_LATE) from None
