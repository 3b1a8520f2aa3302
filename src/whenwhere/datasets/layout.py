"""What importers share: finding the parts of an official archive, and saying what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from whenwhere.datasets.manifest import ManifestError


def find(root: str | Path, names: Iterable[str], what: str, where: str) -> Path:
    """The first of ``names`` that exists under ``root``.

    Args:
        root: folder the archives were unpacked in.
        names: relative paths, the official one first; ``.`` is the root itself.
        what: what is looked for, in words.
        where: how to get it.

    Raises:
        ManifestError: none of them exists.
    """
    names = list(names)
    for name in names:
        if (path := Path(root) / name).exists():
            return path
    raise ManifestError(f"{root} holds no {what}; expected {' or '.join(names)}. {where}")


def read_lines(path: Path) -> list[list[str]]:
    """Words of every line that is not empty.

    Raises:
        ManifestError: no such file, or not text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as text: {error}") from error
    return [line.split() for line in lines if line.strip()]


def check_split(split: int, known: Iterable[int] = (1, 2, 3)) -> None:
    """Raises: ManifestError when there is no such official split."""
    if split not in (known := tuple(known)):
        raise ManifestError(f"there is no split {split}; official ones are {', '.join(map(str, known))}")
