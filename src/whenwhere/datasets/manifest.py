"""One table of clips, CSV or Parquet; the only thing the rest knows of a data set.

A row is a clip. Columns: ``path`` (or ``file``; relative to the table), ``label``, ``labels`` (all of them, where a
clip has several), ``split``, ``group``, ``fps``, ``frames``, ``duration`` (seconds), ``segments`` (seconds), ``boxes``
(pixels of the original frame), ``source``, ``licence``, ``flow`` (a file likewise, see ``whenwhere flow``). All but
``path`` and ``label`` may be missing. In a CSV, ``labels``, ``segments`` and ``boxes`` are JSON lists.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from whenwhere.errors import WhenwhereError
from whenwhere.files import whole_file
from whenwhere.structures import Box, Clip, Segment

VIDEO_SUFFIXES = frozenset(
    [".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp", ".ogv"]
)
COLUMNS = tuple(field.name for field in fields(Clip))
_NESTED = ("labels", "segments", "boxes")


class ManifestError(WhenwhereError):
    """A data set that cannot be used as it is; says what is wrong and what to do."""


def read_clips(source: str | Path) -> list[Clip]:
    """Read a manifest (``.csv`` or ``.parquet``), or a folder with one folder of videos per class.

    A folder that holds a ``manifest.parquet`` or ``manifest.csv`` is read from that; otherwise it may have ``train``,
    ``val`` and ``test`` above the classes.

    Raises:
        ManifestError: nothing there, no clip in it, or a row that does not read.
    """
    source = Path(source)
    if source.is_dir():
        tables = [source / f"manifest{suffix}" for suffix in (".parquet", ".csv")]
        table = next((table for table in tables if table.is_file()), None)
        return _read_table(table) if table else folder_clips(source)
    if not source.is_file():
        raise ManifestError(f"no such data: {source}. Expected a manifest (CSV, Parquet) or a folder per class.")
    return _read_table(source)


def write_clips(clips: Iterable[Clip], path: str | Path) -> Path:
    """Write a manifest, CSV or Parquet by its name; whole or not at all. Paths are made relative to it.

    Raises:
        ManifestError: another suffix, or Parquet without pyarrow.
    """
    path = Path(path)
    rows = [_row(clip, path.parent) for clip in clips]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        if path.suffix == ".parquet":
            pyarrow, parquet = _parquet(path)
            parquet.write_table(pyarrow.Table.from_pylist(rows, schema=_schema(pyarrow)), partial)
        elif path.suffix == ".csv":
            with partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows({name: _cell(name, value) for name, value in row.items()} for row in rows)
        else:
            raise ManifestError(f"{path}: a manifest ends in .csv or .parquet")
    return path


def _row(clip: Clip, folder: Path) -> dict[str, Any]:
    row = asdict(clip) | {"path": os.path.relpath(clip.path, folder), "labels": list(clip.labels)}
    row["flow"] = os.path.relpath(clip.flow, folder) if clip.flow else None
    return row | {name: list(row[name]) for name in ("segments", "boxes")}


def _cell(name: str, value: Any) -> Any:
    if name in _NESTED:
        return json.dumps(value, separators=(",", ":")) if value else ""
    return "" if value is None else value


def _parquet(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ManifestError(f"{path}: Parquet needs pyarrow; pip install 'whenwhere[data]', or use a CSV") from error
    return pyarrow, parquet


def _schema(pa: Any) -> Any:
    text, number = pa.string(), pa.float64()
    segment = pa.struct([("start", number), ("end", number), ("label", text), ("score", number)])
    corners = [(name, number) for name in ("time", "x0", "y0", "x1", "y1")]
    box = pa.struct([*corners, ("label", text), ("score", number), ("tube", pa.int64())])
    kinds = {"labels": pa.list_(text), "segments": pa.list_(segment), "boxes": pa.list_(box)}
    kinds |= {"fps": number, "frames": pa.int64(), "duration": number}
    return pa.schema([(name, kinds.get(name, text)) for name in COLUMNS])


def _read_table(path: Path) -> list[Clip]:
    if path.suffix == ".parquet":
        _, parquet = _parquet(path)
        try:
            rows = parquet.read_table(path).to_pylist()
        except Exception as error:
            raise ManifestError(f"{path} is not a Parquet manifest: {error}") from error
        first = 1
    else:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        first = 2  # below the header
    if not rows:
        raise ManifestError(f"{path} has no rows; expected a header and a line per clip")
    column = next((name for name in ("path", "file") if name in rows[0]), None)
    if column is None or not {"label", "labels"} & set(rows[0]):
        raise ManifestError(f"{path} needs the columns 'path' and 'label', found {sorted(filter(None, rows[0]))}")
    return [_clip(path, number, row, column) for number, row in enumerate(rows, start=first)]


def _clip(path: Path, number: int, row: Mapping[str, Any], column: str) -> Clip:
    try:
        nested = {name: row.get(name) or [] for name in _NESTED}
        nested = {name: json.loads(value) if isinstance(value, str) else value for name, value in nested.items()}
        label = row.get("label") or None
        return Clip(
            path=str(path.parent / row[column]),
            label=label,
            labels=tuple(nested["labels"]),
            segments=tuple(_segment(item) for item in nested["segments"]),
            boxes=tuple(Box(**{"label": label, **item}) for item in nested["boxes"]),
            flow=str(path.parent / row["flow"]) if row.get("flow") else None,
            **{name: row.get(name) or None for name in ("split", "group", "source", "licence")},
            **{name: kind(row[name]) if row.get(name) else None for name, kind in _NUMBERS.items()},
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ManifestError(f"{path}, line {number}: {error}") from error


_NUMBERS = {"fps": float, "frames": int, "duration": float}


def _segment(item: Mapping[str, Any] | Sequence[Any]) -> Segment:
    if isinstance(item, Mapping):
        return Segment(**item)
    label, start, end = item
    return Segment(start, end, label)


def folder_clips(root: Path) -> list[Clip]:
    """Clips of a folder with a folder per class, below ``train``, ``val`` and ``test`` if there are such.

    Raises:
        ManifestError: no videos, or one in no class folder.
    """
    clips = []
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in VIDEO_SUFFIXES or not path.is_file():
            continue
        parts = path.relative_to(root).parts
        split = parts[0] if parts[0] in ("train", "val", "test") and len(parts) > 2 else None
        if len(parts) < (3 if split else 2):
            raise ManifestError(f"{path} lies in no class folder; expected {root.name}/CLASS/{path.name}")
        clips.append(Clip(str(path), label=parts[1 if split else 0], split=split))
    if not clips:
        raise ManifestError(f"no videos under {root}; expected {root.name}/CLASS/VIDEO")
    return clips
