"""The page that shows a stream being watched: `/live`, fed by server-sent events."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import html
import io
import json
import math
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse
from PIL import Image

from whenwhere.rendering.overlay import heat_colors
from whenwhere.rendering.pages import asset, fill, inline_json
from whenwhere.server.guard import Guard
from whenwhere.server.options import ServerOptions
from whenwhere.server.pages import static_router
from whenwhere.server.run import listen
from whenwhere.streaming import Answer, ReportedEvent, Watcher

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
MOST_VIEWERS = 16
_FOLDER = Path(__file__).parent
_LONGEST_SIDE = 960  # pixels of the picture that is sent
_POLL, _STATUS = 0.03, 1.0  # seconds between looking for an answer, and between two messages of status


def encode_frame(pixels: np.ndarray, longest_side: int = _LONGEST_SIDE) -> bytes:
    """A frame `(H, W, 3)` uint8 as JPEG, reduced to ``longest_side`` pixels."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest_side, longest_side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def answer_message(answer: Answer, top: int = 5) -> dict[str, Any]:
    """What the page needs of an answer.

    ``ages`` are seconds before the newest frame, and ``mask`` holds the newest frame's attention relative to the
    window: a byte a cell, row by row, base64.
    """
    low, high = answer.mask_range
    relative = (answer.mask - low) / max(high - low, 0.1 * high, 1e-6)
    cells = np.round(255 * np.clip(relative, 0, 1)).astype(np.uint8)
    height, width = answer.frame.shape[:2]
    return {
        "number": answer.number,
        "time": round(answer.time, 3),
        "labels": [[name, round(score, 4)] for name, score in answer.labels[:top]],
        "ages": [round(float(answer.time - time), 3) for time in answer.times],
        "importance": [round(float(value), 5) for value in answer.importance],
        "mask": {"rows": cells.shape[0], "columns": cells.shape[1], "data": base64.b64encode(cells.tobytes()).decode()},
        "mask_area": [round(value, 2) for value in answer.mask_area],
        "width": width,
        "height": height,
        "frame": base64.b64encode(encode_frame(answer.frame)).decode(),
        "latency": round(answer.latency, 4),
        "event": answer.event,
    }


class LiveView:
    """What viewers of a watched stream see: its newest answer and its last events; nothing else is kept.

    Args:
        watcher: the stream.
        name: of the stream, for people.
    """

    def __init__(self, watcher: Watcher, name: str | None = None) -> None:
        self.watcher, self.name = watcher, name or watcher.source.name
        self.viewers = 0
        self.closed = False
        self._newest: Answer | None = None
        self._message: tuple[int, str] = (0, "")
        self._events: deque[dict[str, Any]] = deque(maxlen=20)
        self._lock = threading.Lock()

    def publish(self, answer: Answer) -> None:
        """Show an answer; it is encoded only when somebody looks."""
        self._newest = answer

    def report(self, event: ReportedEvent) -> None:
        """Show an event that has ended."""
        said = event.to_dict()
        self._events.append(said | {"clip": Path(said["clip"]).name if said["clip"] else None, "source": self.name})

    def close(self) -> None:
        """Let viewers go."""
        self.closed = True

    @property
    def number(self) -> int:
        """Of the newest answer; 0 before there is one."""
        return self._newest.number if self._newest else 0

    def message(self) -> str:
        """JSON of the newest answer, made once however many look."""
        with self._lock:
            newest = self._newest
            if newest is not None and newest.number != self._message[0]:
                self._message = newest.number, json.dumps(answer_message(newest), separators=(",", ":"))
            return self._message[1]

    def status(self) -> dict[str, Any]:
        """State of the source, counts and the last events, newest first."""
        statistics = self.watcher.statistics
        latency = statistics.percentile(95)
        return {
            "state": self.watcher.state,
            "window": self.watcher.window,
            "looked_at": statistics.looked_at,
            "dropped": statistics.dropped,
            "skipped": statistics.skipped,
            "reconnections": statistics.reconnections,
            "latency_p95": None if math.isnan(latency) else round(latency, 4),
            "events": list(reversed(self._events)),
        }


async def _messages(view: LiveView) -> AsyncIterator[str]:
    view.viewers += 1
    shown, told = 0, -math.inf
    clock = asyncio.get_running_loop().time
    try:
        while not view.closed:
            if clock() - told >= _STATUS:
                told = clock()
                yield f"event: status\ndata: {json.dumps(view.status())}\n\n"
            if view.number != shown:
                shown = view.number
                yield f"event: answer\ndata: {await asyncio.to_thread(view.message)}\n\n"
            await asyncio.sleep(_POLL)
        yield f"event: status\ndata: {json.dumps(view.status() | {'state': 'ended'})}\n\n"
    finally:
        view.viewers -= 1


def live_router(view: LiveView) -> APIRouter:
    """`/live`, a page; `/live/events`, its server-sent events ``answer`` and ``status``; and what the page loads."""
    router = APIRouter(tags=["live"])
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-store"}

    @router.get("/live", response_class=HTMLResponse, include_in_schema=False)
    def page() -> HTMLResponse:
        values = {"name": html.escape(view.name), "data": inline_json({"heatColors": heat_colors().tolist()})}
        return HTMLResponse(fill((_FOLDER / "live.html").read_text(encoding="utf-8"), values), headers=headers)

    @router.get("/live/live.js", include_in_schema=False)
    def script() -> Response:
        text = asset("format.js") + asset("attention.js") + (_FOLDER / "live.js").read_text(encoding="utf-8")
        return Response(text, media_type="text/javascript", headers=headers)

    @router.get("/live/live.css", include_in_schema=False)
    def style() -> Response:
        text = asset("player.css") + (_FOLDER / "live.css").read_text(encoding="utf-8")
        return Response(text, media_type="text/css", headers=headers)

    @router.get("/live/events")
    def events() -> StreamingResponse:
        """Server-sent events: ``answer`` at the set rate, ``status`` once a second."""
        if view.viewers >= MOST_VIEWERS:
            raise HTTPException(503, f"{MOST_VIEWERS} are watching already; try again later")
        return StreamingResponse(_messages(view), media_type="text/event-stream", headers=headers)

    return router


def live_app(view: LiveView, options: ServerOptions) -> FastAPI:
    """A server of nothing but the live page; with ``options.token`` it is opened as ``/live?token=``."""
    app = FastAPI(title="whenwhere watch", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(live_router(view))
    app.include_router(static_router())
    app.add_middleware(Guard, options=options, entrance="/live")

    @app.get("/", include_in_schema=False)
    def root() -> RedirectResponse:
        return RedirectResponse("./live")

    return app


@contextlib.contextmanager
def serve_live(view: LiveView, options: ServerOptions) -> Iterator[str]:
    """Serve the live page from a thread for as long as the block lasts; yields its address.

    Raises:
        ServerError: the port is taken, or the host is none of this machine's.
    """
    listening = listen(options)
    listening.listen(128)  # from here on the address answers
    config = uvicorn.Config(
        live_app(view, options), log_level="warning", access_log=False, timeout_graceful_shutdown=3, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="live page", daemon=True)
    thread.start()
    try:
        host, port = listening.getsockname()[:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}/live"
    finally:
        view.close()
        server.should_exit = True
        thread.join(timeout=5)
        listening.close()
