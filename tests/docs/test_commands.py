"""Every command of README and docs runs as it stands there, or says why it is not run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from blocks import PAGES, ROOT, RUN, Block, blocks_of, commands_of, run_block

from whenwhere.cli import COMMANDS, main

FAST = [page for page in PAGES if any(block.runs and not block.slow for block in blocks_of(page))]
SLOW = [page for page in PAGES if any(block.runs and block.slow for block in blocks_of(page))]
ALL = [block for page in PAGES for block in blocks_of(page)]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", FAST, ids=_name)
def test_commands_run(page: Path, workplace: Path) -> None:
    """But for the slow ones, instead of which there is a run already."""
    _run([block for block in blocks_of(page) if block.runs and not block.slow], workplace)


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=_name)
def test_commands_run_with_those_that_take_longer(page: Path, workplace: Path, hub_is_cached: None) -> None:
    _run([block for block in blocks_of(page) if block.runs], workplace)


def _run(blocks: list[Block], folder: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks:
        print(f"--- {block}")
        run_block(block, folder, names)


def test_a_block_that_is_not_run_says_why() -> None:
    assert not [str(block) for block in ALL if not block.marks.get("not run", "a reason")]
    assert not [str(block) for block in ALL if not block.marks.get("slow", "a reason")]


def test_no_command_escapes() -> None:
    """Whatever looks like a command stands in a block that is run, but for those of another system's shell."""
    escaped = [
        str(block)
        for block in ALL
        if block.language not in (*RUN, "powershell")
        and re.search(r"^(\$ )?(whenwhere|make|pip|python3?) ", block.text, re.MULTILINE)
    ]
    assert not escaped


def test_known_languages_only() -> None:
    """One misspelt, `sh` for instance, would not be run."""
    known = {*RUN, "text", "json", "yaml", "csv", "powershell"}
    assert not [f"{block}: {block.language or 'none'}" for block in ALL if block.language not in known]


def test_a_mark_stands_directly_above_a_block() -> None:
    """One that does not marks nothing."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        marks = len(re.findall(r"^ *<!-- (?:not run|slow|exit status): ", text, re.MULTILINE))
        assert marks == sum(len(block.marks) for block in blocks_of(page)), _name(page)


@cache
def _help(command: str) -> str:
    from contextlib import redirect_stdout
    from io import StringIO

    said = StringIO()
    with redirect_stdout(said), pytest.raises(SystemExit):
        main([command, "--help"])
    return said.getvalue()


def _options(command: str) -> set[str]:
    return set(re.findall(r"--[\w.-]*\w", _help(command))) | {"--help"}


def _commands_with_options() -> Iterator[tuple[str, str, set[str]]]:
    """Place, command and options of every whenwhere command in a block or in inline code."""
    for page in PAGES:
        spans = [(str(block), text) for block in blocks_of(page) for text in commands_of(block.text)]
        prose = _without_blocks(page)
        spans += [(_name(page), text) for text in re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", prose)]
        for place, text in spans:
            for command, rest in re.findall(r"\bwhenwhere (\w+)([^;&|]*)", text):
                if command in COMMANDS:
                    yield place, command, set(re.findall(r"(?<![\w-])--[\w.-]*\w", rest))


def _without_blocks(page: Path) -> str:
    lines = page.read_text(encoding="utf-8").split("\n")
    for block in blocks_of(page):
        for number in range(block.line - 1, block.line + block.text.count("\n") + 2):
            lines[number] = ""
    return "\n".join(lines)


def test_options_of_commands_exist() -> None:
    strange = [
        f"{place}: whenwhere {command} has no {option}"
        for place, command, options in _commands_with_options()
        for option in sorted(options - _options(command))
    ]
    assert not strange


def test_options_named_alone_exist() -> None:
    """`--x` of some command, and `data.x` and the like of a recipe."""
    known = set().union(*map(_options, COMMANDS)) | {"--version"}
    strange = []
    for page in PAGES:
        for code in re.findall(r"`([^`\n]+)`", _without_blocks(page)):
            if re.match(r"--[a-z]", code):
                strange += [f"{_name(page)}: {x}" for x in re.findall(r"(?<![\w-])--[\w.-]*\w", code) if x not in known]
            if re.fullmatch(r"(data|backbone|model|loss|fit)(\.[a-z_0-9]+)+", code) and f"--{code}" not in known:
                strange.append(f"{_name(page)}: {code}")
    assert not strange


def test_commands_named_exist() -> None:
    named = [(str(block), text) for block in ALL for text in commands_of(block.text)]
    named += [
        (_name(page), text) for page in PAGES for text in re.findall(r"`(whenwhere [^`\n]+)`", _without_blocks(page))
    ]
    strange = [
        f"{place}: {command}"
        for place, text in named
        for command in re.findall(r"(?:^|[;&|(] *|do )whenwhere +([a-z]\w*)", text)
        if command not in COMMANDS
    ]
    assert not strange


def test_help_in_the_readme_is_the_real_one(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert capsys.readouterr().out.strip() in [
        block.text.strip() for block in blocks_of(ROOT / "README.md") if block.language == "text"
    ]
