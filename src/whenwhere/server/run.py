"""Start the server, and stop it without losing or leaving anything."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from whenwhere.recognizer import load
from whenwhere.server.app import create_app
from whenwhere.server.isolation import start_forking
from whenwhere.server.jobs import Jobs
from whenwhere.server.options import ServerError, ServerOptions
from whenwhere.server.samples import Samples, render_samples

_MOST_CONNECTIONS = 256
_LAST_ANSWERS = 3  # seconds for answers that are being sent when everything else is over
_HEAD_SECONDS = 10.0  # for the head of a request, from when it is connected


def serve(run: Path, options: ServerOptions, say: Callable[[str], None]) -> None:
    """Serve the model of a run until a signal (SIGINT, SIGTERM) says to stop; a second one stops at once.

    Raises:
        ServerError: the address is taken or not this machine's, or there are no samples.
        CheckpointError: no model there.
    """
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, _end)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    listening = listen(options)
    with listening:
        start_forking()
        samples = Samples(options.samples) if options.samples else None  # before the model, which takes longer to load
        jobs = Jobs(load(run), options)
        try:
            app = create_app(jobs, samples or Samples(render_samples(jobs.folder / "samples")))
            config = uvicorn.Config(
                app,
                log_config=None,
                access_log=False,  # addresses may hold the token
                server_header=False,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_graceful_shutdown=_LAST_ANSWERS,
            )
            host, port = listening.getsockname()[:2]
            say(f"serving {jobs.pipeline.model} at http://{f'[{host}]' if ':' in host else host}:{port}/")
            if options.token is None and not _is_this_machine(host):
                say(
                    "warning: whoever reaches this address may use it; give --token or the variable WHENWHERE_TOKEN, "
                    "and put HTTPS in front of it"
                )
            _Server(config, jobs).run([listening])
        finally:
            jobs.close()


class _Server(uvicorn.Server):
    """On the first signal it takes no more clips and goes on until all are done or the grace time is over."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs) -> None:
        super().__init__(config)
        self._jobs = jobs
        self._silent: dict[Any, float] = {}  # connections that ask for nothing, and since when

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stop_asked:
            self.force_exit = self.should_exit = True
        self._stop_asked = True

    _stop_asked = False

    async def on_tick(self, counter: int) -> bool:
        if self._stop_asked and not self.should_exit:
            self._jobs.stop_taking()
            self.should_exit = self._jobs.settled()
        if counter % 10 == 0:
            self._let_go()
        return await super().on_tick(counter)

    def _let_go(self) -> None:
        """Close connections that do not come to their request's end, or nobody else would be served one day.

        Uvicorn itself waits for the first byte of a request, and for what follows it, forever.
        """
        now, silent = time.monotonic(), dict[Any, float]()
        for connection in list(self.server_state.connections):
            request = getattr(connection, "cycle", None)
            if request is not None and not request.response_complete:
                continue
            silent[connection] = since = self._silent.get(connection, now)
            longest = self._jobs.options.upload_seconds
            if request is None or not request.more_body:  # otherwise it was answered before it was sent
                longest = min(longest, _HEAD_SECONDS)
            if now - since > longest:
                connection.transport.close()
        self._silent = silent


def listen(options: ServerOptions) -> socket.socket:
    """A socket bound to the server's address.

    Raises:
        ServerError: the address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise ServerError(
            f"cannot listen on {options.host}, port {options.port} ({error}); choose another --host or --port"
        ) from error
    return listening


def _end(sig: int, frame: FrameType | None) -> None:
    """Before the server listens, and after: leave as from a mistake, so that nothing stays behind."""
    raise SystemExit(128 + sig)


def _is_this_machine(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback
