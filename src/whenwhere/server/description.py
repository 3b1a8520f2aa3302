"""What the API says of itself: the answers it gives besides clips, and the statuses it refuses with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whenwhere.server.options import ServerOptions

UPLOAD_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}
_SENTENCES = {
    401: "a token is needed",
    403: "from a page of another origin",
    404: "no such clip or sample",
    408: "the upload takes too long",
    409: "not done yet",
    413: "the file is too large",
    415: "not a video",
    421: "asked for under a name the server does not go by",
    422: "no video stream, too long, too many pixels or frames, or damaged",
    429: "the queue is full; see Retry-After",
    503: "the server is shutting down; see Retry-After",
    504: "work on the clip takes too long",
    507: "the server's disk is full",
}


@dataclass(frozen=True)
class Detail:
    """What every refusal says: one sentence."""

    detail: str


@dataclass(frozen=True)
class Health:
    """Of the server.

    Attributes:
        status: ok, or stopping.
        model: name of the run.
        classes: that it knows.
        waiting: clips in the queue.
        limits: the server's, by the names of its options.
        version: of whenwhere.
    """

    status: str
    model: str
    classes: list[str]
    waiting: int
    limits: dict[str, float]
    version: str


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the API's description."""
    return {status: {"model": Detail, "description": _SENTENCES[status]} for status in (*statuses, 401, 421)}


def limits_of(options: ServerOptions) -> dict[str, float]:
    """What clients may know."""
    names = ("max_megabytes", "max_seconds", "max_pixels", "max_frames", "queue", "seconds_per_clip", "keep_seconds")
    return {name: getattr(options, name) for name in names}
