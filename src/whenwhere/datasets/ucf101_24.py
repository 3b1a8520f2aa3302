"""UCF101-24: 24 classes of UCF101 with the corrected boxes of Singh, Saha et al. 2017."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.datasets.layout import find, read_lines
from whenwhere.datasets.manifest import ManifestError
from whenwhere.datasets.ucf101 import clip_of
from whenwhere.structures import Box, Clip, Segment
from whenwhere.video import VideoError, header_rate

SOURCE = "UCF101-24: videos of UCF101, boxes corrected by Singh, Saha et al. (ICCV 2017)"
FPS = 25.0  # of nearly all videos; used for those that are not there to be asked
_HOW = "Unpack UCF101.rar there, and put finalAnnots.mat and testlist01.txt of the corrected annotations beside it."


def ucf101_24(root: str | Path, annotations: str | Path | None = None, split: str | None = None) -> list[Clip]:
    """Clips of split 1 with their boxes: 2284 for training, 910 for testing, 4458 tubes.

    Layout: ``UCF-101/CLASS/v_CLASS_gNN_cMM.avi``, ``finalAnnots.mat`` (MATLAB 5, no pickles) and ``testlist01.txt``;
    what is not in the list is for training. A tube is one actor: boxes ``[x y w h]`` in pixels of 320 x 240 frames, for
    frames ``sf`` to ``ef``, counted from 1. Times follow from the frame rate in the video's header.

    Args:
        root: folder that holds the videos.
        annotations: folder of the two files, when it is not ``root``.
        split: ``train`` or ``test`` alone; None: both.

    Raises:
        ManifestError: a part is missing or does not read, or SciPy is not installed.
    """
    lists = Path(annotations) if annotations else Path(root)
    table = find(lists, ("finalAnnots.mat",), "corrected boxes", _HOW)
    test = {words[0] for words in read_lines(find(lists, ("testlist01.txt",), "list of test videos", _HOW))}
    videos = find(root, ("UCF-101", "."), "videos", _HOW)
    clips = []
    for entry in _load(table).ravel():
        name = str(entry["name"])
        side = "test" if name in test else "train"
        if split not in (None, side):
            continue
        path = videos / f"{name}.avi"
        clip = clip_of(path, side, table)
        rate = _rate(path)
        tubes = [
            _tube(tube, number, rate, str(clip.label)) for number, tube in enumerate(np.atleast_1d(entry["tubes"]))
        ]
        segments = tuple(Segment((start - 1) / rate, end / rate, str(clip.label)) for start, end, _ in tubes)
        boxes = tuple(box for _, _, tube in tubes for box in tube)
        clips.append(
            Clip(clip.path, clip.label, clip.split, clip.group, segments, boxes, source=SOURCE, licence=clip.licence)
        )
    return clips


def _load(path: Path) -> Any:
    from scipy.io import loadmat

    try:
        return loadmat(path, squeeze_me=True)["annot"]
    except Exception as error:
        raise ManifestError(f"{path} is not the annotations' MATLAB file: {type(error).__name__}: {error}") from error


def _rate(path: Path) -> float:
    try:
        return header_rate(path) or FPS
    except VideoError:
        return FPS


def _tube(tube: Any, number: int, rate: float, label: str) -> tuple[int, int, list[Box]]:
    """First and last frame, counted from 1, and the boxes of one actor."""
    start, end = int(tube["sf"]), int(tube["ef"])
    # Stored as bytes where they fit: x + w would overflow.
    corners = np.atleast_2d(tube["boxes"]).astype(float)
    corners[:, 2:] += corners[:, :2]
    boxes = [
        Box((start - 1 + index) / rate, x0, y0, x1, y1, label, tube=number)
        for index, (x0, y0, x1, y1) in enumerate(corners[: end - start + 1].tolist())
        if x0 < x1 and y0 < y1
    ]
    return start, end, boxes
