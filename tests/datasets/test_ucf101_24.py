"""Boxes on the right frames: a MATLAB file of our own, the official one, and real clips."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whenwhere.datasets.manifest import ManifestError
from whenwhere.datasets.ucf101_24 import ucf101_24
from whenwhere.video import probe

Place = Callable[..., Path]


scipy_io = pytest.importorskip("scipy.io")


def tube(first: int, boxes: list[list[int]]) -> dict[str, Any]:
    # The official file stores boxes as bytes: 200 + 100 does not fit one.
    return {"sf": first, "ef": first + len(boxes) - 1, "class": 1, "boxes": np.array(boxes, np.uint8)}


def write_mat(path: Path, videos: dict[str, list[dict[str, Any]]]) -> None:
    fields = [("num_imgs", object), ("name", object), ("tubes", object)]
    annot = np.empty((1, len(videos)), fields)
    for index, (name, tubes) in enumerate(videos.items()):
        stacked = np.empty((1, len(tubes)), [(key, object) for key in ("ef", "sf", "class", "boxes")])
        for number, one in enumerate(tubes):
            for key in ("ef", "sf", "class", "boxes"):
                stacked[0, number][key] = one[key]
        annot[0, index] = (8, name, stacked)
    scipy_io.savemat(path, {"annot": annot})


def test_as_unpacked(tmp_path: Path, place: Place) -> None:
    place(tmp_path / "UCF-101/Fencing/v_Fencing_g01_c01.avi")  # 8 frames per second
    two = [tube(3, [[200, 10, 100, 20], [201, 11, 100, 20]]), tube(1, [[5, 6, 7, 8]])]
    write_mat(
        tmp_path / "finalAnnots.mat",
        {"Fencing/v_Fencing_g01_c01": two, "Fencing/v_Fencing_g09_c02": [tube(1, [[1, 2, 3, 4]])]},
    )
    (tmp_path / "testlist01.txt").write_text("Fencing/v_Fencing_g01_c01\n")
    test, train = ucf101_24(tmp_path)
    assert (test.label, test.split, test.group) == ("Fencing", "test", "Fencing_g01")
    assert [(box.time, box.xyxy, box.tube) for box in test.boxes] == [
        (2 / 8, (200, 10, 300, 30), 0),
        (3 / 8, (201, 11, 301, 31), 0),
        (0.0, (5, 6, 12, 14), 1),
    ]
    assert [(s.start, s.end) for s in test.segments] == [(2 / 8, 4 / 8), (0.0, 1 / 8)]
    assert train.split == "train"
    assert train.segments[0].end == pytest.approx(1 / 25)  # the file is not there to be asked


def test_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"corrected boxes; expected finalAnnots.mat"):
        ucf101_24(tmp_path)
    (tmp_path / "finalAnnots.mat").write_bytes(b"not MATLAB" * 40)
    (tmp_path / "testlist01.txt").write_text("")
    with pytest.raises(ManifestError, match="is not the annotations' MATLAB file"):
        ucf101_24(tmp_path)


def test_official_annotations(shared: Path, tmp_path: Path) -> None:
    clips = ucf101_24(tmp_path, shared / "annotations/ucf101_24")
    assert Counter(clip.split for clip in clips) == {"train": 2284, "test": 910}
    assert len({clip.label for clip in clips}) == 24
    assert sum(len({box.tube for box in clip.boxes}) for clip in clips) == 4458
    assert all(0 <= box.x0 < box.x1 <= 320 and 0 <= box.y0 < box.y1 <= 240 for clip in clips for box in clip.boxes)


def test_boxes_of_real_clips_lie_on_their_frames(shared: Path, tmp_path: Path) -> None:
    names = ("v_SoccerJuggling_g23_c01", "v_SoccerJuggling_g24_c01")
    folder = tmp_path / "UCF-101/SoccerJuggling"
    folder.mkdir(parents=True)
    for name in names:
        shutil.copy(shared / f"data/named_clips/{name}.avi", folder)
    clips = {Path(clip.path).stem: clip for clip in ucf101_24(tmp_path, shared / "annotations/ucf101_24")}
    for name in names:
        info = probe(clips[name].path)
        times = np.array([box.time for box in clips[name].boxes])
        assert len(times)
        nearest = np.abs(info.timestamps[None] - times[:, None]).min(axis=1)
        assert nearest.max() < 1e-3  # each box at the very time of a frame
        assert (info.width, info.height) == (320, 240)
