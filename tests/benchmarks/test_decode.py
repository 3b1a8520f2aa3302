from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from whenwhere.benchmarks.decode import benchmark_decode, format_decode, make_long_video, readers
from whenwhere.video import probe, write_video
from whenwhere.video.indexing import build_index


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_video(tmp_path / "a.mp4", (np.full((32, 48, 3), i * 8, np.uint8) for i in range(30)), 10.0)
    return tmp_path / "a.mp4"


def test_every_reader_reads_what_is_asked_for(clip: Path) -> None:
    assert {"whenwhere", "every frame"} <= set(readers())
    assert {name: reader(clip, 5) for name, reader in readers().items()} == dict.fromkeys(readers(), 5)


def test_long_video_is_as_said_and_made_once(tmp_path: Path) -> None:
    path = make_long_video(tmp_path / "long.mp4", seconds=12, size=(64, 48))
    info = probe(path)
    assert (info.width, info.height, len(info.timestamps)) == (64, 48, 300)
    assert build_index(path).key_frames.tolist() == [0, 250]
    before = path.stat().st_mtime_ns
    assert make_long_video(path, seconds=12, size=(64, 48)).stat().st_mtime_ns == before
    assert [file.name for file in tmp_path.iterdir()] == ["long.mp4"]


def test_ratios_are_of_the_rates_beside_them(clip: Path, tmp_path: Path) -> None:
    result = benchmark_decode([clip], tmp_path, frames=4, long_frames=4, repeats=1, seconds=12, size=(64, 48))
    for kind in ("short", "long"):
        assert result[f"{kind}_ratio"] == pytest.approx(result[f"{kind}_whenwhere"] / result[f"{kind}_every frame"])
    console = Console(width=120, record=True)
    console.print(format_decode(result))
    assert "ours over every frame" in console.export_text()
