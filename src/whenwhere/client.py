"""A client of ``whenwhere serve``; needs nothing but the standard library and numpy.

::

    from whenwhere.client import Client

    explanation = Client("http://127.0.0.1:8000").explain("clip.mp4")
"""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from whenwhere.errors import WhenwhereError
from whenwhere.structures import Explanation

_BUSY = (429, 503)
_CHUNK = 1 << 16


class ClientError(WhenwhereError):
    """The server cannot be reached, or refuses; the message is its sentence.

    Attributes:
        status: of HTTP; None: there was no answer.
        retry_after: seconds after which the server wants to be asked again, if it said so.
    """

    def __init__(self, sentence: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.status, self.retry_after = status, retry_after


class Client:
    """Talks to one server; every call opens a connection of its own, so threads may share it.

    Args:
        address: of the server, ``http://`` or ``https://``.
        token: if it asks for one.
        timeout: seconds of silence after which the server counts as lost.
    """

    def __init__(self, address: str, token: str | None = None, timeout: float = 60.0) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClientError(f"{address}: not an address; expected http://HOST:PORT")
        self.address, self.token, self.timeout = address.rstrip("/"), token, timeout
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._base = parts.path.rstrip("/")

    def explain(
        self,
        path: str | Path,
        wait: float = 600.0,
        keep: bool = False,
        say: Callable[[dict[str, Any]], None] | None = None,
    ) -> Explanation:
        """Send a clip, wait for its explanation, and have the server forget the clip.

        A server that is busy is asked again.

        Args:
            path: a video file.
            wait: seconds for all of it.
            keep: leave the clip on the server's page.
            say: called with the clip's status when it changes.

        Raises:
            ClientError: the server refuses, the clip fails, or the time is over.
            OSError: the file cannot be read.
        """
        deadline = time.monotonic() + wait
        clip_id = self._send_patiently(Path(path), deadline)
        try:
            status = self._follow(clip_id, Path(path), deadline, wait, say)
            if status["state"] == "failed":
                raise ClientError(f"{path}: {status['error']['message']}", status["error"]["status"])
            return self.explanation(clip_id)
        finally:
            if not keep:
                with suppress(ClientError):  # the server forgets it after its time, or is gone
                    self.delete(clip_id)

    def send(self, path: str | Path) -> str:
        """Send a clip; returns its id. The server goes on without waiting for anybody."""
        path = Path(path)
        boundary = secrets.token_hex(16)
        name = path.name.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        with path.open("rb") as file:  # here, where an error is not taken for one of the connection

            def body() -> Iterator[bytes]:
                yield head
                while chunk := file.read(_CHUNK):
                    yield chunk
                yield tail

            headers = {
                "Content-Type": f"multipart/form-data; boundary={boundary}",
                "Content-Length": str(len(head) + path.stat().st_size + len(tail)),
            }
            return self._json("POST", "/api/clips", headers, body())["id"]

    def status(self, clip_id: str) -> dict[str, Any]:
        """State, phase, progress and position of a clip."""
        return self._json("GET", f"/api/clips/{quote(clip_id)}")

    def clips(self) -> list[dict[str, Any]]:
        """Status of all clips of the server."""
        return self._json("GET", "/api/clips")

    def explanation(self, clip_id: str) -> Explanation:
        """Of a clip that is done; the explanation's ``path`` is the name it was sent under."""
        return Explanation.from_dict(self._json("GET", f"/api/clips/{quote(clip_id)}/explanation"))

    def delete(self, clip_id: str) -> None:
        """Cancel a clip, or remove it and all that was made of it; one that is gone already is no error."""
        try:
            self._request("DELETE", f"/api/clips/{quote(clip_id)}")
        except ClientError as error:
            if error.status != 404:
                raise

    def health(self) -> dict[str, Any]:
        """The server's model and limits."""
        return self._json("GET", "/api/health")

    def _send_patiently(self, path: Path, deadline: float) -> str:
        while True:
            try:
                return self.send(path)
            except ClientError as error:
                pause = error.retry_after or 1.0
                if error.status not in _BUSY or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)

    def _follow(
        self, clip_id: str, path: Path, deadline: float, wait: float, say: Callable[[dict[str, Any]], None] | None
    ) -> dict[str, Any]:
        """The status a clip ends in."""
        said: dict[str, Any] = {}
        while True:
            status = self.status(clip_id)
            if say is not None and status != said:
                say(status)
            said = status
            if status["state"] in ("done", "failed"):
                return status
            if time.monotonic() > deadline:
                raise ClientError(f"{path}: not explained within {wait:g} s; the server is at: {status['phase']}")
            time.sleep(0.2)

    def _json(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: Iterator[bytes] | None = None
    ) -> Any:
        answer = self._request(method, path, headers, body)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise ClientError(f"{self.address}: answers, but not as whenwhere does; check the address") from error

    def _request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: Iterator[bytes] | None = None
    ) -> bytes:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self.timeout)
        own = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            # A server that refuses does not read on; its answer may be there all the same.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, self._base + path, body, {**(headers or {}), **own})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ClientError(
                f"{self.address}: no answer ({error}); check that `whenwhere serve` runs there and the address is right"
            ) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise ClientError(_sentence(content, response.status), response.status, _seconds(response.headers))
        return content


def _sentence(content: bytes, status: int) -> str:
    try:
        return str(json.loads(content)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered with status {status}"


def _seconds(headers: http.client.HTTPMessage) -> float | None:
    try:
        return float(headers["Retry-After"])
    except (TypeError, ValueError):
        return None
