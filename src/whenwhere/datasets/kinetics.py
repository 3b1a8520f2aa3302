"""Kinetics (Kay et al. 2017) and data sets listed like it."""

from __future__ import annotations

import csv
from pathlib import Path

from whenwhere.datasets.manifest import VIDEO_SUFFIXES, ManifestError
from whenwhere.structures import Clip

SOURCE = "Kinetics, DeepMind"
LICENCE = "annotations CC BY 4.0; videos from YouTube"
_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
_SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


def kinetics(root: str | Path, annotations: str | Path | None = None) -> list[Clip]:
    """Clips of the CSV files ``label,youtube_id,time_start,time_end,split``.

    A clip is looked for as ``ID_SSSSSS_EEEEEE`` (start and end in whole seconds, six digits) or ``ID``, in
    ``SPLIT/LABEL``, ``LABEL``, ``SPLIT`` or the root itself, spaces of the label kept or written as underscores. The
    group is the YouTube video.

    Args:
        root: folder of the videos.
        annotations: a CSV or a folder of them; default: ``root`` and ``root/annotations``.

    Raises:
        ManifestError: no lists, or a row that does not read.
    """
    root = Path(root)
    tables = _tables(root, Path(annotations) if annotations else None)
    files = {path.stem: path for path in sorted(root.rglob("*")) if path.suffix.lower() in VIDEO_SUFFIXES}
    clips = []
    for table in tables:
        with table.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                clips.append(_clip(table, number, row, root, files))
    if not clips:
        raise ManifestError(f"{', '.join(map(str, tables))}: no rows")
    return clips


def _tables(root: Path, annotations: Path | None) -> list[Path]:
    if annotations and annotations.is_file():
        return [annotations]
    folders = [annotations] if annotations else [root, root / "annotations"]
    tables = [table for folder in folders for table in sorted(folder.glob("*.csv"))]
    if not tables:
        raise ManifestError(f"{folders[0]} holds no CSV with the columns {','.join(_COLUMNS)}")
    return tables


def _clip(table: Path, number: int, row: dict[str, str], root: Path, files: dict[str, Path]) -> Clip:
    missing = [name for name in _COLUMNS if not row.get(name) and not (name == "split" and table.stem in _SPLITS)]
    if missing:
        raise ManifestError(f"{table}, line {number}: no {', '.join(missing)}; expected {','.join(_COLUMNS)}")
    split = row.get("split") or table.stem
    if split not in _SPLITS:
        raise ManifestError(f"{table}, line {number}: split {split!r} is not one of {', '.join(_SPLITS)}")
    video, start, end = row["youtube_id"], float(row["time_start"]), float(row["time_end"])
    name = f"{video}_{int(start):06d}_{int(end):06d}"
    expected = root / split / row["label"] / f"{name}.mp4"
    path = files.get(name) or files.get(video) or expected
    return Clip(str(path), row["label"], _SPLITS[split], video, source=SOURCE, licence=LICENCE)
