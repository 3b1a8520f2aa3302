"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path, shared: bool = False) -> Iterator[Path]:
    """Where to write what becomes ``path`` when the block ends; when it fails nothing of it is left.

    Args:
        shared: several processes may write it at once, all the same.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial" if shared else f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def moved_file(path: str | Path, folder: Path) -> Path:
    """Where the file that was at ``path`` is in ``folder``, which took its folder's place or that of one above it.

    Returns:
        The file with most of the old folders in its path; the one of its name where there is none.
    """
    *above, name = Path(os.path.abspath(path)).parts[1:]
    for first in range(len(above)):
        if (found := folder.joinpath(*above[first:], name)).is_file():
            return found
    return folder / name
