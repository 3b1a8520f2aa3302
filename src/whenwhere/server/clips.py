"""What a server knows about one clip."""

from __future__ import annotations

import threading
import time
import unicodedata
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from whenwhere.rendering import VideoFacts
from whenwhere.server.options import Refusal

State = Literal["queued", "running", "done", "failed", "removed"]
Phase = Literal["queued", "decoding", "computing", "writing", "done", "failed", "removed"]
OverlayState = Literal["none", "queued", "drawing", "done", "failed"]
ENDED = ("done", "failed", "removed")
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Progress:
    """Frames done of frames to do in this phase; ``total`` is 0 while it is not known."""

    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class ClipError:
    """Why there is no explanation: a status as HTTP has them, and a sentence."""

    status: int
    message: str


@dataclass(frozen=True)
class OverlayStatus:
    """Of a clip's overlay video.

    Attributes:
        state: none (nobody asked for it), queued, drawing, done, failed.
        progress: frames drawn of frames to draw.
        error: when it failed.
    """

    state: OverlayState = "none"
    progress: Progress = field(default_factory=Progress)
    error: ClipError | None = None


@dataclass(frozen=True)
class ClipStatus:
    """What is said about a clip.

    Attributes:
        id: of the clip.
        name: of the file, as it was sent, made harmless and shortened.
        state: queued, running, done, failed, removed.
        phase: what is being done: queued, decoding, computing, writing; or the state it ended in.
        progress: in this phase.
        position: in the queue, from 1; null when it does not wait.
        error: when it failed.
        created: when it came, seconds since 1970.
        label: the most probable class, when done.
        score: its probability.
        duration: of the clip, seconds.
        overlay: its overlay video.
    """

    id: str
    name: str
    state: State
    phase: Phase
    progress: Progress
    position: int | None
    error: ClipError | None
    created: float
    label: str | None
    score: float | None
    duration: float | None
    overlay: OverlayStatus


@dataclass(eq=False)
class ClipJob:
    """A clip and what became of it; written by the thread that works on it, read by all."""

    id: str
    folder: Path
    name: str = "clip"
    created: float = field(default_factory=time.time)
    state: State = "queued"
    phase: Phase = "queued"
    progress: Progress = field(default_factory=Progress)
    error: ClipError | None = None
    ended: float | None = None
    label: str | None = None
    score: float | None = None
    duration: float | None = None
    frames: int = 0
    overlay: OverlayStatus = field(default_factory=OverlayStatus)
    drawing: Future[Path] | None = None
    facts: VideoFacts | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    files_lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def upload(self) -> Path:
        return self.folder / "upload"

    @property
    def video(self) -> Path:
        """What the page plays."""
        copy = self.folder / "playable.mp4"
        return copy if copy.is_file() else self.upload

    @property
    def overlay_video(self) -> Path:
        return self.folder / "overlay.mp4"

    @property
    def explanation(self) -> Path:
        return self.folder / "explanation.json"

    def rename(self, name: str) -> None:
        self.name = shown_name(name)

    def enter(self, phase: Phase, total: int = 0) -> None:
        self.phase, self.progress = phase, Progress(0, total)

    def advance(self, done: int) -> None:
        self.progress = Progress(done, self.progress.total)

    def end(self, state: State, error: Refusal | None = None) -> None:
        self.error = ClipError(error.status, str(error)) if error else None
        self.phase, self.progress, self.ended = state, Progress(), time.monotonic()  # type: ignore[assignment]
        self.state = state  # last: who sees it finds the rest

    def status(self, position: int | None = None) -> ClipStatus:
        return ClipStatus(
            self.id,
            self.name,
            self.state,
            self.phase,
            self.progress,
            position,
            self.error,
            self.created,
            self.label,
            self.score,
            self.duration,
            self.overlay,
        )


def shown_name(name: str) -> str:
    """A file name as somebody sent it -> one line without folders and control characters, shortened in the middle.

    It is shown and never used to find a file.
    """
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    plain = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip(" .")
    if len(plain) > _LONGEST_NAME:
        half = (_LONGEST_NAME - 1) // 2
        plain = f"{plain[:half]}…{plain[-half:]}"
    return plain or "clip"
