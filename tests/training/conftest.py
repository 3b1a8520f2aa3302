"""A tiny bank of features with a planted class, so that training takes a second."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file


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
