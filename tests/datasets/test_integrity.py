"""A scan finds what is broken or twice there, and goes on where it was stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from whenwhere.datasets import integrity
from whenwhere.datasets.integrity import ContentHashes, duplicates_across_splits, scan, with_findings
from whenwhere.structures import Clip
from whenwhere.video import VideoError

Place = Callable[..., Path]


@pytest.fixture
def clips(tmp_path: Path, place: Place) -> list[Clip]:
    good = [place(tmp_path / f"{number}.mp4", seed=number) for number in range(3)]
    twin = place(tmp_path / "twin.mp4", seed=0)
    cut = place(tmp_path / "cut.mp4", seed=1)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    paths = [*good, twin, cut, tmp_path / "empty.mp4", tmp_path / "text.mp4", tmp_path / "gone.mp4"]
    return [Clip(str(path), "a", "test" if path == twin else "train") for path in paths]


@pytest.mark.parametrize("workers", [1, 2])
def test_finds_what_is_whole_and_what_is_broken(clips: list[Clip], tmp_path: Path, workers: int) -> None:
    found = scan(clips, tmp_path / "scan.jsonl", workers)
    broken = {Path(path).name: finding.error for path, finding in found.items() if finding.error}
    assert set(broken) == {"cut.mp4", "empty.mp4", "text.mp4", "gone.mp4"}
    assert "empty" in str(broken["empty.mp4"])
    assert "cannot be read" in str(broken["gone.mp4"])
    whole = with_findings(clips, found)
    assert [(clip.frames, clip.fps) for clip in whole] == [(8, pytest.approx(8.0))] * 4
    assert [clip.duration for clip in whole] == [pytest.approx(1.0)] * 4


def test_same_bytes_on_both_sides_of_a_split_are_leakage(clips: list[Clip], tmp_path: Path) -> None:
    found = scan(clips, tmp_path / "scan.jsonl")
    (pair,) = duplicates_across_splits(clips, found)
    assert [Path(clip.path).name for clip in pair] == ["0.mp4", "twin.mp4"]


def test_goes_on_where_it_was_stopped(
    clips: list[Clip], tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "scan.jsonl"
    full = scan(clips, log)
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:3]) + lines[3][:20])  # killed while writing the fourth
    place(Path(clips[0].path), seed=5)  # and this file has changed since
    looked_at: list[str] = []
    examine = integrity.examine
    monkeypatch.setattr(integrity, "examine", lambda path: looked_at.append(Path(path).name) or examine(path))
    found = scan(clips, log)
    assert looked_at == ["0.mp4", "twin.mp4", "cut.mp4", "empty.mp4", "text.mp4", "gone.mp4"]
    assert found[clips[1].path] == full[clips[1].path]
    assert found[clips[0].path].digest != full[clips[0].path].digest
    assert len(scan(clips, log)) == len(clips)  # and the damaged line is no trouble later
    assert looked_at[6:] == ["gone.mp4"]  # what is not there may come back


def test_hashes_are_remembered_until_a_file_changes(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, log = str(place(tmp_path / "a.mp4")), tmp_path / "files.jsonl"
    first = ContentHashes(log).of(path)
    assert first == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    read: list[object] = []
    monkeypatch.setattr(integrity, "content_hash", lambda path: read.append(path) or "other")
    assert ContentHashes(log).of(path) == first
    assert not read
    Path(path).write_bytes(b"changed")
    assert ContentHashes(log).of(path) == "other"
    with pytest.raises(VideoError, match=r"gone.mp4: cannot be read"):
        ContentHashes(log).of(str(tmp_path / "gone.mp4"))
