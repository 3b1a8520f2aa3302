"""The HTTP side: pages and a JSON API over :class:`whenwhere.server.jobs.Jobs`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from whenwhere import __version__
from whenwhere.server import pages
from whenwhere.server.clips import ENDED, ClipJob, ClipStatus
from whenwhere.server.description import UPLOAD_FORM, Health, limits_of, refusals
from whenwhere.server.guard import Guard
from whenwhere.server.jobs import Jobs
from whenwhere.server.options import Refusal
from whenwhere.server.samples import Samples
from whenwhere.server.uploads import receive_upload

_SWEEP_SECONDS = 30.0
_PLAYER_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_app(jobs: Jobs, samples: Samples) -> FastAPI:
    """The application around jobs that somebody else starts and closes."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(jobs))
        yield
        sweeper.cancel()

    app = FastAPI(
        title="whenwhere",
        version=__version__,
        description="What, when and where in videos. Times are seconds, boxes pixels of the original frame.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, options=jobs.options)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _failed)
    _add_api(app, jobs, samples)
    _add_results(app, jobs)
    _add_pages(app, jobs)
    return app


async def _sweep(jobs: Jobs) -> None:
    while True:
        await asyncio.sleep(min(_SWEEP_SECONDS, jobs.options.keep_seconds / 4))
        await run_in_threadpool(jobs.sweep)


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after is not None else {}
    return JSONResponse({"detail": str(refusal)}, refusal.status, headers)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "something went wrong on the server; its log says what"}, 500)


def _add_api(app: FastAPI, jobs: Jobs, samples: Samples) -> None:
    @app.get("/api/health", tags=["server"])
    def health() -> Health:
        """Whether the server runs, its model, and what it allows."""
        return Health(
            "stopping" if jobs.stopping else "ok",
            jobs.pipeline.model,
            list(jobs.pipeline.recognizer.classes),
            jobs.waiting,
            limits_of(jobs.options),
            __version__,
        )

    @app.post(
        "/api/clips",
        status_code=202,
        tags=["clips"],
        openapi_extra=UPLOAD_FORM,
        responses=refusals(403, 408, 413, 415, 422, 429, 503, 507),
    )
    async def send_clip(request: Request) -> ClipStatus:
        """Send a clip. It waits in the queue; its id is in the answer."""
        with jobs.arriving() as clip:
            clip.rename(await receive_upload(request, clip.upload, jobs.options, jobs.check_open))
            await run_in_threadpool(jobs.look, clip)
        return jobs.status(clip)

    @app.get("/api/clips", tags=["clips"])
    def list_clips() -> list[ClipStatus]:
        """All clips this server has, newest first."""
        return jobs.statuses()

    @app.get("/api/clips/{clip_id}", tags=["clips"], responses=refusals(404))
    def clip_status(clip_id: str) -> ClipStatus:
        """State, phase and progress of a clip."""
        return jobs.status(jobs.clip(clip_id))

    @app.delete("/api/clips/{clip_id}", status_code=204, tags=["clips"], responses=refusals(403, 404))
    def remove_clip(clip_id: str) -> None:
        """Cancel what is done with a clip, and delete it and all that was made of it."""
        jobs.remove(jobs.clip(clip_id))

    @app.get("/api/samples", tags=["samples"])
    def list_samples() -> list[str]:
        """Names of clips that lie ready to be tried."""
        return samples.names

    @app.post(
        "/api/samples/{name}", status_code=202, tags=["samples"], responses=refusals(403, 404, 422, 429, 503, 507)
    )
    async def try_sample(name: str) -> ClipStatus:
        """Explain a sample, as if it had been sent."""
        with jobs.arriving(name) as clip:
            await run_in_threadpool(samples.copy, name, clip.upload)
            await run_in_threadpool(jobs.look, clip)
        return jobs.status(clip)


def _add_results(app: FastAPI, jobs: Jobs) -> None:
    events = "events called status, their data a ClipStatus"
    stream: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}, "description": events}}

    @app.get(
        "/api/clips/{clip_id}/events",
        tags=["results"],
        response_class=StreamingResponse,
        responses={**stream, **refusals(404)},
    )
    async def clip_events(clip_id: str) -> StreamingResponse:
        """Server-sent events: the clip's status whenever it changes, until it has ended."""
        return StreamingResponse(_events(jobs, jobs.clip(clip_id)), media_type="text/event-stream")

    @app.get("/api/clips/{clip_id}/explanation", tags=["results"], responses=refusals(404, 409, 422, 503, 504))
    def clip_explanation(clip_id: str) -> dict[str, Any]:
        """What, when and where: the content of `explanation.json`."""
        return _file_response(jobs.finished(clip_id).explanation, "application/json")  # type: ignore[return-value]

    @app.get(
        "/api/clips/{clip_id}/video",
        tags=["results"],
        response_class=FileResponse,
        responses=refusals(404, 409, 422),
    )
    def clip_video(clip_id: str) -> Response:
        """The video, in H.264 where browsers could not play it as it was sent; takes Range."""
        return _file_response(jobs.finished(clip_id).video, "video/mp4")

    @app.post(
        "/api/clips/{clip_id}/overlay",
        status_code=202,
        tags=["results"],
        responses=refusals(403, 404, 409, 422, 429, 503, 504),
    )
    def draw_overlay(clip_id: str) -> ClipStatus:
        """Have the overlay video drawn; how far that is stands in the clip's status as `overlay`."""
        clip = jobs.finished(clip_id)
        jobs.overlay(clip)
        return jobs.status(clip)

    @app.get(
        "/api/clips/{clip_id}/overlay.mp4",
        tags=["results"],
        response_class=FileResponse,
        responses=refusals(404, 409, 422, 429, 503, 504),
    )
    async def clip_overlay(clip_id: str) -> Response:
        """The video with attention, boxes and importance drawn in; when it is not drawn yet, after that."""
        clip = jobs.finished(clip_id)
        path = await asyncio.shield(asyncio.wrap_future(jobs.overlay(clip)))  # others may wait for it as well
        return _file_response(path, "video/mp4", f"{Path(clip.name).stem}_overlay.mp4")

    @app.get(
        "/api/clips/{clip_id}/thumbnail.jpg",
        tags=["results"],
        response_class=FileResponse,
        responses=refusals(404, 409, 422),
    )
    def clip_thumbnail(clip_id: str) -> Response:
        """The most important frame with attention over it."""
        return _file_response(jobs.finished(clip_id).folder / "thumbnail.jpg", "image/jpeg")


def _add_pages(app: FastAPI, jobs: Jobs) -> None:
    app.include_router(pages.static_router())

    @app.get("/", include_in_schema=False)
    def home() -> HTMLResponse:
        return HTMLResponse(pages.home_page(jobs.pipeline.model, jobs.options))

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(pages.api_page(app.openapi()))

    @app.get("/clips/{clip_id}", include_in_schema=False)
    def clip_page(clip_id: str) -> Response:
        try:
            page = pages.clip_page(jobs.finished(clip_id))
        except (Refusal, FileNotFoundError):
            return RedirectResponse("../", 303)  # the list says what became of it
        return HTMLResponse(page, headers={"content-security-policy": _PLAYER_POLICY})


def _file_response(path: Path, kind: str, name: str | None = None) -> FileResponse:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise Refusal(404, "the clip was removed") from None
    return FileResponse(path, media_type=kind, filename=name, stat_result=found)


async def _events(jobs: Jobs, clip: ClipJob) -> AsyncIterator[str]:
    said, quiet = "", 0
    while True:
        status = jobs.status(clip)
        now = json.dumps(asdict(status))
        quiet = 0 if now != said else quiet + 1
        if now != said:
            said = now
            yield f"event: status\ndata: {now}\n\n"
        elif quiet % 150 == 0:
            yield ": still here\n\n"  # so that nobody between takes the connection for dead
        if status.state in ENDED:
            return
        await asyncio.sleep(0.1)
