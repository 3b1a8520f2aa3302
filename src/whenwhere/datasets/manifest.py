"""One table of clips, from a CSV file or a folder per class; the only thing the rest knows of a data set."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from whenwhere.structures import Box, Clip, Segment

VIDEO_SUFFIXES = frozenset(
    [".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp", ".ogv"]
)


class ManifestError(Exception):
    """A data set that cannot be used as it is; says what is wrong and what to do."""


def read_clips(source: str | Path) -> list[Clip]:
    """Read a manifest: a CSV file, or a folder with one folder of videos per class.

    A CSV needs a column ``path`` (or ``file``), relative to the CSV, and ``label``; ``split``, ``group``,
    ``segments`` and ``boxes`` (JSON lists) are optional. A folder may have ``train``, ``val`` and ``test``
    above the classes.

    Raises:
        ManifestError: nothing there, no clip in it, or a row that does not read.
    """
    source = Path(source)
    if source.is_dir():
        table = source / "manifest.csv"
        return _from_csv(table) if table.is_file() else _from_folder(source)
    if not source.is_file():
        raise ManifestError(f"no such data: {source}. Expected a CSV manifest or a folder with a folder per class.")
    return _from_csv(source)


def _from_csv(path: Path) -> list[Clip]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ManifestError(f"{path} has no rows; expected a header and a line per clip")
    column = next((name for name in ("path", "file") if name in rows[0]), None)
    if column is None or "label" not in rows[0]:
        raise ManifestError(f"{path} needs the columns 'path' and 'label', found {sorted(rows[0])}")
    return [_from_row(path, number, row, column) for number, row in enumerate(rows, start=2)]


def _from_row(path: Path, number: int, row: dict[str, str], column: str) -> Clip:
    try:
        return Clip(
            path=str(path.parent / row[column]),
            label=row["label"] or None,
            split=row.get("split") or None,
            group=row.get("group") or None,
            segments=tuple(_segment(item) for item in json.loads(row.get("segments") or "[]")),
            boxes=tuple(Box(**{"label": row["label"], **item}) for item in json.loads(row.get("boxes") or "[]")),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ManifestError(f"{path}, line {number}: {error}") from error


def _segment(item: dict | list) -> Segment:
    if isinstance(item, list):
        label, start, end = item
        return Segment(start, end, label)
    return Segment(**item)


def _from_folder(root: Path) -> list[Clip]:
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


def class_names(clips: Sequence[Clip]) -> tuple[str, ...]:
    """Sorted names of the classes.

    Raises:
        ManifestError: a clip without a label, or fewer than two classes.
    """
    unlabelled = [clip.path for clip in clips if clip.label is None]
    if unlabelled:
        raise ManifestError(f"{len(unlabelled)} clips have no label, first {unlabelled[0]}")
    names = tuple(sorted({str(clip.label) for clip in clips}))
    if len(names) < 2:
        raise ManifestError(f"a recogniser needs at least two classes, found {list(names)}")
    return names


def split_clips(
    clips: Sequence[Clip], val_share: float, test_share: float = 0.2, seed: int = 0
) -> dict[str, list[Clip]]:
    """Clips by split. Splits of the manifest are kept; what is missing is carved out by group.

    A manifest without any split gets a test split of ``test_share``; one without ``val`` gets a validation
    split of about ``val_share`` of its training clips. All clips of a group land on the same side (a clip
    without a group is a group of its own), each class is drawn on in turn, and the draw depends on
    ``seed`` only.
    """
    clips = list(clips)
    if all(clip.split is None for clip in clips):
        clips = _carve(clips, test_share, "test", seed)
    clips = [clip if clip.split else replace(clip, split="train") for clip in clips]
    if val_share and not any(clip.split == "val" for clip in clips):
        train = [clip for clip in clips if clip.split == "train"]
        clips = [clip for clip in clips if clip.split != "train"] + _carve(train, val_share, "val", seed)
    result = {name: [clip for clip in clips if clip.split == name] for name in ("train", "val", "test")}
    if not result["train"]:
        raise ManifestError("no training clips: every row of the manifest is in another split")
    return result


def _carve(clips: list[Clip], share: float, name: str, seed: int) -> list[Clip]:
    """Move whole groups to split ``name`` until each class has about its share there."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.group or clip.path, []).append(clip)
    wanted = {label: share * sum(clip.label == label for clip in clips) for label in {clip.label for clip in clips}}
    taken = dict.fromkeys(wanted, 0)
    moved: set[str] = set()
    order = sorted(groups)
    np.random.default_rng(seed).shuffle(order)
    for group in order:
        members = [clip.label for clip in groups[group]]
        after = {label: taken[label] + members.count(label) for label in wanted}
        gain = sum(abs(wanted[x] - taken[x]) - abs(wanted[x] - after[x]) for x in wanted)
        if gain > 0:
            moved.add(group)
            taken = after
    return [
        replace(clip, split=name if key in moved else "train") for key, members in groups.items() for clip in members
    ]
