"""The queue: clips wait, are worked on, and are kept for a while."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from whenwhere.recognizer import Recognizer
from whenwhere.server.clips import ENDED, ClipJob, ClipStatus
from whenwhere.server.compute import Compute
from whenwhere.server.decoding import ClipLimits, look, nothing
from whenwhere.server.folder import OwnFolder
from whenwhere.server.isolation import CancelledError, isolated
from whenwhere.server.options import Refusal, ServerOptions
from whenwhere.server.overlays import Overlays
from whenwhere.server.pipeline import Pipeline, header_limits

log = logging.getLogger("whenwhere.server")
_LOOK_SECONDS = 10.0
_LINGER = 1.5  # seconds in which clients may fetch what was finished after the server was asked to stop


class Jobs:
    """Everything a server does with clips; its methods may be called from any thread.

    Args:
        recognizer: loaded; used by nobody else from now on.
        options: of the server.

    Raises:
        ServerError: there is no place for uploads.
    """

    def __init__(self, recognizer: Recognizer, options: ServerOptions) -> None:
        self.options = options
        self._own = OwnFolder(options.folder)
        self.folder = self._own.path
        self.limits = ClipLimits(options.max_seconds, options.max_pixels, options.max_frames)
        self.compute = Compute(recognizer)
        self.pipeline = Pipeline(recognizer, self.compute, options, self.limits)
        self._overlays = Overlays(self.pipeline, options.queue)
        self._clips: dict[str, ClipJob] = {}
        self._queue: deque[ClipJob] = deque()
        self._arriving = 0
        self._recent = deque([5.0], maxlen=10)  # seconds that clips took
        self._changed = threading.Condition()
        self._stopping: float | None = None  # when what is left is given up
        self._settled_since: float | None = None
        self._over = False
        self._looking = threading.BoundedSemaphore(2)
        self._threads: list[threading.Thread] = []
        try:
            with isolated(nothing, limits=header_limits(options), seconds=120) as worker:
                worker.receive()
        except BaseException:
            self.close()
            raise
        self._threads += [threading.Thread(target=self._work, name=f"clip {i}") for i in range(options.workers)]
        for thread in self._threads:
            thread.start()

    # ---- What comes in -------------------------------------------------------------------------------------------

    @contextmanager
    def arriving(self, name: str = "clip") -> Iterator[ClipJob]:
        """A place in the queue while a file arrives at ``clip.upload``; nothing is left of it when that fails.

        Raises:
            Refusal: 429 the queue is full, 503 the server stops.
        """
        with self._changed:
            self.check_open()
            if self._arriving + len(self._queue) >= self.options.queue:
                raise Refusal(
                    429,
                    f"{self.options.queue} clips wait already; try again in a while",
                    retry_after=self._expected_wait(),
                )
            self._arriving += 1
        clip = ClipJob(secrets.token_urlsafe(16), self.folder / secrets.token_hex(16))
        clip.rename(name)
        clip.folder.mkdir(mode=0o700)
        try:
            yield clip
            with self._changed:
                self.check_open()
                self._clips[clip.id] = clip
                self._queue.append(clip)
                self._changed.notify_all()
        except BaseException:
            shutil.rmtree(clip.folder, ignore_errors=True)
            raise
        finally:
            with self._changed:
                self._arriving -= 1

    def check_open(self) -> None:
        if self.stopping:
            raise Refusal(503, "the server is shutting down; send the clip again in a while", retry_after=10)

    def look(self, clip: ClipJob) -> None:
        """Judge an arrived file by its header.

        Raises:
            Refusal: 415 not a video; 422 too long, too large or without a video stream.
        """
        with (
            self._looking,
            isolated(
                look, clip.upload, self.limits, limits=header_limits(self.options), seconds=_LOOK_SECONDS
            ) as worker,
        ):
            worker.receive()

    def _expected_wait(self) -> int:
        each = sum(self._recent) / len(self._recent)
        return min(60, max(1, round(each / self.options.workers)))

    # ---- What is there -------------------------------------------------------------------------------------------

    def clip(self, clip_id: str) -> ClipJob:
        """
        Raises:
            Refusal: 404.
        """
        clip = self._clips.get(clip_id)
        if clip is None:
            raise Refusal(404, "there is no such clip; it may have been removed after its time")
        return clip

    def finished(self, clip_id: str) -> ClipJob:
        """
        Raises:
            Refusal: 404; 409 not done yet; what it failed with.
        """
        clip = self.clip(clip_id)
        if clip.error:
            raise Refusal(clip.error.status, clip.error.message)
        if clip.state != "done":
            raise Refusal(409, f"the clip is not done yet: {clip.phase}", retry_after=1)
        return clip

    def status(self, clip: ClipJob) -> ClipStatus:
        with self._changed:
            position = self._queue.index(clip) + 1 if clip in self._queue else None
            return clip.status(position)

    def statuses(self) -> list[ClipStatus]:
        """Of all clips, newest first."""
        with self._changed:
            positions = {clip.id: i for i, clip in enumerate(self._queue, start=1)}
            return [clip.status(positions.get(clip.id)) for clip in reversed(self._clips.values())]

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def stopping(self) -> bool:
        return self._stopping is not None

    def overlay(self, clip: ClipJob) -> Future[Path]:
        """The clip's overlay video, drawn when it is first asked for.

        Raises:
            Refusal: as :meth:`Overlays.draw`; 503 the server stops.
        """
        if clip.drawing is None:
            self.check_open()
        return self._overlays.draw(clip)

    def remove(self, clip: ClipJob) -> None:
        """Cancel what is done with it, and delete all that was made of it."""
        with self._changed:
            self._clips.pop(clip.id, None)
            clip.cancelled.set()
            running = clip.state == "running"
            if clip in self._queue:
                self._queue.remove(clip)
        if not running:  # otherwise the thread that works on it does
            self._delete(clip)

    def sweep(self) -> None:
        """Remove clips whose time is over, and the oldest of too many."""
        ended = [clip for clip in list(self._clips.values()) if clip.state in ENDED]
        many = len(ended) - self.options.keep_clips
        oldest = sorted(ended, key=lambda clip: clip.ended or 0)[: max(many, 0)]
        late = [clip for clip in ended if time.monotonic() - (clip.ended or 0) > self.options.keep_seconds]
        for clip in {*oldest, *late}:
            self.remove(clip)

    def _delete(self, clip: ClipJob) -> None:
        with clip.files_lock:
            clip.end("removed")
            shutil.rmtree(clip.folder, ignore_errors=True)

    # ---- Work ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._over:
                    self._changed.wait()
                if self._over:
                    return
                clip = self._queue.popleft()
                clip.state = "running"
            began = time.monotonic()
            self._finish(clip)
            self._recent.append(time.monotonic() - began)

    def _finish(self, clip: ClipJob) -> None:
        try:
            self.pipeline.explain(clip)
        except CancelledError:
            if clip.id not in self._clips:
                self._delete(clip)
            else:
                clip.end("failed", _given_up())
            return
        except Refusal as refusal:
            clip.end("failed", refusal)
        except Exception:
            log.exception("a clip failed")
            clip.end("failed", Refusal(500, "something went wrong on the server; its log says what"))
        else:
            clip.end("done")
        if clip.state == "failed":
            shutil.rmtree(clip.folder, ignore_errors=True)
        if clip.id not in self._clips:  # removed in the last moment
            self._delete(clip)

    # ---- The end -------------------------------------------------------------------------------------------------

    def stop_taking(self) -> None:
        """Refuse new clips; what is queued has the grace time."""
        with self._changed:
            if self._stopping is None:
                self._stopping = time.monotonic() + self.options.grace_seconds

    def settled(self) -> bool:
        """After :meth:`stop_taking`: nothing is left to do, and clients had a moment to fetch it.

        When the grace time is over, what is left is returned: it fails with status 503.
        """
        with self._changed:
            if self._stopping is not None and time.monotonic() > self._stopping:
                for clip in self._queue:
                    clip.end("failed", _given_up())
                self._queue.clear()
                for clip in self._clips.values():
                    if clip.state == "running":
                        clip.cancelled.set()
                self._overlays.give_up(list(self._clips.values()))
            busy = (
                self._arriving > 0
                or self._overlays.busy
                or any(clip.state not in ENDED for clip in self._clips.values())
            )
        if busy:
            self._settled_since = None
            return False
        self._settled_since = self._settled_since or time.monotonic()
        return not self._clips or time.monotonic() - self._settled_since > _LINGER

    def close(self) -> None:
        """End everything and leave no file."""
        self.stop_taking()
        with self._changed:
            self._over = True
            self._queue.clear()
            for clip in self._clips.values():
                clip.cancelled.set()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._overlays.close()
        self.compute.close()
        self._own.close()


def _given_up() -> Refusal:
    return Refusal(503, "the server shut down before the clip was done; send it again")
