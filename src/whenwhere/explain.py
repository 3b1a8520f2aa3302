"""Explain many videos: find them, write their pages, go on past the ones that fail."""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from whenwhere.datasets.manifest import VIDEO_SUFFIXES
from whenwhere.errors import WhenwhereError
from whenwhere.recognizer import Answer, Recognizer
from whenwhere.rendering import (
    INLINE_LIMIT,
    IndexEntry,
    is_index,
    write_filmstrip,
    write_index,
    write_overlay,
    write_report,
    write_thumbnail,
)
from whenwhere.structures import Clip, Explanation, Segment
from whenwhere.video import VideoError

FILES = ("explanation.json", "overlay.mp4", "filmstrip.png", "thumbnail.jpg", "report.html")
INDEX = "index.html"
_OURS = re.compile(
    "|".join(map(re.escape, FILES))
    + r"|explanation_\d+\.json|report\.mp4|(explanation|overlay|filmstrip|thumbnail|report)[^/]*\.partial"
)


class FolderError(WhenwhereError):
    """A folder where an explanation should go holds something else."""


def find_videos(patterns: Sequence[str]) -> list[Path]:
    """Files, and what folders and globs hold, sorted, each once. A name that matches nothing stays, to be reported.

    In a folder, videos that :func:`explain_to` wrote beside their explanation are left out.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            videos = (p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
            matches = sorted(p for p in videos if not (_OURS.fullmatch(p.name) and (p.parent / FILES[0]).exists()))
        elif path.exists():
            matches = [path]
        else:
            matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
        found.update(dict.fromkeys(matches or [path]))
    return list(found)


@dataclass(frozen=True)
class ExplainOptions:
    """How videos are explained into folders.

    Attributes:
        top: number of classes in the answer.
        window: seconds; long videos are looked at in windows of this length; None: as `Recognizer.explain`.
        overlap: share of a window that lies in the next one too, in [0, 1).
        grad_cam: show Grad-CAM of the same network beside its attention.
        inline_limit: bytes of the largest video that becomes part of a report, and of all thumbnails together that
            become part of the index; what is larger stays beside the page.
    """

    top: int = 5
    window: float | None = None
    overlap: float = 0.5
    grad_cam: bool = False
    inline_limit: int = INLINE_LIMIT


def explanations_of(
    recognizer: Recognizer, video: Path, options: ExplainOptions, compare: Recognizer | None = None
) -> list[Explanation]:
    """What the model says about one video, what its Grad-CAM says when asked for, and what another model says.

    Raises:
        VideoError: the video cannot be read.
    """

    def explain(model: Recognizer, answer: Answer = "attention") -> Explanation:
        return model.explain(video, options.top, window=options.window, overlap=options.overlap, answer=answer)

    explanations = [explain(recognizer)]
    if options.grad_cam:
        explanations.append(explain(recognizer, "grad_cam"))
    if compare is not None:
        explanations.append(explain(compare))
    return explanations


def is_free(folder: Path) -> bool:
    """True when an explanation may be written there: nothing is lost but an earlier one.

    A single file called like one of ours is no explanation: ``report/report.mp4`` is somebody's video.
    """
    if folder.is_symlink() or not folder.is_dir():
        return not os.path.lexists(folder)
    paths = list(folder.iterdir())
    if not all(_OURS.fullmatch(path.name) and path.is_file() and not path.is_symlink() for path in paths):
        return False
    # explanation.json is written first; work that was killed before may leave its unfinished file alone
    return any(path.name == FILES[0] for path in paths) or all(path.suffix == ".partial" for path in paths)


def explain_to(
    recognizer: Recognizer,
    video: Path,
    folder: Path,
    options: ExplainOptions | None = None,
    compare: Recognizer | None = None,
    truth_segments: Sequence[Segment] = (),
) -> Explanation:
    """Explain one video into ``folder``, which appears when all of :data:`FILES` are written.

    Where the report compares, the others' explanations are ``explanation_2.json`` and so on.

    Args:
        recognizer: the model.
        video: a file.
        folder: replaced when it holds an earlier explanation.
        options: how.
        compare: another model, shown beside it in the report.
        truth_segments: ground truth to show in the report.

    Raises:
        VideoError: the video cannot be read.
        FolderError: the folder holds something else, or the video itself.
    """
    options = options or ExplainOptions()
    partial = folder.with_name(folder.name + ".partial")
    for taken in (folder, partial):
        if video.resolve().parent == taken.resolve():
            raise FolderError(f"{taken} holds {video.name}, which is to be explained: choose another folder")
        if not is_free(taken):
            raise FolderError(
                f"{taken} exists and holds more than an explanation, which would be lost: choose another folder"
            )
    explanation, *others = explanations_of(recognizer, video, options, compare)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        explanation.save(partial / "explanation.json")
        for number, other in enumerate(others, start=2):
            other.save(partial / f"explanation_{number}.json")
        write_overlay(explanation, partial / "overlay.mp4")
        write_filmstrip(explanation, partial / "filmstrip.png")
        write_thumbnail(explanation, partial / "thumbnail.jpg")
        links, limit = {"overlay": "overlay.mp4"}, options.inline_limit
        page = partial / "report.html"
        write_report(explanation, page, truth_segments=truth_segments, others=others, links=links, inline_limit=limit)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return explanation


def explain_all(
    recognizer: Recognizer,
    videos: Sequence[Path],
    out: Path,
    options: ExplainOptions | None = None,
    log: Callable[[str], None] = print,
    compare: Recognizer | None = None,
    truth: Mapping[Path, Sequence[Segment]] | None = None,
) -> int:
    """Explain videos one by one, each into a folder of its own, and write ``index.html``.

    The index lists what was done, also when the work ends before its time.

    Args:
        recognizer: the model.
        videos: files.
        out: folder for all; made when missing. What others left in it stays.
        options: how.
        log: told of every video.
        compare: another model, shown beside it in the reports.
        truth: ground truth by file, as :func:`truth_of` gives it.

    Returns:
        How many failed.

    Raises:
        FolderError: ``out`` has an ``index.html`` of somebody else.
    """
    options, truth = options or ExplainOptions(), truth or {}
    if os.path.lexists(out / INDEX) and not is_index(out / INDEX):
        raise FolderError(f"{out / INDEX} was not written by whenwhere and would be lost: choose another folder")
    holding = {video.resolve().parent for video in videos}
    out.mkdir(parents=True, exist_ok=True)
    entries, used = list[IndexEntry](), {INDEX}
    try:
        for video, shown in zip(videos, shown_names(videos), strict=True):
            name = _free_name(video.stem, out, used, holding)
            segments = truth.get(video.resolve(), ())
            try:
                explanation = explain_to(recognizer, video, out / name, options, compare, segments)
            except VideoError as error:
                log(f"failed: {error}")
                entries.append(IndexEntry(shown, error=str(error)))
                continue
            log(_said(video, explanation, out / name / "report.html"))
            entries.append(IndexEntry(shown, explanation, f"{name}/report.html", thumbnail=f"{name}/thumbnail.jpg"))
    finally:
        write_index(entries, out / INDEX, options.inline_limit)
    return sum(entry.error is not None for entry in entries)


def truth_of(clips: Iterable[Clip]) -> dict[Path, tuple[Segment, ...]]:
    """Ground truth of clips that have any, by file."""
    return {Path(clip.path).resolve(): clip.segments for clip in clips if clip.segments}


def _said(video: Path, explanation: Explanation, report: Path) -> str:
    when = ", ".join(
        ("" if s.label == explanation.label else f"{s.label} ") + f"{s.start:.1f}-{s.end:.1f} s"
        for s in explanation.segments
    )
    return f"{video}: {explanation.label} ({explanation.score:.0%}), {when or 'at no time in particular'}: {report}"


def shown_names(videos: Sequence[Path]) -> list[str]:
    """What videos are called in a list of them: their paths below the folder that holds them all."""
    if len(videos) < 2:
        return [video.name for video in videos]
    folder = os.path.commonpath([video.absolute().parent for video in videos])
    return [str(video.absolute().relative_to(folder)) for video in videos]


def _free_name(stem: str, out: Path, used: set[str], holding: Set[Path]) -> str:
    """A name for a folder in ``out`` that neither another video nor somebody else's files have.

    ``holding`` are the folders, resolved, in which the videos lie: what is to be explained is never replaced.
    """

    def free(folder: Path) -> bool:
        return folder.resolve() not in holding and is_free(folder)

    name, number = stem, 2
    while name in used or not (free(out / name) and free(out / f"{name}.partial")):
        name, number = f"{stem}_{number}", number + 1
    used.add(name)
    return name
