"""The pages a server shows."""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Response

from whenwhere.rendering import player_page
from whenwhere.rendering.pages import asset, fill, inline_json
from whenwhere.server.clips import ClipJob
from whenwhere.server.options import ServerOptions
from whenwhere.structures import Explanation

_HERE = Path(__file__).parent
_OWN_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>\n')
_STATIC = {"home.js": "text/javascript", "clip.js": "text/javascript", "home.css": "text/css", "player.css": "text/css"}


@cache
def _own(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def static_router() -> APIRouter:
    """What pages ask for, the login page too."""
    router = APIRouter(include_in_schema=False)

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in _STATIC:
            raise HTTPException(404, "there is no such file")
        return Response(asset(name) if name == "player.css" else _own(name), media_type=_STATIC[name])

    @router.get("/favicon.ico")
    def no_icon() -> Response:
        return Response(status_code=204)  # browsers ask for it, and complain where it is missing

    return router


def home_page(model: str, options: ServerOptions) -> str:
    """Upload, samples and the clips of this server."""
    limits = {"bytes": options.max_bytes, "megabytes": options.max_megabytes}
    said = f"Up to {options.max_megabytes:g} MB and {_duration(options.max_seconds)} each."
    return fill(
        _own("home.html"),
        {
            "model": html.escape(model),
            "limits": html.escape(said),
            "kept": html.escape(_duration(options.keep_seconds)),
            "settings": inline_json(limits),
        },
    )


def login_page(wrong: bool = False) -> str:
    """Asks for the token; ``wrong``: again."""
    said = '<p role="alert" class="failure">This is not the token of this server.</p>' if wrong else ""
    return fill(_own("login.html"), {"said": said})


def clip_page(clip: ClipJob) -> str:
    """The player with a finished clip."""
    assert clip.facts is not None
    base = f"../api/clips/{clip.id}"
    links = {"json": f"{base}/explanation", "overlay": f"{base}/overlay.mp4"}
    page = player_page(Explanation.load(clip.explanation), clip.facts, f"{base}/video", links=links, back="../")
    page = _OWN_POLICY.sub("", page, count=1)  # of a page from disk; here the header holds
    return page.replace("</body>", '<script src="../static/clip.js"></script>\n</body>')


def api_page(description: dict[str, Any]) -> str:
    """The API's description as a table; ``description`` is OpenAPI's."""
    rows = []
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            answers = "".join(
                f"<li><b>{html.escape(status)}</b> {html.escape(answer.get('description', ''))}</li>"
                for status, answer in operation["responses"].items()
            )
            rows.append(
                f"<section><h2><code>{method.upper()} {html.escape(path)}</code></h2>"
                f"<p>{html.escape(operation.get('description', ''))}</p><ul>{answers}</ul></section>"
            )
    return fill(_own("api.html"), {"rows": "\n".join(rows)})


def _duration(seconds: float) -> str:
    for size, name in ((3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {name}{'' if seconds == size else 's'}"
    return f"{seconds:g} seconds"
