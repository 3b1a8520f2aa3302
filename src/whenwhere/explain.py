"""Explain many videos: find them, write their pages, go on past the ones that fail."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from whenwhere.datasets.manifest import VIDEO_SUFFIXES
from whenwhere.recognizer import Recognizer
from whenwhere.rendering import IndexEntry, write_filmstrip, write_index, write_overlay, write_report
from whenwhere.structures import Explanation
from whenwhere.video import VideoError

FILES = ("explanation.json", "overlay.mp4", "filmstrip.png", "report.html")


def find_videos(patterns: Sequence[str]) -> list[Path]:
    """Files, and what folders and globs hold, sorted, each once. A name that matches nothing stays, to be reported."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            matches = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
        elif path.exists():
            matches = [path]
        else:
            matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
        found.update(dict.fromkeys(matches or [path]))
    return list(found)


def explain_to(
    recognizer: Recognizer,
    video: Path,
    folder: Path,
    top: int = 5,
    window: float | None = None,
    overlap: float = 0.5,
) -> Explanation:
    """Explain one video into ``folder``: ``explanation.json``, ``overlay.mp4``, ``filmstrip.png``, ``report.html``.

    The folder appears when all are written. ``top``, ``window`` and ``overlap`` are those of `Recognizer.explain`.

    Raises:
        VideoError: the video cannot be read.
    """
    explanation = recognizer.explain(video, top, window=window, overlap=overlap)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        explanation.save(partial / "explanation.json")
        write_overlay(explanation, partial / "overlay.mp4")
        write_filmstrip(explanation, partial / "filmstrip.png")
        write_report(explanation, partial / "report.html")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return explanation


def explain_all(
    recognizer: Recognizer,
    videos: Sequence[Path],
    out: Path,
    top: int = 5,
    log: Callable[[str], None] = print,
    window: float | None = None,
    overlap: float = 0.5,
) -> int:
    """Explain videos one by one, each into a folder of its own, and write ``index.html``.

    Returns:
        How many failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    entries, used = [], set[str]()
    for video in videos:
        name = _free_name(video.stem, used)
        try:
            explanation = explain_to(recognizer, video, out / name, top, window, overlap)
        except VideoError as error:
            log(f"failed: {error}")
            entries.append(IndexEntry(str(video), error=str(error)))
            continue
        when = ", ".join(
            ("" if s.label == explanation.label else f"{s.label} ") + f"{s.start:.1f}-{s.end:.1f} s"
            for s in explanation.segments
        )
        log(f"{video}: {explanation.label} ({explanation.score:.0%}), {when}: {out / name / 'report.html'}")
        entries.append(IndexEntry(str(video), explanation, report=f"{name}/report.html"))
    write_index(entries, out / "index.html")
    return sum(entry.error is not None for entry in entries)


def _free_name(stem: str, used: set[str]) -> str:
    name, number = stem, 2
    while name in used:
        name, number = f"{stem}_{number}", number + 1
    used.add(name)
    return name
