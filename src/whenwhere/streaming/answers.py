"""What a watcher says of each window, and of itself."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from whenwhere.video import Area

_REMEMBERED = 20_000  # newest latencies


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model says about the newest window.

    Attributes:
        number: of the answer, from 1.
        time: seconds of the stream of the newest frame.
        wall: seconds since 1970 at which that frame came.
        labels: ``(name, probability)`` of every class, most probable first.
        times: `(T,)` seconds of the frames in the window, increasing.
        importance: `(T,)` how much each counts, its mask included, sums to 1.
        mask: `(H, W)` spatial attention of the newest frame in [0, 1].
        mask_range: least and greatest attention in the window, to show ``mask`` relative to it.
        mask_area: ``(x0, y0, x1, y1)`` pixels of ``frame`` that the mask covers.
        frame: `(height, width, 3)` uint8 RGB, the newest.
        latency: seconds from the arrival of the newest frame to this answer.
        event: label of the event that is going on, once it has lasted long enough; else None.
    """

    number: int
    time: float
    wall: float
    labels: tuple[tuple[str, float], ...]
    times: np.ndarray
    importance: np.ndarray
    mask: np.ndarray
    mask_range: tuple[float, float]
    mask_area: Area
    frame: np.ndarray
    latency: float
    event: str | None

    @property
    def label(self) -> str:
        return self.labels[0][0]

    @property
    def score(self) -> float:
        return self.labels[0][1]


@dataclass
class Statistics:
    """What happened so far.

    Attributes:
        decoded: frames of the source.
        picked: of these, to be looked at; each is then looked at, dropped, or waits.
        looked_at: passed the backbone, each once.
        dropped: gave way to newer ones.
        skipped: further frames of the source that were not decoded, because decoding lagged behind.
        answers, events, reconnections: how many.
        latencies: seconds from the arrival of an answer's newest frame to the answer; the newest ones only.
        waits: the same for every frame, to the first answer that includes it.
    """

    decoded: int = 0
    picked: int = 0
    looked_at: int = 0
    dropped: int = 0
    skipped: int = 0
    answers: int = 0
    events: int = 0
    reconnections: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def percentile(self, share: float, of: str = "latencies") -> float:
        """Seconds below which ``share`` percent of the latencies (or ``waits``) lie; NaN when there are none."""
        values = list(getattr(self, of))
        return float(np.percentile(values, share)) if values else float("nan")

    def summary(self) -> str:
        """Two or three sentences."""
        text = (
            f"{self.decoded} frames, {self.looked_at} through the backbone, {self.dropped} dropped; "
            f"{self.answers} answers, {self.events} events, {self.reconnections} reconnections."
        )
        if self.skipped:
            text += f" {self.skipped} more frames were not decoded, for decoding takes longer than the stream."
        if not self.latencies:
            return text
        p50, p95 = (1000 * self.percentile(share) for share in (50, 95))
        return f"{text} Latency p50 {p50:.0f} ms, p95 {p95:.0f} ms."
