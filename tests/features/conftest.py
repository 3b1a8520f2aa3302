"""Small real video files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whenwhere.structures import Clip
from whenwhere.video import write_video


@pytest.fixture(scope="session")
def small_clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Four videos of 12 frames at 12 a second, and one file that is no video.

    Frame n of video k has brightness 10 + 20 n + 3 k, so that what was looked at can be told.
    """
    folder: Path = tmp_path_factory.mktemp("clips")
    clips = []
    for index in range(4):
        path = folder / f"{index}.mp4"
        write_video(path, (np.full((48, 64, 3), 10 + 20 * n + 3 * index, np.uint8) for n in range(12)), 12.0)
        clips.append(Clip(str(path), label="ab"[index % 2]))
    broken = folder / "broken.mp4"
    broken.write_bytes(b"nothing to see")
    return [*clips[:2], Clip(str(broken), label="a"), *clips[2:]]
