"""The store keeps what it was given, through kills, several writers and damage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from whenwhere.features.store import FeatureStore, StoreError, StoreSpec, StoreWriter, dequantize, quantize

SPEC = StoreSpec(backbone="net", sampling="uniform 4")
TIMES = [0.0, 0.125, 0.25, 0.375]


def features(seed: int, frames: int = 4) -> Tensor:
    return torch.randn(frames, 3, 2, 5, generator=torch.Generator().manual_seed(seed)).half()


def fill(folder: Path, seeds: range, spec: StoreSpec = SPEC) -> FeatureStore:
    store = FeatureStore(folder, spec)
    with StoreWriter(store) as writer:
        for seed in seeds:
            writer.append(f"clip{seed}", features(seed), TIMES)
    return store


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("part-*"))}


def test_gives_back_what_it_was_given(tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    store = FeatureStore(tmp_path, SPEC)
    assert len(store) == 5
    assert "clip3" in store
    assert "clip5" not in store
    for seed in (4, 0, 2):
        assert torch.equal(store.read(f"clip{seed}"), features(seed))
    assert store.entries["clip1"].times == (0, 0.125, 0.25, 0.375)
    with pytest.raises(KeyError):
        store.read("clip9")


def test_clips_may_have_different_lengths(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, SPEC)
    with StoreWriter(store) as writer:
        for frames in (1, 7):
            writer.append(f"clip{frames}", features(frames, frames), [0.0] * frames)
    assert [tuple(store.read(f"clip{frames}").shape) for frames in (1, 7)] == [(1, 3, 2, 5), (7, 3, 2, 5)]


@pytest.mark.parametrize("other", [{"backbone": "other"}, {"sampling": "uniform 5"}, {"precision": "int8"}])
def test_features_made_otherwise_are_not_found(tmp_path: Path, other: dict[str, str]) -> None:
    fill(tmp_path, range(1))
    assert "clip0" not in FeatureStore(tmp_path, StoreSpec(**{"backbone": "net", "sampling": "uniform 4", **other}))


def test_int8_is_within_half_a_level_and_half_the_size(tmp_path: Path) -> None:
    spec = StoreSpec("net", "uniform 4", precision="int8")
    store = fill(tmp_path, range(2), spec)
    exact = features(0).float()
    level = exact.abs().amax(dim=(0, 2, 3)) / 127
    error = (store.read("clip0").float() - exact).abs().amax(dim=(0, 2, 3))
    assert (error <= 0.51 * level + 1e-3 * exact.abs().amax()).all()
    assert store.entries["clip0"].size == exact.numel() + 2 * 3
    assert torch.equal(dequantize(*quantize(torch.zeros(1, 2, 1, 1))), torch.zeros(1, 2, 1, 1).half())


def test_a_clip_is_written_once(tmp_path: Path) -> None:
    fill(tmp_path, range(3))
    before = files(tmp_path)
    fill(tmp_path, range(3))
    assert files(tmp_path) == before


@pytest.mark.parametrize("lost", [1, 40, 10_000])
def test_restarted_after_a_kill_it_comes_to_the_same_bytes(tmp_path: Path, lost: int) -> None:
    unbroken = files(fill(tmp_path / "whole", range(6)).folder)
    folder = fill(tmp_path / "killed", range(4)).folder
    # Killed while clip 3 was being written: its line is cut off, and bytes of the next array are there already.
    index, data = folder / "part-0000.jsonl", folder / "part-0000.data"
    index.write_bytes(index.read_bytes()[: -min(lost, 100)])
    data.write_bytes(data.read_bytes() + bytes(lost))
    store = FeatureStore(tmp_path / "killed", SPEC)
    assert set(store.entries) == {"clip0", "clip1", "clip2"}
    fill(tmp_path / "killed", range(6))
    assert files(folder) == unbroken


def test_killed_process(tmp_path: Path) -> None:
    """A real process, a real SIGKILL, at whatever moment it hits."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; from test_store import *\n"
        "print('ready', flush=True); fill(Path(sys.argv[1]), range(100000))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "killed"), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    while len(FeatureStore(tmp_path / "killed", SPEC)) < 20:
        assert process.poll() is None
    process.kill()
    process.wait()
    process.stdout.close()
    count = len(FeatureStore(tmp_path / "killed", SPEC))
    resumed = fill(tmp_path / "killed", range(count + 5))
    unbroken = fill(tmp_path / "whole", range(count + 5))
    assert files(resumed.folder) == files(unbroken.folder)
    assert resumed.verify() == []


def test_two_writers_at_once_share_the_work(tmp_path: Path) -> None:
    first, second = FeatureStore(tmp_path, SPEC), FeatureStore(tmp_path, SPEC)
    with StoreWriter(first) as one, StoreWriter(second) as other:
        one.append("clip0", features(0), TIMES)
        other.append("clip1", features(1), TIMES)
        other.append("clip0", features(0), TIMES)  # known by now, though the other wrote it
        one.append("clip2", features(2), TIMES)
    assert {entry.part for entry in first.entries.values()} == {"part-0000.data", "part-0001.data"}
    store = FeatureStore(tmp_path, SPEC)
    assert sum(text.count(b"\n") for name, text in files(tmp_path).items() if name.endswith("jsonl")) == 3
    assert all(torch.equal(store.read(f"clip{seed}"), features(seed)) for seed in range(3))


def test_damage_is_found(tmp_path: Path) -> None:
    store = fill(tmp_path, range(3))
    assert store.verify() == []
    data = store.folder / "part-0000.data"
    content = bytearray(data.read_bytes())
    content[store.entries["clip1"].offset + 7] ^= 1
    data.write_bytes(content)
    assert [entry.clip for entry in FeatureStore(tmp_path, SPEC).verify()] == ["clip1"]
    data.write_bytes(content[: store.entries["clip2"].offset])
    assert [entry.clip for entry in FeatureStore(tmp_path, SPEC).verify()] == ["clip1", "clip2"]
    with pytest.raises(ValueError, match="shorter than its index"):
        FeatureStore(tmp_path, SPEC).read("clip2")
    (store.folder / "part-0000.jsonl").write_text("no json\n")
    with pytest.raises(StoreError, match=r"part-0000.jsonl, line 1"):
        FeatureStore(tmp_path, SPEC)
