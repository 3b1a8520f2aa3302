"""That counts agree and are shown; how the memory behaves over ten minutes is for the benchmark itself to say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from watching import make_run

from whenwhere.benchmarks.watch import _growth, benchmark_watch, format_watch, resident
from whenwhere.recognizer import load


@pytest.mark.slow
def test_counts_of_a_short_run(tmp_path: Path) -> None:
    told: list[str] = []
    result = benchmark_watch(seconds=16.0, model=load(make_run(tmp_path / "run")), log=told.append)
    assert result["backbone"] == result["looked_at"] > 0
    assert result["decoded"] >= result["picked"] >= result["looked_at"] + result["dropped"]
    assert result["reconnections"] == 1
    assert any("connected again" in text for text in told)
    assert result["clips"] >= 1
    assert 0 < result["latency_p50"] <= result["latency_p95"]
    console = Console(width=100, record=True)
    console.print(format_watch(result))
    text = console.export_text()
    assert f"{result['backbone']:.0f} (each once)" in text
    assert f"{result['memory_end']:.0f} MB" in text


def test_memory_is_seen_to_grow() -> None:
    before = resident()
    held = bytearray(b"x" * 60_000_000)
    assert 50 < resident() - before < 90
    assert len(held) == 60_000_000


def test_growth_is_that_of_a_line() -> None:
    seconds = np.arange(50.0)
    noise = np.random.default_rng(0).normal(0, 0.1, 50)
    assert _growth(np.stack([seconds, 600 + 0.2 * seconds + noise], 1)) == pytest.approx(9.8, abs=0.3)
    assert _growth(np.stack([seconds, 600 + noise], 1)) == pytest.approx(0, abs=0.3)
    assert _growth(np.zeros((1, 2))) == 0.0
