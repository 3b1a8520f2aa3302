"""Watch a stream: a window over features that slides with it, and an answer at a set rate."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from whenwhere.errors import WhenwhereError
from whenwhere.localization.windows import WindowResult
from whenwhere.recognizer import Recognizer
from whenwhere.streaming.answers import Answer, Statistics
from whenwhere.streaming.clips import ClipOptions, ClipRecorder
from whenwhere.streaming.decoding import DecodingThread, StreamFrame
from whenwhere.streaming.events import Event, EventDetector, EventOptions, ReportedEvent, utc
from whenwhere.streaming.ring import FeatureRing, Picker
from whenwhere.streaming.source import Source, SourceOptions
from whenwhere.video import Uniform

DEFAULT_WINDOW = 4.0  # seconds, for models trained on whole clips, which say nothing about it


@dataclass(frozen=True)
class WatchOptions:
    """How a stream is watched.

    Attributes:
        window: seconds the model looks at; None: for a model trained at a fixed rate what its T frames last, else four.
            The T frames of a window are evenly spaced, so T / window frames a second pass the backbone.
        rate: answers a second, at most.
        source, events: how the source is opened, and what counts as an event.
        clips: None: no clips of events are written.
    """

    window: float | None = None
    rate: float = 2.0
    source: SourceOptions = field(default_factory=SourceOptions)
    events: EventOptions = field(default_factory=EventOptions)
    clips: ClipOptions | None = None

    def __post_init__(self) -> None:
        if self.window is not None and not 0 < self.window < float("inf"):
            raise ValueError(f"WatchOptions.window must be a positive number of seconds, got {self.window}")
        if not 0 < self.rate < float("inf"):
            raise ValueError(f"WatchOptions.rate must be a positive number of answers a second, got {self.rate}")


def watch(
    source: str | int | Path,
    model: Recognizer,
    options: WatchOptions | None = None,
    on_event: Callable[[ReportedEvent], None] | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> Watcher:
    """Watch a stream; iterating over the result gives an :class:`Answer` at a set rate.

    ::

        for answer in watch("rtsp://camera/stream", whenwhere.load("runs/mine")):
            print(answer.label, answer.score)

    Args:
        source: number or device of a camera, address of a stream, or a file.
        model: sees frames; one of optical flow or dynamic images cannot.
        on_event: called with each event when it has ended.
        log: told when the source is lost and found.

    Raises:
        WhenwhereError: the model cannot watch.
        SourceError: while iterating: the source cannot be opened, or was lost more often than allowed.
        VideoError: while iterating: a file that cannot be read.
    """
    return Watcher(Source.parse(str(source)), model, options or WatchOptions(), on_event, log)


class Watcher:
    """A stream being watched; to be iterated over once. See :func:`watch`."""

    def __init__(
        self,
        source: Source,
        model: Recognizer,
        options: WatchOptions,
        on_event: Callable[[ReportedEvent], None] | None,
        log: Callable[[str], None],
    ) -> None:
        if model.reader.modality != "rgb":
            raise WhenwhereError(
                f"{model.name} looks at {model.reader.modality} inputs, each made of several frames; watch needs a "
                "model trained with data.modality rgb"
            )
        self.source, self.model, self.options = source, model, options
        self.statistics = Statistics()
        frames = model.record.config.data.seen_frames
        own = model.window
        self.window = options.window or own or DEFAULT_WINDOW
        # A window of the model's own length is looked at as in training; another one from its begin to its end.
        self._sampler: Picker = model.sampler if self.window == own else Uniform(frames)
        self.ring = FeatureRing(self.window, frames)
        self._detector = EventDetector(options.events)
        self._on_event = on_event or (lambda event: None)
        self._clip: Path | None = None
        late = self.window + options.events.shortest + 2 / options.rate + 2
        self._recorder = ClipRecorder(options.clips, late, log) if options.clips else None
        self._decoding = DecodingThread(source, options.source, frames / self.window, self._recorder, log)
        self._arrivals: deque[float] = deque(maxlen=4 * frames)  # of frames no answer has included yet
        self._newest: StreamFrame | None = None
        self._connection, self._started = 0, 0.0
        self._stopped = threading.Event()

    @property
    def state(self) -> str:
        """``connecting``, ``filling`` its first window, ``playing``, ``lost`` or ``ended``."""
        state = self._decoding.state
        return "filling" if state == "playing" and not self.ring.full else state

    @property
    def frames_a_second(self) -> float:
        """Frames that passed the backbone, by the clock, since the first."""
        spent = time.monotonic() - self._started if self._started else 0.0
        return self.statistics.looked_at / spent if spent > 0 else 0.0

    def stop(self) -> None:
        """End the iteration soon; from any thread, or a signal's handler."""
        self._stopped.set()
        self._decoding.stop()

    def __iter__(self) -> Iterator[Answer]:
        self._decoding.start()
        try:
            yield from self._answers()
        finally:
            self._finish()
        if self._decoding.error is not None:
            raise self._decoding.error

    def _answers(self) -> Iterator[Answer]:
        due, queue, interval = 0.0, self._decoding.frames, 1 / self.options.rate
        while not self._stopped.is_set() and not queue.finished:
            frames = queue.take(timeout=0.1)
            if self._decoding.state == "lost":
                self._lose()
            self._look(frames)
            now = time.monotonic()
            if frames and self.ring.full and now >= due:
                due = due + interval if now - due < interval else now + interval
                yield self._answer(frames[-1])
        # What came after the last answer counts too, even of a source that was shorter than a window.
        if not self._stopped.is_set() and self._arrivals and self._newest is not None and len(self.ring):
            yield self._answer(self._newest)

    def _look(self, frames: list[StreamFrame]) -> None:
        """Pass frames through the backbone, each once."""
        for frame in frames:
            if frame.connection != self._connection:
                self._lose()
                self._connection = frame.connection
            self._started = self._started or frame.arrival
            pixels = torch.from_numpy(frame.pixels).permute(2, 0, 1).unsqueeze(0)
            self.ring.push(frame.time, self.model.features(pixels)[0])
            self.statistics.looked_at += 1
            self._arrivals.append(frame.arrival)
            self._newest = frame
        self._count()

    def _answer(self, newest: StreamFrame) -> Answer:
        seen = self.model.look_at(*self.ring.window(self._sampler))
        order = np.argsort(-seen.probabilities, kind="stable")
        labels = tuple((self.model.classes[number], float(seen.probabilities[number])) for number in order)
        self._detect(newest, seen, dict(labels))
        now = time.monotonic()
        self.statistics.answers += 1
        self.statistics.latencies.append(now - newest.arrival)
        self.statistics.waits.extend(now - arrival for arrival in self._arrivals)
        self._arrivals.clear()
        height, width = newest.pixels.shape[:2]
        return Answer(
            number=self.statistics.answers,
            time=newest.time,
            wall=newest.wall,
            labels=labels,
            times=seen.times,
            importance=seen.importance,
            mask=seen.masks[-1],
            mask_range=(float(seen.masks.min()), float(seen.masks.max())),
            mask_area=self.model.preprocessing.area(width, height),
            frame=newest.pixels,
            latency=now - newest.arrival,
            event=self._detector.label if self._detector.confirmed else None,
        )

    def _detect(self, newest: StreamFrame, seen: WindowResult, probabilities: dict[str, float]) -> None:
        self._report(self._detector.update(newest.time, moment(seen.times, seen.importance), probabilities))
        if self._recorder is not None and self._detector.confirmed and self._clip is None:
            begun = self._wall(self._detector.begun)
            name = f"{utc(begun).replace(':', '-')}_{_file_name(self._detector.label or '')}.mp4"
            self._clip = self._recorder.options.folder / name
            self._recorder.begin(self._clip, self._detector.begun)

    def _report(self, event: Event | None) -> None:
        if event is None:
            return
        clip, self._clip = self._clip, None
        if clip is not None and self._recorder is not None:
            self._recorder.end(clip, event.end)
        self.statistics.events += 1
        begun, ended = self._wall(event.start), self._wall(event.end)
        try:
            self._on_event(ReportedEvent(event, self.source.name, begun, ended, clip))
        except BaseException:
            self._on_event = lambda event: None  # what it raised goes to the caller; it is not asked again on the way
            raise

    def _wall(self, seconds: float) -> float:
        """Time since 1970 of a moment of the stream, counted from the newest frame."""
        return self._newest.wall - (self._newest.time - seconds) if self._newest else time.time()

    def _lose(self) -> None:
        """The frames to come do not follow on those in the window."""
        self._report(self._detector.close())
        self.ring.clear()
        self._arrivals.clear()

    def _count(self) -> None:
        self.statistics.decoded, self.statistics.picked = self._decoding.decoded, self._decoding.picked
        self.statistics.dropped, self.statistics.skipped = self._decoding.frames.dropped, self._decoding.skipped
        self.statistics.reconnections = max(self._decoding.connections - 1, 0)

    def _finish(self) -> None:
        try:
            self._report(self._detector.close())
        finally:
            self.stop()
            self._decoding.join(timeout=2.0)
            if self._recorder is not None:
                self._recorder.disconnect()  # where the thread hangs in a read
            self._count()


def moment(times: np.ndarray, importance: np.ndarray) -> float:
    """Seconds to which attention points: the median of ``times`` `(T,)` under the weights ``importance`` `(T,)`."""
    return float(times[int(np.searchsorted(np.cumsum(importance), importance.sum() / 2))])


def _file_name(label: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in label)[:80]
