"""The messages quoted are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from blocks import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
# Of a shell; of the Makefile; and a sign before a cause that is quoted elsewhere.
OTHERS = {"command not found: whenwhere", "needs Python 3.11 or newer, … is …", "skipped: …", "…, line …: …"}


def messages(path: Path) -> set[str]:
    """Every string of a module, with … where a value is put in."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            found.add("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return {re.sub(r"\[/?red\]", "", message) for message in found}


def quoted() -> list[str]:
    """The first code of the first cell of each row."""
    return re.findall(r"^\| `([^`]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_messages_are_those_of_the_code() -> None:
    known = set().union(*(messages(path) for path in (ROOT / "src").rglob("*.py")))
    assert len(quoted()) > 30
    strange = [text for text in quoted() if text not in OTHERS and not any(text in said for said in known)]
    assert not strange
