"""Training from the feature store, against features in memory and against running the backbone every time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.table import Table
from torch import Tensor

from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.features.extract import frame_features
from whenwhere.features.store import FeatureStore, StoreSpec, StoreWriter
from whenwhere.models import SpatioTemporalAttention, SpatioTemporalAttentionOptions
from whenwhere.video import make_sampler, read_frames

EPOCH_BAR, READ_BAR = 1.10, 0.8
HEADS = {
    "small": SpatioTemporalAttentionOptions(hidden=32, steps=8, mask_widths=(64, 32)),
    "paper": SpatioTemporalAttentionOptions(variant="paper"),
}


def forget(path: Path) -> None:
    """Drop a file from the system's cache, so that the next read comes from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _step(head: SpatioTemporalAttention, features: Callable[[], Tensor]) -> float:
    """Seconds for getting a clip and a step on it."""
    start = time.perf_counter()
    head(features()[None].float()).logits.sum().backward()
    head.zero_grad()
    return time.perf_counter() - start


def _epochs(head: SpatioTemporalAttention, memory: list[Tensor], store: FeatureStore) -> tuple[float, float]:
    """Seconds for a step on every clip from memory, and from the store; taken clip by clip, by turns in going first.

    What else the machine does then slows both alike, where one epoch after the other would differ by more than what
    is measured here.
    """
    spent = {"memory": 0.0, "store": 0.0}
    for index, features in enumerate(memory):
        sources = [("memory", partial(torch.Tensor.detach, features)), ("store", partial(store.read, f"clip{index}"))]
        for name, source in sources[:: -1 if index % 2 else 1]:
            spent[name] += _step(head, source)
    return spent["memory"], spent["store"]


def benchmark_store(
    video: Path | None = None, clips: int = 12, frames: int = 50, channels: int = 2048, grid: int = 7, repeats: int = 3
) -> dict[str, float]:
    """Time an epoch of each head on random features of the published size, from memory and from a cold store.

    Args:
        video: also time decoding it and running ResNet-50 on its frames, once a clip.
        clips: in the store; the paper's head takes a step on four of them.

    Returns:
        ``{small,paper}_epoch_ratio``: store over memory; ``read_ratio``: rate of reading the store through its map
        over that of reading its file from start to end; with ``video``, ``{small,paper}_decode_ratio``: decoding,
        backbone and head over memory.
    """
    generator = torch.Generator().manual_seed(0)
    memory = [torch.rand(frames, channels, grid, grid, generator=generator).half() for _ in range(clips)]
    result: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        spec = StoreSpec("benchmark", "random")
        with StoreWriter(FeatureStore(folder, spec)) as writer:
            for index, features in enumerate(memory):
                writer.append(f"clip{index}", features, [0.0] * frames)
        (part,) = Path(folder).rglob("part-*.data")
        result["read_ratio"] = _read_ratio(part, folder, spec, repeats)
        backbone = _backbone_seconds(video, frames) if video else None
        for name, options in HEADS.items():
            head = SpatioTemporalAttention(channels, 51, options)
            count = clips if name == "small" else min(4, clips)
            _step(head, lambda: memory[0])
            times = []
            for _ in range(repeats if name == "small" else 1):
                forget(part)
                times.append(_epochs(head, memory[:count], FeatureStore(folder, spec)))
            from_memory, from_store = (sum(column) for column in zip(*times))
            result[f"{name}_epoch_ratio"] = from_store / from_memory
            if backbone is not None:
                per_clip = from_memory / len(times) / count
                result[f"{name}_decode_ratio"] = (per_clip + backbone) / per_clip
    return result


def _read_ratio(part: Path, folder: str, spec: StoreSpec, repeats: int) -> float:
    ratios = []
    for _ in range(repeats):
        forget(part)
        start = time.perf_counter()
        with part.open("rb", buffering=0) as file:
            buffer = bytearray(1 << 20)
            while file.readinto(buffer):
                pass
        sequential = time.perf_counter() - start
        forget(part)
        store = FeatureStore(folder, spec)
        start = time.perf_counter()
        for name in store.entries:
            store.read(name).clone()
        ratios.append(sequential / (time.perf_counter() - start))
    return sorted(ratios)[len(ratios) // 2]


def _backbone_seconds(video: Path, frames: int) -> float:
    backbone = Backbone(BackboneOptions(weights="random", size=224)).eval()
    start = time.perf_counter()
    frame_features(read_frames(video, make_sampler("uniform", frames=frames)).pixels, backbone)
    return time.perf_counter() - start


def format_store(result: dict[str, float]) -> Table:
    """The result of :func:`benchmark_store` for a terminal."""
    table = Table("", "small head", "paper's head", title="An epoch from the feature store")
    cells = [f"{result[f'{name}_epoch_ratio']:.3f} (<= {EPOCH_BAR})" for name in HEADS]
    table.add_row("over features in memory", *cells)
    if "small_decode_ratio" in result:
        cells = [f"{result[f'{name}_decode_ratio']:.2f}" for name in HEADS]
        table.add_row("decoding and ResNet-50 each time, over memory", *cells)
    table.add_row("reading through the map over reading the file", f"{result['read_ratio']:.2f} (>= {READ_BAR})", "")
    return table
