from __future__ import annotations

from pathlib import Path

import pytest
from blocks import ROOT, Block, blocks_of, commands_of, run_block

PAGE = ROOT / "page.md"

TEXT = """
<!-- slow: trains -->
<!-- exit status: 1 -->
```bash
whenwhere explain clip.mp4 \\
    --out there   # a comment
# another
```

<!-- not run: needs a camera -->

```bash
one
```

=== "Linux"

    ```text
    output
    ```
````json
```
````
"""


def test_blocks_with_their_marks() -> None:
    bash, unmarked, nested, longer = blocks_of(PAGE, TEXT)
    assert (bash.language, bash.line) == ("bash", 4)
    assert bash.marks == {"slow": "trains", "exit status": "1"}
    assert bash.slow
    assert bash.runs
    assert commands_of(bash.text) == ["whenwhere explain clip.mp4 --out there   # a comment"]
    assert not unmarked.marks, "an empty line parts a mark from the block"
    assert (nested.language, nested.text) == ("text", "output")
    assert not nested.runs
    assert longer.text == "```"


def block(language: str, text: str, **marks: str) -> Block:
    return Block(PAGE, 1, language, text, {name.replace("_", " "): value for name, value in marks.items()})


def test_a_command_that_fails_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in (
        "whenwhere explain none.mp4 --model none --out x",
        "whenwhere train --no_such 3 --out y",
        "false | cat",
    ):
        with pytest.raises(AssertionError, match="exit status"):
            run_block(block("bash", text), tmp_path, {})
    run_block(block("bash", "whenwhere explain none.mp4 --model none --out x", exit_status="1"), tmp_path, {})
    with pytest.raises(AssertionError):
        run_block(block("bash", "whenwhere --version", exit_status="1"), tmp_path, {})
    with pytest.raises(NameError):
        run_block(block("python", "nothing_of_that_name"), tmp_path, {})


def test_a_shell_runs_what_is_more_than_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_block(block("bash", "for i in 0 1; do whenwhere --version > v$i; done"), tmp_path, {})
    assert (tmp_path / "v1").read_text().startswith("whenwhere ")


def test_python_blocks_of_a_page_share_names(tmp_path: Path) -> None:
    names: dict[str, object] = {}
    run_block(block("python", "seen = 3"), tmp_path, names)
    run_block(block("python", "seen += 1"), tmp_path, names)
    assert names["seen"] == 4
