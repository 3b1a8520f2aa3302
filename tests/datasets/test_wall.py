from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from whenwhere.datasets.manifest import read_clips
from whenwhere.datasets.mosaic import ClipBank, MosaicDataset, MosaicOptions
from whenwhere.datasets.wall import write_walls
from whenwhere.structures import Clip
from whenwhere.video import iter_frames, write_video


def shades(folder: Path, values: list[int], label: str) -> list[Clip]:
    clips = []
    for index, value in enumerate(values):
        path = folder / f"{label}{index}.mp4"
        write_video(path, (np.full((40, 50, 3), value, dtype=np.uint8) for _ in range(8)), 8.0)
        clips.append(Clip(str(path), label))
    return clips


def test_wall_shows_the_target_where_and_when_the_truth_says(tmp_path: Path) -> None:
    targets = shades(tmp_path, [250, 250], "bright")
    fillers = shades(tmp_path, [40, 60, 80, 100, 40, 60, 80, 100], "dark")
    banks = (
        ClipBank(torch.zeros(2, 8, 1, 2, 2), torch.zeros(2, dtype=torch.long)),
        ClipBank(torch.zeros(8, 8, 1, 2, 2), torch.zeros(8, dtype=torch.long)),
    )
    options = MosaicOptions(frames=12, action_frames=(3, 6), eval_clips=4)
    dataset = MosaicDataset(*banks, 1, options, 4, seed=3)
    table = write_walls(dataset, targets, fillers, ["bright", "dark"], tmp_path / "walls", count=4, cell=48)
    clips = read_clips(table)
    assert len(clips) == 4
    for clip in clips:
        (segment,) = clip.segments
        frames = list(iter_frames(clip.path))
        assert len(frames) == 12
        for time, picture in frames:
            inside = segment.start - 1e-3 <= time < segment.end - 1e-3
            assert (picture.max() > 200) == inside
        times = {round(time, 3): picture for time, picture in frames}
        for box in clip.boxes:
            x0, y0, x1, y1 = (int(value) for value in box.xyxy)
            assert times[round(box.time, 3)][y0 + 4 : y1 - 4, x0 + 4 : x1 - 4].min() > 200
