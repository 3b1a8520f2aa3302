"""What a server allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path

from whenwhere.errors import WhenwhereError


class ServerError(WhenwhereError):
    """The server cannot start as it was asked to."""


class Refusal(WhenwhereError):
    """What a client is told instead of an answer.

    Attributes:
        status: of HTTP.
        retry_after: seconds after which it may be asked again; None: asking again will not help.
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True)
class ServerOptions:
    """Where a server listens and what it allows.

    Attributes:
        host: address to listen on; 127.0.0.1 is this machine alone, 0.0.0.0 every network it is in.
        port: 0 takes a free one.
        token: what clients have to know; None: nothing. Also taken from the variable WHENWHERE_TOKEN, where other
            users of the machine do not see it.
        allowed_hosts: names, besides addresses and this machine's own, under which the server may be asked for.
        samples: folder of videos to offer; None: clips rendered at the start.
        folder: where uploads lie while they are kept, in a new folder in it; None: the system's temporary one.
        max_megabytes: of an upload.
        max_seconds: duration of a clip.
        max_pixels: width times height of a frame.
        max_frames: of a clip.
        queue: clips that wait; more are refused.
        workers: clips worked on at once, each with a process that decodes it.
        seconds_per_clip: from when work on a clip begins until it is done.
        decoder_megabytes: memory of a process that decodes.
        upload_seconds: for the whole of an upload.
        grace_seconds: for what is queued when the server is asked to stop.
        keep_seconds: after which a clip and all that was made of it is removed.
        keep_clips: finished clips kept; the oldest go first.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    samples: Path | None = None
    folder: Path | None = None
    max_megabytes: float = 500.0
    max_seconds: float = 600.0
    max_pixels: int = 4096 * 2304
    max_frames: int = 100_000
    queue: int = 20
    workers: int = 2
    seconds_per_clip: float = 120.0
    decoder_megabytes: float = 2000.0
    upload_seconds: float = 300.0
    grace_seconds: float = 20.0
    keep_seconds: float = 3600.0
    keep_clips: int = 100

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            least = 0 if each.name in ("port", "grace_seconds") else 1e-9
            if isinstance(value, int | float) and not least <= value < math.inf:
                raise ServerError(f"{each.name} must be {'positive' if least else 'at least 0'}, got {value}")
        if self.token is not None and (len(self.token) < 8 or not self.token.isascii() or not self.token.isprintable()):
            raise ServerError(
                "token must be at least 8 characters of plain ASCII; make one with `openssl rand -hex 16`"
            )

    @property
    def max_bytes(self) -> int:
        """Of an upload."""
        return int(self.max_megabytes * 1e6)
