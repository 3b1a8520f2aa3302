"""A real browser for tests of pages."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Opened:
    """A page, and what it did that it should not."""

    page: Any
    errors: list[str]
    requests: list[str]


def wait_until(page: Any, condition: str) -> None:
    """Poll from here: the page's own policy forbids the strings that the browser would have to evaluate."""
    deadline = time.monotonic() + 10
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"still not true after 10 s: {condition}"
        page.wait_for_timeout(20)


PLAYER_READY = "window.whenwhere && whenwhere.video.readyState >= 2"


def open_page(browser: Any, where: Path | str, ready: str = PLAYER_READY, **context: Any) -> Opened:
    """Open a file or an address in a context of its own, and wait until the expression ``ready`` holds."""
    page = browser.new_context(**context).new_page()
    opened = Opened(page, [], [])
    page.on("pageerror", lambda error: opened.errors.append(str(error)))
    page.on("console", lambda line: opened.errors.append(line.text) if line.type in ("error", "warning") else None)
    page.on("request", lambda request: opened.requests.append(request.url))
    page.goto(where.as_uri() if isinstance(where, Path) else where)
    wait_until(page, ready)
    return opened
