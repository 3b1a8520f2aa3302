"""What docstrings of the package need to become pages (a Griffe extension that mkdocs.yml names).

They are written to be read in the source: names that share a description stand on one line, and others are referred to
by roles.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_SHARED = re.compile(r"^(?P<indent> +)(?P<names>\w+(?:, \w+)+): (?P<text>.*(?:\n(?P=indent) +\S.*)*)$", re.MULTILINE)
_SECTIONS = re.compile(r"^(Args|Attributes):\n(?:(?: +.*)?\n)*", re.MULTILINE)
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr|exc):`~?([^`]+)`")


def _one_each(section: re.Match[str]) -> str:
    def lines(shared: re.Match[str]) -> str:
        return "\n".join(f"{shared['indent']}{name}: {shared['text']}" for name in shared["names"].split(", "))

    return _SHARED.sub(lines, section[0])


def readable(docstring: str) -> str:
    """A docstring with a line for every name, and code instead of roles."""
    text = _SECTIONS.sub(_one_each, docstring + "\n")
    return _ROLE.sub(r"`\1`", text).rstrip("\n")


class Docstrings(Extension):
    """Makes every docstring readable before it is parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = readable(obj.docstring.value)
