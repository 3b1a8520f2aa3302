"""Moments in Time, version 1 (Monfort et al. 2018): a million clips of 3 s, 339 classes."""

from __future__ import annotations

from pathlib import Path

from whenwhere.datasets.layout import find, read_lines
from whenwhere.datasets.manifest import ManifestError
from whenwhere.structures import Clip

SOURCE = "Moments in Time v1, MIT-IBM Watson AI Lab"
LICENCE = "non-commercial research and education"
CLASSES = 339
_HOW = "Unpack Moments_in_Time_256x256_30fps.zip there."
_PARTS = {"trainingSet.csv": ("training", "train"), "validationSet.csv": ("validation", "test")}


def moments(root: str | Path, annotations: str | Path | None = None) -> list[Clip]:
    """Clips of both published parts. Results are reported on the validation set, so it is the test split here.

    Layout: ``training/CLASS/NAME.mp4``, ``validation/CLASS/NAME.mp4``, ``trainingSet.csv`` and ``validationSet.csv``
    with lines ``CLASS/NAME.mp4,CLASS,...`` (votes follow), ``moments_categories.txt`` with lines ``CLASS,NUMBER``. The
    group is the web video a clip was cut from, where its name tells.

    Args:
        root: the folder of the archive, or the one it lies in.
        annotations: folder of the lists, when they are not beside the videos.

    Raises:
        ManifestError: lists or videos are not there, or a line names an unknown class.
    """
    base = find(root, ("Moments_in_Time_256x256_30fps", "Moments_in_Time_Raw", "."), "videos", _HOW)
    lists = Path(annotations) if annotations else base
    table = find(lists, ("moments_categories.txt", "category_momentsv1.txt"), "list of classes", _HOW)
    known = {" ".join(words).split(",")[0] for words in read_lines(table)}
    clips = []
    for name, (folder, split) in _PARTS.items():
        for number, words in enumerate(read_lines(lists / name), start=1):
            file, label, *_ = " ".join(words).split(",")
            if label not in known:
                raise ManifestError(f"{lists / name}, line {number}: class {label!r} is not in {table.name}")
            path = base / folder / file
            clips.append(Clip(str(path), label, split, _group(path.stem), source=SOURCE, licence=LICENCE))
    return clips


def _group(name: str) -> str | None:
    """The video of ``yt-ID_NUMBER`` and its like: everything before the last underscore."""
    return name.rpartition("_")[0] or None
