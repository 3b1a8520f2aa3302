"""Who may ask: checks of host, origin and token before anything else, and the headers every answer has."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whenwhere.server.options import ServerOptions
from whenwhere.server.pages import login_page

_OPEN = ("/api/health", "/static/", "/favicon.ico")  # says nothing about clips
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}


class Guard:
    """ASGI middleware.

    A name that leads here is not proof that somebody meant to: a page elsewhere may point a name of its own at this
    machine (DNS rebinding) or send forms here (CSRF). So the server answers to addresses and its own names only, and
    requests that change something must not come from pages of another origin.

    Args:
        entrance: path of the page where the token is asked for and taken.
    """

    def __init__(self, app: ASGIApp, options: ServerOptions, entrance: str = "/") -> None:
        self.app, self.token, self.entrance = app, options.token, entrance
        self.hosts = {"localhost", socket.gethostname().lower(), *(name.lower() for name in options.allowed_hosts)}
        self.session = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        page = scope["method"] == "GET" and not scope["path"].startswith("/api/")
        login = (
            scope["path"] == self.entrance
            and self.token is not None
            and "token" in query
            and self._is_token(query["token"][0])
        )

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    own.setdefault(name, value)
                if login:
                    own.append("set-cookie", self._cookie(scope))
            await send(message)

        refusal = self._refusal(scope, headers, page, login)
        await (refusal or self.app)(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Headers, page: bool, login: bool) -> Response | None:
        if not self._is_own_host(headers.get("host", "")):
            return _told(
                421, "the server does not go by this name; use its address, or start it with --allowed_hosts NAME"
            )
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not _same_origin(headers):
            return _told(403, "requests from pages of another origin are not taken")
        if self.token is None or login or self._is_known(headers, _cookie_name(scope)):
            return None
        if any(scope["path"].startswith(path) for path in _OPEN):
            return None
        if scope["path"] == self.entrance:
            return HTMLResponse(login_page(wrong=b"token=" in scope["query_string"]), 401)
        if page:  # relative, for the server may stand behind another one, below a path of that
            up = "../" * (scope["path"].count("/") - 1) or "./"
            return RedirectResponse(up + self.entrance[1:], 303)
        return _told(
            401, "a token is needed: send the header Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )

    def _is_own_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self.hosts or _is_address(name)

    def _cookie(self, scope: Scope) -> str:
        """Without a path of its own it is sent below the page that it was got from, also behind a proxy's path."""
        secure = "; Secure" if scope["scheme"] == "https" else ""
        return f"{_cookie_name(scope)}={self.session}; HttpOnly; SameSite=Strict{secure}"

    def _is_known(self, headers: Headers, cookie_name: str) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(cookie_name)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self.session.encode())

    def _is_token(self, given: str) -> bool:
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())


def _cookie_name(scope: Scope) -> str:
    """Browsers do not tell ports apart: servers of one machine would take each other's cookies away."""
    return f"whenwhere_{(scope.get('server') or ('', ''))[1]}"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(headers: Headers) -> bool:
    """As far as the browser says; programs send neither header."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _told(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": sentence}, status, headers)
