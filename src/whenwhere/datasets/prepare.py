"""From what people downloaded to a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path

from whenwhere.datasets.hmdb51 import hmdb51
from whenwhere.datasets.kinetics import kinetics
from whenwhere.datasets.manifest import ManifestError, folder_clips, read_clips, write_clips
from whenwhere.datasets.moments import moments
from whenwhere.datasets.splits import group_leaks
from whenwhere.datasets.thumos14 import thumos14
from whenwhere.datasets.ucf101 import ucf101
from whenwhere.datasets.ucf101_24 import ucf101_24
from whenwhere.structures import Clip

IMPORTERS: dict[str, Callable[..., list[Clip]]] = {
    "folder": folder_clips,
    "csv": read_clips,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "moments": moments,
    "ucf101_24": ucf101_24,
    "thumos14": thumos14,
    "kinetics": kinetics,
}


@dataclass(frozen=True)
class Prepared:
    """What came of it.

    Attributes:
        manifest: the file written.
        clips: its rows.
        missing: clips that are listed but whose files are not there.
        warnings: sentences about groups on both sides of a split.
    """

    manifest: Path
    clips: tuple[Clip, ...]
    missing: tuple[Clip, ...]
    warnings: tuple[str, ...]

    def counts(self) -> dict[str, tuple[int, int]]:
        """Per split, clips there are and clips missing."""
        there, gone = (Counter(clip.split or "no split" for clip in side) for side in (self.clips, self.missing))
        return {name: (there[name], gone[name]) for name in sorted(there | gone)}


def prepare(
    name: str,
    root: str | Path,
    out: str | Path | None = None,
    split: int | None = None,
    annotations: str | Path | None = None,
    ucf101_root: str | Path | None = None,
) -> Prepared:
    """Write a manifest of a data set as it lies on disk.

    Args:
        name: one of ``IMPORTERS``.
        root: folder of the videos, or the table for ``csv``.
        out: manifest to write, ``.csv`` or ``.parquet``; default ``manifest.csv`` in ``root``.
        split: of UCF101 and HMDB51; default 1.
        annotations: folder of the official lists, when it is not where the archives put it.
        ucf101_root: for THUMOS14, where the trimmed training clips are.

    Raises:
        ManifestError: unknown name, official lists that are missing or do not read, or not one video there.
    """
    if name not in IMPORTERS:
        raise ManifestError(f"no data set {name!r}; known are {', '.join(IMPORTERS)}")
    given = {"split": split, "annotations": annotations, "ucf101_root": ucf101_root}
    options = {option: value for option, value in given.items() if value is not None}
    unused = sorted(set(options) - set(signature(IMPORTERS[name]).parameters))
    if unused:
        raise ManifestError(f"{name} has no {' or '.join(unused)}; leave it out")
    listed = IMPORTERS[name](Path(root), **options)
    clips = [clip for clip in listed if Path(clip.path).is_file()]
    missing = [clip for clip in listed if not Path(clip.path).is_file()]
    if not clips:
        raise ManifestError(f"none of {len(listed)} listed videos is there; the first should be {missing[0].path}")
    root = Path(root)
    manifest = Path(out) if out else (root if root.is_dir() else root.parent) / "manifest.csv"
    write_clips(clips, manifest)
    return Prepared(manifest, tuple(clips), tuple(missing), tuple(group_leaks(clips)))
