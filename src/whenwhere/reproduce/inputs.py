"""What products were made of, so that what was made of other data is made anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from whenwhere.datasets.integrity import content_hash
from whenwhere.datasets.manifest import VIDEO_SUFFIXES
from whenwhere.evaluation.predictions import write_json


def table_of(source: Path) -> Path:
    """The manifest of a folder that has one; else what is given, a file or a folder per class."""
    tables = (source / f"manifest{suffix}" for suffix in (".parquet", ".csv"))
    return next((table for table in tables if table.is_file()), source)


def digest(source: Path) -> str | None:
    """SHA-256 of a file's content, or of names and sizes of a folder's videos; None where there is neither."""
    path = table_of(source)
    if path.is_dir():
        videos = [(video.relative_to(path).as_posix(), video.stat().st_size) for video in _videos(path)]
        return hashlib.sha256(json.dumps(videos).encode()).hexdigest()
    try:
        status = path.stat()
    except OSError:
        return None
    return _content(path.absolute(), status.st_size, status.st_mtime_ns)


def changed_since(source: Path, record: Path) -> bool:
    """Whether a file, or a folder's videos, changed after ``record`` was written."""
    path = table_of(source)
    parts = {part for video in _videos(path) for part in (video, video.parent)} if path.is_dir() else {path}
    return any(part.exists() and part.stat().st_mtime_ns > record.stat().st_mtime_ns for part in parts)


def is_of(product: Path, record: Mapping[str, Any]) -> bool:
    """Whether what is or will be in ``product`` was last begun with this record, see :func:`begin`."""
    try:
        return bool(json.loads(_beside(product).read_text(encoding="utf-8")) == record)
    except (OSError, ValueError):
        return False


def begin(product: Path, record: Mapping[str, Any]) -> None:
    """Put a record beside a product that is about to be made, and remove one that was made of other things."""
    product.unlink(missing_ok=True)
    write_json(_beside(product), record)


def _beside(product: Path) -> Path:
    return product.with_name(f"made_{product.name}.json")


def _videos(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in VIDEO_SUFFIXES]


@lru_cache
def _content(path: Path, size: int, changed: int) -> str:
    """Read once, unless the file changes."""
    return content_hash(path)
