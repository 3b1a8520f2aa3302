"""Small rendered clips to lay out like the official archives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from whenwhere.video import write_video

Place = Callable[..., Path]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Put a real, tiny video of 8 frames at a path; ``seed`` decides its pixels."""
    folder = tmp_path_factory.mktemp("clips")

    def put(path: Path, seed: int = 0) -> Path:
        made = folder / f"{seed}.mp4"
        if not made.is_file():
            noise = np.random.default_rng(seed).integers(0, 255, (8, 32, 48, 3), dtype=np.uint8)
            write_video(made, noise, 8.0, preset="ultrafast")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, path)
        return path

    return put
