"""Receive a file as it comes: straight to disk, never more of it than allowed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from whenwhere.server.options import Refusal, ServerOptions

log = logging.getLogger("whenwhere.server")

_ENVELOPE = 10_000  # bytes of a form that are not its file
_DRAIN_SECONDS = 3.0
_CHECK_SECONDS = 0.5


class _FilePart:
    """Writes the content of the form field ``file``; everything else in the form is passed over."""

    def __init__(self, boundary: bytes, path: Path, most: int) -> None:
        self.name: str | None = None
        self.written = 0
        self._most = most
        self._field, self._value, self._headers = b"", b"", dict[str, bytes]()
        self._open, self._complete = False, False
        self._file = path.open("xb")
        callbacks = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
        }
        self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]

    def feed(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def close(self) -> None:
        self._file.close()

    @property
    def whole(self) -> bool:
        return self._complete

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value
        self._field, self._value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        self._open = self.name is None and options.get(b"name") == b"file" and b"filename" in options
        if self._open:
            self.name = options[b"filename"].decode("utf-8", "replace")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if not self._open:
            return
        self.written += end - start
        if self.written > self._most:
            raise too_large(self._most)
        self._file.write(data[start:end])

    def _on_part_end(self) -> None:
        self._complete = self._complete or self._open
        self._open = False


def too_large(most: int) -> Refusal:
    return Refusal(413, f"the file is larger than this server takes, {most / 1e6:g} MB: cut or compress it")


def no_room(error: OSError) -> Refusal:
    log.error("a file cannot be written: %s", error.strerror)
    return Refusal(507, "the server has no room for the file; try again later", retry_after=60)


async def receive_upload(request: Request, path: Path, options: ServerOptions, check_open: Callable[[], None]) -> str:
    """Write the file of a multipart form to ``path``.

    Args:
        check_open: called now and then; the upload ends when it raises.

    Returns:
        The name it was sent under, as it was sent.

    Raises:
        Refusal: 408 too slow; 413 too large; 415 not a form; 422 a form without the file, or with much else; 507 the
            disk is full.
        ClientDisconnect: the connection was cut.
    """
    body = _Body(request, check_open)
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    boundary = parameters.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
        raise Refusal(415, "send the clip as multipart/form-data, in a field called file")
    if int(request.headers.get("content-length") or 0) > options.max_bytes + _ENVELOPE:
        await body.drain()
        raise too_large(options.max_bytes)
    part = _FilePart(boundary, path, options.max_bytes)
    received = 0
    try:
        async with asyncio.timeout(options.upload_seconds):
            async for chunk in body.chunks():
                received += len(chunk)
                part.feed(chunk)
                if received - part.written > _ENVELOPE:
                    raise Refusal(
                        422, "the form holds much besides a file; send the clip alone, in a field called file"
                    )
            part.close()
    except TimeoutError:
        raise Refusal(
            408, f"the upload took longer than {options.upload_seconds:g} s; try again on a faster connection"
        ) from None
    except MultipartParseError:
        raise Refusal(422, "the form cannot be read; send the clip as multipart/form-data") from None
    except OSError as error:
        await body.drain()
        raise no_room(error) from None
    except Refusal:
        await body.drain()
        raise
    finally:
        with suppress(OSError):
            part.close()
    if part.name is None or not part.whole:
        raise Refusal(422, "the form has no whole file in a field called file")
    return part.name


class _Body:
    """A request's body as it comes; unlike the request's own stream it is heard from while nothing comes, too."""

    def __init__(self, request: Request, check_open: Callable[[], None]) -> None:
        self._request, self._check_open, self._more = request, check_open, True

    async def chunks(self) -> AsyncIterator[bytes]:
        while self._more:
            self._check_open()
            try:
                async with asyncio.timeout(_CHECK_SECONDS):
                    chunk = await self._receive()
            except TimeoutError:
                continue
            yield chunk

    async def drain(self) -> None:
        """Read on for a moment: a client that is still sending would see a cut connection instead of the answer."""
        with suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while self._more:
                    await self._receive()

    async def _receive(self) -> bytes:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._more = message.get("more_body", False)
        return message.get("body", b"")
