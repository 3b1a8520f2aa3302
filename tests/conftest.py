"""Fixtures every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real clips, weights and annotations that live beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"real data not found: expected the folder 'shared' beside the checkout ({SHARED.name}/)")
    return SHARED
