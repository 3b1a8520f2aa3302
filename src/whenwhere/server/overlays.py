"""Overlay videos: drawn when they are asked for, one after the other."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from whenwhere.server.clips import ClipError, ClipJob, OverlayStatus, Progress
from whenwhere.server.isolation import CancelledError
from whenwhere.server.options import Refusal
from whenwhere.server.pipeline import Pipeline

log = logging.getLogger("whenwhere.server")


class Overlays:
    """Draws them in a thread of its own, so that those who wait for one keep nobody else from being answered.

    Args:
        pipeline: that draws.
        most: overlays that wait or are being drawn; more are refused.
    """

    def __init__(self, pipeline: Pipeline, most: int) -> None:
        self._pipeline, self._most = pipeline, most
        self._asked, self._given_up = 0, False
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="overlay")

    @property
    def busy(self) -> bool:
        """Whether any waits or is being drawn."""
        return self._asked > 0

    def draw(self, clip: ClipJob) -> Future[Path]:
        """The clip's overlay video, drawn once however many ask for it, and anew when that failed.

        Raises:
            Refusal: 429, too many are asked for; the future raises it too: 404 removed meanwhile, 503 the server stops,
                504 takes too long.
        """
        with self._lock:
            if clip.drawing is None or clip.overlay.state == "failed":
                if self._asked >= self._most:
                    raise Refusal(429, f"{self._asked} overlay videos wait already; try again in a while", 10)
                self._asked += 1
                clip.overlay = OverlayStatus("queued")
                clip.drawing = self._executor.submit(self._draw, clip)
            return clip.drawing

    def give_up(self, clips: list[ClipJob]) -> None:
        """What is not drawn yet fails with status 503."""
        self._given_up = True
        for clip in clips:
            if clip.overlay.state in ("queued", "drawing"):
                clip.cancelled.set()

    def close(self) -> None:
        """Wait for the one that is being drawn; what waits is dropped."""
        self._executor.shutdown(cancel_futures=True)

    def _draw(self, clip: ClipJob) -> Path:
        try:
            with clip.files_lock:
                if clip.cancelled.is_set():
                    raise CancelledError
                clip.overlay = OverlayStatus("drawing", Progress(0, clip.frames))
                self._pipeline.draw_overlay(clip)
            clip.overlay = OverlayStatus("done")
            return clip.overlay_video
        except CancelledError:
            refusal = Refusal(404, "the clip was removed")
            if self._given_up:
                refusal = Refusal(503, "the server shut down before the overlay video was drawn", retry_after=10)
        except Refusal as error:
            refusal = error
        except Exception:
            log.exception("an overlay video could not be drawn")
            refusal = Refusal(500, "something went wrong on the server; its log says what")
        finally:
            with self._lock:
                self._asked -= 1
        clip.overlay = OverlayStatus("failed", error=ClipError(refusal.status, str(refusal)))
        raise refusal
