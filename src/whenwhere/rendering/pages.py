"""What the HTML pages share: templates, and data that may stand inside them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

INLINE_LIMIT = 50_000_000  # bytes; beyond this a page becomes slow to open and what it shows goes beside it
_ASSETS = Path(__file__).parent


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace each ``{{name}}`` once; what is put in is not searched again.

    Bytes of file names that are no UTF-8 become replacement characters, since a page is UTF-8.
    """
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)
    return page.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def address(path: str) -> str:
    """A relative path as an address, byte by byte: file names need be neither ASCII nor UTF-8."""
    return quote(os.fsencode(path))


def inline_json(data: object) -> str:
    """JSON that may stand inside ``<script>``: no ``<`` can end the element or open a comment."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
