from __future__ import annotations

from pathlib import Path

import pytest

from whenwhere.files import whole_file, write_text


def test_text_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    assert write_text(path, "größer") == path
    assert path.read_bytes() == "größer".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_finished_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with whole_file(path) as partial:
            partial.write_text("ne")
            assert path.read_text() == "old"
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_processes_that_write_the_same_file_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path, shared=True) as first:
        first.write_text("same")
        monkeypatch.setattr("os.getpid", lambda: -1)
        with whole_file(path, shared=True) as second:
            second.write_text("same")
            assert first != second
        assert first.read_text() == "same"
    assert path.read_text() == "same"
    assert list(tmp_path.iterdir()) == [path]
