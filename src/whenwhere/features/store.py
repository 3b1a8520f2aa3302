"""Features of many clips on disk: computed once, appended safely, read through memory maps.

A store is a folder; in it a folder for every specification (backbone, weights, preprocessing, sampling, precision),
named by its hash, so features made otherwise are never found. Inside, every writer has a part of its own:
``part-0000.data``, the arrays one after another, and ``part-0000.jsonl``, a line for each. A clip is there once its
line is: that is written after its array has reached the disk, and what follows the last whole line is cut off when a
writer opens the part again. So a killed writer loses the clip in its hands and nothing else, and goes on to the same
bytes as one that was never killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Precision = Literal["float16", "int8"]
_ALIGNMENT = 64


class StoreError(Exception):
    """A feature store that is damaged or of another kind; says which file and what to do."""


@dataclass(frozen=True)
class StoreSpec:
    """What features are: the same specification, the same numbers.

    Attributes:
        backbone: identity of network, weights and preprocessing.
        sampling: which frames, in words, and what was made of them before the backbone.
        precision: ``float16``, or ``int8`` with a scale for each channel of a clip, at half the size.
    """

    backbone: str
    sampling: str
    precision: Precision = "float16"

    @property
    def key(self) -> str:
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Entry:
    """Where a clip's features lie.

    Attributes:
        clip: hash of the bytes of the file that was read: the video, or its optical flow.
        part: file they are in.
        offset, size: bytes.
        shape: (T, C, H, W).
        checksum: CRC-32 of the bytes.
        times: seconds of the frames.
    """

    clip: str
    part: str
    offset: int
    size: int
    shape: tuple[int, int, int, int]
    checksum: int
    times: tuple[float, ...]


def quantize(features: Tensor) -> tuple[Tensor, Tensor]:
    """`(T, C, H, W)` as int8 and a float16 scale `(C,)`: the largest magnitude of each channel becomes 127."""
    scale = (features.float().abs().amax(dim=(0, 2, 3)) / 127).clamp_min(6e-8).half()
    # Rounded up in float16, or the largest value would leave the range.
    scale = torch.where(scale.float() * 127 < features.float().abs().amax(dim=(0, 2, 3)), scale * 1.001, scale)
    levels = (features.float() / scale.float()[:, None, None]).round().clamp(-127, 127)
    return levels.to(torch.int8), scale


def dequantize(levels: Tensor, scale: Tensor) -> Tensor:
    """The way back, float16."""
    return (levels.float() * scale.float()[:, None, None]).half()


class FeatureStore:
    """Features of one specification.

    Args:
        folder: of the store.
        spec: which features; others in the folder are not seen.

    Raises:
        StoreError: a part's index does not read.
    """

    def __init__(self, folder: str | Path, spec: StoreSpec) -> None:
        self.folder, self.spec = Path(folder) / spec.key, spec
        self.entries: dict[str, Entry] = {}
        self._read_up_to: dict[Path, int] = {}
        self._maps: dict[str, np.ndarray] = {}
        self.refresh()

    def __contains__(self, clip: str) -> bool:
        return clip in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    def refresh(self) -> None:
        """Learn of what other writers have added since."""
        for index in sorted(self.folder.glob("part-*.jsonl")):
            with index.open("rb") as file:
                file.seek(self._read_up_to.get(index, 0))
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            for number, line in enumerate(whole.splitlines(), start=1):
                entry = _entry(index, number, line)
                self.entries.setdefault(entry.clip, entry)
            self._read_up_to[index] = self._read_up_to.get(index, 0) + len(whole)

    def read(self, clip: str) -> Tensor:
        """Features `(T, C, H, W)` float16, in place in a memory map (a copy for int8); KeyError when not there."""
        entry = self.entries[clip]
        data = self._bytes(entry)
        if self.spec.precision == "float16":
            return torch.from_numpy(data.view(np.float16).reshape(entry.shape))
        channels = entry.shape[1]
        scale = torch.from_numpy(data[: 2 * channels].view(np.float16))
        return dequantize(torch.from_numpy(data[2 * channels :].view(np.int8).reshape(entry.shape)), scale)

    def verify(self) -> list[Entry]:
        """Entries whose bytes are not those that were written."""
        return [entry for entry in self.entries.values() if not self._whole(entry)]

    def _whole(self, entry: Entry) -> bool:
        try:
            return zlib.crc32(self._bytes(entry).tobytes()) == entry.checksum
        except (ValueError, OSError):
            return False

    def _bytes(self, entry: Entry) -> np.ndarray:
        mapped = self._maps.get(entry.part)
        if mapped is None or len(mapped) < entry.offset + entry.size:
            # Written to by nobody: copy-on-write only spares torch's warning about read-only memory.
            mapped = self._maps[entry.part] = np.memmap(self.folder / entry.part, np.uint8, mode="c")
        if len(mapped) < entry.offset + entry.size:
            raise ValueError(
                f"{self.folder / entry.part} is shorter than its index says; delete both and extract again"
            )
        return np.asarray(mapped[entry.offset : entry.offset + entry.size])


class StoreWriter:
    """Append to a store, alone in a part of it; use as a context manager.

    A part that no other living writer holds is taken up again, so a restarted job goes on in its own.
    """

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        store.folder.mkdir(parents=True, exist_ok=True)
        spec = store.folder / "spec.json"
        if not spec.is_file():
            partial = spec.with_name(f"spec.json.{os.getpid()}")
            partial.write_text(json.dumps(asdict(store.spec), indent=1))
            partial.replace(spec)

    def __enter__(self) -> StoreWriter:
        for index in self._parts():
            file = index.open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            self._index, self._data = file, index.with_suffix(".data").open("ab")
            self._cut_off(index)
            return self
        raise AssertionError("unreachable: there is always another part")

    def __exit__(self, *error: object) -> None:
        self._data.close()
        self._index.close()  # gives the lock back

    def append(self, clip: str, features: Tensor, times: Sequence[float]) -> None:
        """Add features `(T, C, H, W)` of the video whose bytes hash to ``clip``; there already: nothing is done."""
        self.store.refresh()
        if clip in self.store:
            return
        if self.store.spec.precision == "int8":
            levels, scale = quantize(features)
            payload = scale.numpy().tobytes() + levels.contiguous().numpy().tobytes()
        else:
            payload = features.half().contiguous().numpy().tobytes()
        offset = self._data.tell()
        self._data.write(payload + bytes(-len(payload) % _ALIGNMENT))
        self._data.flush()
        os.fsync(self._data.fileno())
        entry = Entry(
            clip,
            Path(self._data.name).name,
            offset,
            len(payload),
            tuple(features.shape),  # type: ignore[arg-type]
            zlib.crc32(payload),
            tuple(round(float(time), 6) for time in times),
        )
        self._index.write((json.dumps(asdict(entry)) + "\n").encode())
        self._index.flush()
        os.fsync(self._index.fileno())
        self.store.refresh()

    def _parts(self) -> Iterator[Path]:
        number = 0
        while True:
            yield self.store.folder / f"part-{number:04d}.jsonl"
            number += 1

    def _cut_off(self, index: Path) -> None:
        """Drop what a killed writer left behind its last whole line."""
        text = index.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        self._index.truncate(len(whole))
        lines = whole.splitlines()
        end = 0
        if lines:
            last = _entry(index, len(lines), lines[-1])
            end = last.offset + last.size + -last.size % _ALIGNMENT
        self._data.truncate(end)
        self._data.seek(end)


def _entry(index: Path, number: int, line: bytes) -> Entry:
    try:
        values = json.loads(line)
        return Entry(**{**values, "shape": tuple(values["shape"]), "times": tuple(values["times"])})
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{index}, line {number} after where reading began, is damaged: {error}") from error
