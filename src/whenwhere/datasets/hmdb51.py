"""HMDB51 (Kuehne et al. 2011): 51 classes, three official splits of 3570 training and 1530 test clips."""

from __future__ import annotations

from pathlib import Path

from whenwhere.datasets.layout import check_split, find, read_lines
from whenwhere.datasets.manifest import ManifestError
from whenwhere.structures import Clip

SOURCE = "HMDB51, Serre Lab, Brown University"
LICENCE = "CC BY 4.0; clips from films and web videos"
LISTS = "testTrainMulti_7030_splits"
_HOW = "Unpack hmdb51_org.rar, the archives in it, and test_train_splits.rar there."
_SPLIT_OF_FLAG = {"1": "train", "2": "test", "0": None}


def hmdb51(root: str | Path, split: int = 1, annotations: str | Path | None = None) -> list[Clip]:
    """Clips of an official split; those it does not use (flag 0) are left out.

    Layout: ``hmdb51_org/CLASS/NAME.avi`` (from ``hmdb51_org.rar`` and the archives in it) and
    ``testTrainMulti_7030_splits/CLASS_test_splitK.txt`` (from ``test_train_splits.rar``), lines of a name and a flag:
    1 training, 2 test, 0 unused. The group is the film a clip was cut from, the part of its name before the class.

    Args:
        root: folder that holds both.
        split: 1, 2 or 3.
        annotations: folder of the lists, when it is not ``root/testTrainMulti_7030_splits``.

    Raises:
        ManifestError: lists or videos are not there, or a line does not read.
    """
    check_split(split)
    lists = Path(annotations) if annotations else find(root, (LISTS, "test_train_splits"), "split lists", _HOW)
    videos = find(root, ("hmdb51_org", "."), "videos", _HOW)
    ending = f"_test_split{split}.txt"
    files = sorted(lists.glob(f"*{ending}"))
    if not files:
        raise ManifestError(f"{lists} holds no CLASS{ending}. {_HOW}")
    clips = []
    for file in files:
        label = file.name.removesuffix(ending)
        for words in read_lines(file):
            if len(words) != 2 or words[1] not in _SPLIT_OF_FLAG:
                raise ManifestError(f"{file}: expected a file name and a flag 0, 1 or 2, found {' '.join(words)!r}")
            part = _SPLIT_OF_FLAG[words[1]]
            if part:
                group = words[0].rpartition(f"_{label}_")[0] or None
                path = videos / label / words[0]
                clips.append(Clip(str(path), label, part, group, source=SOURCE, licence=LICENCE))
    return clips
