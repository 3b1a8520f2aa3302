"""UCF101 (Soomro et al. 2012): 13,320 clips, 101 classes, three official splits."""

from __future__ import annotations

import re
from pathlib import Path

from whenwhere.datasets.layout import check_split, find, read_lines
from whenwhere.datasets.manifest import ManifestError
from whenwhere.structures import Clip

SOURCE = "UCF101, Center for Research in Computer Vision, University of Central Florida"
LICENCE = "videos from YouTube, for research; no licence stated"
LISTS = "ucfTrainTestlist"
_NAME = re.compile(r"v_(?P<label>\w+)_g(?P<group>\d\d)_c\d\d")


def ucf101(root: str | Path, split: int = 1, annotations: str | Path | None = None) -> list[Clip]:
    """Clips of an official split.

    Layout: ``UCF-101/CLASS/v_CLASS_gNN_cMM.avi`` (from ``UCF101.rar``) and ``ucfTrainTestlist/trainlist0K.txt``,
    ``testlist0K.txt`` (from ``UCF101TrainTestSplits-RecognitionTask.zip``). Counts, train and test: 9537 + 3783,
    9586 + 3734, 9624 + 3696. The group is the video a clip was cut from (the ``gNN`` of its name, by class); official
    splits keep groups apart.

    Args:
        root: folder that holds both.
        split: 1, 2 or 3.
        annotations: folder of the lists, when it is not ``root/ucfTrainTestlist``.

    Raises:
        ManifestError: lists or videos are not there, or a line does not read.
    """
    check_split(split)
    lists = Path(annotations) if annotations else find(root, (LISTS,), "split lists", _HOW)
    videos = find(root, ("UCF-101", "."), "videos", _HOW)
    clips = []
    for name, part in (("trainlist", "train"), ("testlist", "test")):
        path = lists / f"{name}{split:02d}.txt"
        clips += [clip_of(videos / words[0], part, path) for words in read_lines(path)]
    return clips


def clip_of(path: Path, split: str | None, listed_in: Path | None = None) -> Clip:
    """A clip from its file's name."""
    name = _NAME.fullmatch(path.stem)
    if name is None:
        raise ManifestError(f"{listed_in}: {path.name!r} is not named v_CLASS_gNN_cMM.avi")
    group = f"{name['label']}_g{name['group']}"
    return Clip(str(path), path.parent.name, split, group, source=SOURCE, licence=LICENCE)


_HOW = "Unpack UCF101.rar and UCF101TrainTestSplits-RecognitionTask.zip there."
