"""A page that lists explained videos, to be sorted and filtered."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whenwhere.files import write_text
from whenwhere.rendering.pages import INLINE_LIMIT, address, asset, fill
from whenwhere.rendering.strip import percent
from whenwhere.rendering.thumbnails import jpeg_address
from whenwhere.structures import Explanation

TITLE = "What, when and where – "  # by which a page written earlier is known
SEGMENTS_SHOWN = 3
_SPARK_WIDTH = 100  # units of its view box


@dataclass(frozen=True)
class IndexEntry:
    """One line of the index page.

    Attributes:
        file: the video, as the reader should see it.
        explanation: what the model said, or None when it failed.
        report: link to the report, relative to the index page.
        error: why there is no explanation.
        thumbnail: its JPEG file, relative to the index page.
    """

    file: str
    explanation: Explanation | None = None
    report: str | None = None
    error: str | None = None
    thumbnail: str | None = None

    def __post_init__(self) -> None:
        if (self.explanation is None) == (self.error is None):
            raise ValueError(f"IndexEntry of {self.file} needs either an explanation or an error")


def _sparkline(explanation: Explanation) -> str:
    """Importance over time as a small SVG, the greatest in each column, with the predicted segments under it."""
    greatest, duration = max(explanation.importance), explanation.duration
    columns = np.asarray(explanation.times) / duration * _SPARK_WIDTH
    heights = np.asarray(explanation.importance) / greatest
    if len(columns) > 2 * _SPARK_WIDTH:
        columns, first = np.unique(columns.astype(int), return_index=True)
        heights = np.maximum.reduceat(heights, first)
    curve = [(x, 20 - 18 * height) for x, height in zip(columns.tolist(), heights.tolist(), strict=True)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(0, curve[0][1]), *curve, (100, curve[-1][1])])
    spans = [(s.start / duration * 100, max(s.duration / duration * 100, 0.5)) for s in explanation.segments]
    bars = "".join(f"M{x:.1f} 22h{width:.1f}v4H{x:.1f}z" for x, width in spans[: 2 * _SPARK_WIDTH])
    return (
        '<svg class="spark" viewBox="0 0 100 26" preserveAspectRatio="none" aria-hidden="true">'
        f'<polygon points="0,20 {points} 100,20"/><path d="{bars}"/></svg>'
    )


def _when(explanation: Explanation) -> str:
    """The surest segments in order of time, and how many more there are."""
    shown = sorted(explanation.segments, key=lambda segment: -segment.score)[:SEGMENTS_SHOWN]
    said = ", ".join(
        ("" if s.label == explanation.label else f"{s.label} ") + f"{s.start:.1f}–{s.end:.1f} s"
        for s in sorted(shown, key=lambda segment: segment.start)
    )
    rest = len(explanation.segments) - len(shown)
    return (f"{said} and {rest} more" if rest else said) or "–"


def _row(entry: IndexEntry, explanation: Explanation, picture: str | None) -> str:
    name = html.escape(entry.file)
    shown = f'<img src="{html.escape(picture)}" alt="" loading="lazy" decoding="async">' if picture else ""
    inside = f"{shown}<span>{name}</span>"
    link = f'<a href="{html.escape(address(entry.report))}">{inside}</a>' if entry.report else inside
    peak = explanation.times[int(np.argmax(explanation.importance))]
    first = min((segment.start for segment in explanation.segments), default=explanation.duration)
    return (
        f'<tr data-label="{html.escape(explanation.label)}" data-score="{explanation.score:.6f}">'
        f'<th scope="row" data-sort="{name}"><div class="file">{link}</div></th>'
        f'<td data-sort="{html.escape(explanation.label)}">{html.escape(explanation.label)}</td>'
        f'<td class="number" data-sort="{explanation.score:.6f}">{percent(explanation.score)}</td>'
        f'<td class="wide" data-sort="{peak:.3f}">{_sparkline(explanation)}<small>most at {peak:.1f} s</small></td>'
        f'<td class="wide" data-sort="{first:.3f}">{html.escape(_when(explanation))}</td>'
        f'<td class="number wide" data-sort="{explanation.duration:.3f}">{explanation.duration:.1f} s</td></tr>'
    )


def _pictures(entries: Sequence[IndexEntry], folder: Path, inline_limit: int) -> list[str | None]:
    """Addresses of the thumbnails: the pictures themselves, or when they are too many bytes together, their files."""
    files = [folder / entry.thumbnail if entry.thumbnail else None for entry in entries]
    if sum(file.stat().st_size for file in files if file) > inline_limit:
        return [address(entry.thumbnail) if entry.thumbnail else None for entry in entries]
    return [jpeg_address(file.read_bytes()) if file else None for file in files]


def is_index(path: Path) -> bool:
    """True for a file that :func:`write_index` wrote, told by its title."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return f"<title>{TITLE}" in file.read(2000)


def write_index(entries: Iterable[IndexEntry], path: str | Path, inline_limit: int = INLINE_LIMIT) -> None:
    """Write a page that lists explained videos, in the order given, and after them those that failed and why.

    A reader sorts it by any column and filters it by name, label and probability. It asks nothing of the network.

    Args:
        entries: one for each video.
        path: the HTML file to write.
        inline_limit: bytes of all thumbnails together up to which they become part of the page; beyond, their files
            are shown.
    """
    path, entries = Path(path), list(entries)
    explained = [entry for entry in entries if entry.explanation is not None]
    failed = [entry for entry in entries if entry.error is not None]
    count = f"{len(entries)} video{'' if len(entries) == 1 else 's'}" + (f", {len(failed)} failed" if failed else "")
    rows = [
        _row(entry, entry.explanation, picture)
        for entry, picture in zip(explained, _pictures(explained, path.parent, inline_limit), strict=True)
        if entry.explanation is not None
    ]
    labels = sorted({entry.explanation.label for entry in explained if entry.explanation is not None})
    values = {
        "title": TITLE,
        "css": asset("player.css"),
        "js": asset("index.js"),
        "count": count,
        "labels": "".join(f"<option>{html.escape(label)}</option>" for label in labels),
        "rows": "\n".join(rows),
        "failed": _failures(failed),
    }
    write_text(path, fill(asset("index.html"), values))


def _failures(failed: Sequence[IndexEntry]) -> str:
    if not failed:
        return ""
    items = "\n".join(
        f"<li><strong>{html.escape(entry.file)}</strong><br>{html.escape(entry.error or '')}</li>" for entry in failed
    )
    return f'<section class="failed"><h2>Failed</h2>\n<ul>\n{items}\n</ul></section>'
