"""Fixtures every test may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from browsing import ARGUMENTS
from safetensors.torch import save_file

# Tests are small: a second thread gains nothing and, where something else runs, waits at every barrier.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes they start
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real clips, weights and annotations that live beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"real data not found: expected the folder 'shared' beside the checkout ({SHARED.name}/)")
    return SHARED


@pytest.fixture(scope="session")
def tiny_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Targets of class k have channel k raised; fillers have none. Groups 0-3, the last one for test."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(24) % 2
    group = torch.arange(24) // 6
    target = torch.rand(24, 6, 8, 2, 2, generator=generator)
    target[torch.arange(24), :, label] += 2.0
    path = tmp_path_factory.mktemp("bank") / "bank.safetensors"
    save_file(
        {
            "target_features": target.half(),
            "target_label": label.to(torch.uint8),
            "target_group": group.to(torch.uint8),
            "target_is_test": group == 3,
            "filler_features": torch.rand(24, 6, 8, 2, 2, generator=generator).half(),
            "filler_group": group.to(torch.uint8),
            "filler_is_test": group == 3,
        },
        str(path),
    )
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium found on the PATH")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield started
        started.close()
