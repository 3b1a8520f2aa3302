"""Fenced blocks of Markdown pages, and how they are run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = ("bash", "python")

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)(?P<language>[^\s`]*)[^`]*$")
_MARK = re.compile(r"^<!-- (?P<kind>not run|slow|exit status): (?P<value>.*) -->$")
_NOT_PLAIN = re.compile(r"[|;&$<>*?`(]")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page, line: where its fence opens; lines count from 1.
        language: after the fence.
        text: what is in it, without the fence's indentation.
        marks: of the comments directly above: ``not run``, ``slow`` and ``exit status`` with what follows the colon.
    """

    page: Path
    line: int
    language: str
    text: str
    marks: dict[str, str]

    @property
    def runs(self) -> bool:
        return self.language in RUN and "not run" not in self.marks

    @property
    def slow(self) -> bool:
        return "slow" in self.marks

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}, line {self.line}"


def blocks_of(page: Path, text: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in order."""
    lines = (page.read_text(encoding="utf-8") if text is None else text).split("\n")
    found, number = [], 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if not fence:
            number += 1
            continue
        end = next(
            (at for at in range(number + 1, len(lines)) if lines[at].strip() == fence["ticks"]),
            len(lines) - 1,
        )
        inside = [line.removeprefix(fence["indent"]) for line in lines[number + 1 : end]]
        found.append(Block(page, number + 1, fence["language"], "\n".join(inside), _marks_above(lines, number)))
        number = end + 1
    return found


def _marks_above(lines: list[str], number: int) -> dict[str, str]:
    marks = {}
    for line in reversed(lines[:number]):
        if not (mark := _MARK.match(line.strip())):
            break
        marks[mark["kind"]] = mark["value"].strip()
    return marks


def commands_of(text: str) -> list[str]:
    """Lines of a shell block, continued ones joined, comments and empty ones left out."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    return [line.strip() for line in joined.split("\n") if line.strip() and not line.lstrip().startswith("#")]


def run_block(block: Block, folder: Path, names: dict[str, Any]) -> None:
    """Run a block in ``folder``; python blocks of a page share ``names``.

    Commands of whenwhere alone go through its main function, which spares seconds of imports each; whatever
    needs a shell gets one.

    Raises:
        AssertionError: another exit status than 0, or than the one it is marked with.
    """
    if block.language == "python":
        exec(compile(block.text, str(block), "exec"), names)
        return
    expected, commands = int(block.marks.get("exit status", 0)), commands_of(block.text)
    for command in commands:
        _make_room(shlex.split(command, comments=True), folder)
    if all(command.startswith("whenwhere ") and not _NOT_PLAIN.search(command) for command in commands):
        statuses = [(_main(command), command) for command in commands]
    else:
        statuses = [(_shell(block.text, folder), block.text)]
    for status, command in statuses:
        assert status == (expected if command == statuses[-1][1] else 0), f"{block}: exit status {status} of {command}"


def _make_room(words: list[str], folder: Path) -> None:
    """A page that trains a run of the name of the prepared one means its own."""
    if (
        words[:2] in (["whenwhere", "train"], ["whenwhere", "finetune"])
        and "--resume" not in words
        and "--out" in words
    ):
        shutil.rmtree(folder / words[words.index("--out") + 1], ignore_errors=True)


def _main(command: str) -> int:
    from whenwhere.cli import main

    try:
        return main(shlex.split(command, comments=True)[1:])
    except SystemExit as stop:
        return int(stop.code or 0)


def _shell(text: str, folder: Path) -> int:
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "whenwhere").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m whenwhere.cli "$@"\n')
    (programs / "whenwhere").chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=environment, timeout=900).returncode
