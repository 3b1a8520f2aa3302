"""Training from the feature store, against features in memory and against running the backbone every time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from whenwhere.datasets.loader import read_ahead
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


def _epoch(head: SpatioTemporalAttention, clips: Iterable[Tensor]) -> float:
    """Seconds for a step on every clip."""
    start = time.perf_counter()
    for features in clips:
        head(features[None].float()).logits.sum().backward()
        head.zero_grad()
    return time.perf_counter() - start


class _FromStore(Dataset[Tensor]):
    def __init__(self, store: FeatureStore) -> None:
        self.store, self.names = store, list(store.entries)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        return self.store.read(self.names[index]).clone()  # a map alone would read nothing yet


def benchmark_store(
    video: Path | None = None, clips: int = 12, frames: int = 50, channels: int = 2048, grid: int = 7, repeats: int = 3
) -> dict[str, float]:
    """Time an epoch of each head on random features of the published size, from memory and from a cold store.

    Args:
        video: also time decoding it and running ResNet-50 on its frames, once a clip.
        clips: in the store; the paper's head takes a step on two of them.

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
            count = clips if name == "small" else min(2, clips)
            _epoch(head, memory[:1])
            ratios, seconds = [], []
            for _ in range(repeats if name == "small" else 1):
                seconds.append(_epoch(head, memory[:count]))
                forget(part)
                stored = _FromStore(FeatureStore(folder, spec))
                loader = DataLoader(Subset(stored, range(count)), batch_size=None)
                ratios.append(_epoch(head, read_ahead(loader)) / seconds[-1])
            result[f"{name}_epoch_ratio"] = sorted(ratios)[len(ratios) // 2]
            if backbone is not None:
                per_clip = sorted(seconds)[len(seconds) // 2] / count
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
