"""How long the parts take; ratios of times measured side by side, since seconds depend on the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from rich.table import Table

from whenwhere.models import SpatioTemporalAttention, SpatioTemporalAttentionOptions

# What hoisting the input convolution has to gain at the published size, step by step over hoisted.
FORWARD_BAR = 3.5
TRAIN_BAR = 3.0


def benchmark_head(
    frames: int = 50,
    channels: int = 2048,
    hidden: int = 512,
    grid: int = 7,
    batch: int = 1,
    threads: int = 2,
    repeats: int = 3,
) -> dict[str, float]:
    """Time the default model step by step, as the paper writes it, and with the input convolution hoisted.

    Both forms run in turn, so that a passing disturbance meets both; the first round warms up and
    is not counted. On the processor, float32. Measure on an idle machine: the ratios move with what
    else runs, since the two forms do not lean on arithmetic and memory in the same measure.

    Args:
        frames: T, and S.
        channels: C of the features.
        hidden: D.
        grid: H = W.
        batch: B.
        threads: processor threads.
        repeats: rounds counted.

    Returns:
        ``forward_ratio`` and ``train_ratio`` (forward and backward), medians of the rounds' ratios of
        step by step over hoisted; medians in seconds as ``{forward,train}_{stepwise,hoisted}_seconds``.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    options = SpatioTemporalAttentionOptions(hidden=hidden, dropout=0.0)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = SpatioTemporalAttention(channels, 51, options)
        features = torch.rand(batch, frames, channels, grid, grid)
        rounds = [_round(model, features) for _ in range(repeats + 1)][1:]
    finally:
        torch.set_num_threads(threads_before)
    result = {f"{kind}_ratio": median(r[kind, False] / r[kind, True] for r in rounds) for kind in ("forward", "train")}
    for kind, hoist in rounds[0]:
        result[f"{kind}_{'hoisted' if hoist else 'stepwise'}_seconds"] = median(r[kind, hoist] for r in rounds)
    return result


def _round(model: SpatioTemporalAttention, features: torch.Tensor) -> dict[tuple[str, bool], float]:
    """Seconds of every ``(kind, hoist)``, run one after the other."""

    def forward(hoist: bool) -> None:
        with torch.inference_mode():
            model.eval()(features, hoist=hoist)

    def train(hoist: bool) -> None:
        model.train()(features, hoist=hoist).logits.sum().backward()
        model.zero_grad()

    kinds: dict[str, Callable[[bool], None]] = {"forward": forward, "train": train}
    return {(kind, hoist): _seconds(run, hoist) for kind, run in kinds.items() for hoist in (False, True)}


def _seconds(run: Callable[[bool], None], hoist: bool) -> float:
    start = time.perf_counter()
    run(hoist)
    return time.perf_counter() - start


def format_head(result: dict[str, float]) -> Table:
    """The result of :func:`benchmark_head` as a table for a terminal."""
    table = Table("", "step by step", "hoisted", "ratio", "bar", title="Hoisting the input convolution")
    for kind, name, bar in (("forward", "forward", FORWARD_BAR), ("train", "forward + backward", TRAIN_BAR)):
        seconds = [f"{result[f'{kind}_{form}_seconds']:.2f} s" for form in ("stepwise", "hoisted")]
        table.add_row(name, *seconds, f"{result[f'{kind}_ratio']:.2f}", f">= {bar}")
    return table
