from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console

from whenwhere.benchmarks.store import benchmark_store, forget, format_store
from whenwhere.video import write_video


def test_ratios_of_a_tiny_store(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    write_video(video, np.zeros((8, 32, 48, 3), np.uint8), 8.0)
    result = benchmark_store(video, clips=3, frames=2, channels=16, grid=2, repeats=1)
    expected = {f"{head}_{kind}_ratio" for head in ("small", "paper") for kind in ("epoch", "decode")}
    assert set(result) == expected | {"read_ratio"}
    assert all(value > 0 for value in result.values())
    console = Console(width=120, record=True)
    console.print(format_store(result))
    assert f"{result['small_epoch_ratio']:.3f}" in console.export_text()


def test_a_forgotten_file_still_reads(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    forget(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"abc"
