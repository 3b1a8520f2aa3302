"""That ratios are computed and shown; how large they are is for the benchmark itself to say."""

from __future__ import annotations

import pytest
import torch
from rich.console import Console

from whenwhere.benchmarks.head import benchmark_head, format_head


def test_ratios_of_a_tiny_head() -> None:
    threads = torch.get_num_threads()
    result = benchmark_head(frames=3, channels=8, hidden=8, grid=3, threads=1, repeats=2)
    assert torch.get_num_threads() == threads
    forms = [f"{kind}_{form}_seconds" for kind in ("forward", "train") for form in ("stepwise", "hoisted")]
    assert set(result) == {"forward_ratio", "train_ratio", *forms}
    assert all(value > 0 for value in result.values())
    console = Console(width=100, record=True)
    console.print(format_head(result))
    text = console.export_text()
    assert f"{result['forward_ratio']:.2f}" in text
    assert f"{result['train_ratio']:.2f}" in text


def test_repeats_must_be_positive() -> None:
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        benchmark_head(repeats=0)
