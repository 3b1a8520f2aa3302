"""One HTML page per explained video that opens from disk, and an index page for a folder of them."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av

from whenwhere.files import whole_file, write_text
from whenwhere.rendering.overlay import heat_colors, mask_scale
from whenwhere.rendering.strip import label_colors, percent
from whenwhere.rendering.summary import mask_is_flat, summary_sentence
from whenwhere.structures import Explanation, Segment
from whenwhere.video import VideoWriter, iter_frames, probe
from whenwhere.video.container import open_video

INLINE_LIMIT = 50_000_000  # bytes; beyond this a page becomes slow to open and the video goes beside it
_ASSETS = Path(__file__).parent


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace each ``{{name}}`` once; what is put in is not searched again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def inline_json(data: object) -> str:
    """JSON that may stand inside ``<script>``: no ``<`` can end the element or open a comment."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class VideoFacts:
    """What the page must know about a video file.

    Attributes:
        playable: every current browser plays it (H.264 with 4:2:0 colour in an mp4).
        frame_seconds: seconds from one frame to the next, on average.
        offset: seconds on a player's clock at which the first frame is shown.
    """

    playable: bool
    frame_seconds: float
    offset: float


def video_facts(path: str | Path) -> VideoFacts:
    """Look a video file up.

    Raises:
        VideoError: the file is missing, damaged or holds no video.
    """
    info = probe(path)
    with open_video(path) as (container, stream):
        codec = stream.codec_context
        playable = (
            "mp4" in container.format.name.split(",")
            and codec.name == "h264"
            and codec.pix_fmt in ("yuv420p", "yuvj420p")
        )
        start = float((stream.start_time or 0) * stream.time_base) - (container.start_time or 0) / av.time_base
    return VideoFacts(playable, 1 / info.fps, max(start, 0.0))


@contextmanager
def _playable_copy(path: Path) -> Iterator[tuple[Path, VideoFacts]]:
    """The file itself when browsers play it, otherwise an H.264 copy that lives as long as the context."""
    facts = video_facts(path)
    if facts.playable:
        yield path, facts
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"{path.stem}.mp4"
        with VideoWriter(copy) as writer:
            for time, frame in iter_frames(path):
                writer.write(frame, time)
        yield copy, video_facts(copy)


def _video_source(playable: Path, original: Path, page: Path) -> str:
    """What goes into ``<video src>``: the bytes themselves, or a file beside the page when they are too many."""
    if playable.stat().st_size <= INLINE_LIMIT:
        return "data:video/mp4;base64," + base64.b64encode(playable.read_bytes()).decode("ascii")
    if playable == original and original.resolve().parent == page.resolve().parent:
        return quote(original.name)
    beside = page.with_suffix(".mp4")
    with whole_file(beside) as partial:
        shutil.copyfile(playable, partial)
    return quote(beside.name)


def report_data(explanation: Explanation, facts: VideoFacts, truth_segments: Sequence[Segment] = ()) -> dict[str, Any]:
    """Everything the page's script reads."""
    low, span = mask_scale(explanation)
    return {
        "explanation": explanation.to_dict(),
        "truth": [asdict(segment) for segment in truth_segments],
        "maskLow": low,
        "maskSpan": span,
        "flat": mask_is_flat(explanation),
        "frameSeconds": facts.frame_seconds,
        "videoOffset": facts.offset,
        "heatColors": heat_colors().tolist(),
        "labelColors": label_colors(explanation, truth_segments),
    }


def write_report(
    explanation: Explanation,
    path: str | Path,
    video_path: str | Path | None = None,
    truth_segments: Sequence[Segment] = (),
) -> None:
    """Write one HTML file with the video, its attention drawn live over it, and a timeline.

    The file needs nothing else and asks nothing of the network. Only a video over 50 MB is put beside
    it, under the page's name with the suffix ``.mp4``. A video browsers cannot play is transcoded first.

    Args:
        explanation: what to show.
        path: the HTML file to write.
        video_path: the video, when it is no longer at ``explanation.path``.
        truth_segments: ground truth to show under the prediction.

    Raises:
        VideoError: the video cannot be read.
    """
    path, video = Path(path), Path(video_path or explanation.path)
    with _playable_copy(video) as (playable, facts):
        source = _video_source(playable, video, path)
    page = fill(
        asset("player.html"),
        {
            "title": html.escape(f"{explanation.label} – {Path(explanation.path).name}"),
            "name": html.escape(Path(explanation.path).name),
            "summary": html.escape(summary_sentence(explanation)),
            "frames": str(len(explanation.times)),
            "grid": f"{explanation.masks.shape[2]} × {explanation.masks.shape[1]}",
            "model": html.escape(f" Model: {explanation.model}." if explanation.model else ""),
            "width": str(explanation.width),
            "height": str(explanation.height),
            "css": asset("player.css"),
            "js": asset("attention.js") + asset("player.js"),
            "data": inline_json(report_data(explanation, facts, truth_segments)),
            "video": source,
        },
    )
    write_text(path, page)


@dataclass(frozen=True)
class IndexEntry:
    """One line of the index page.

    Attributes:
        file: the video, as the reader should see it.
        explanation: what the model said, or None when it failed.
        report: link to the report, relative to the index page.
        error: why there is no explanation.
    """

    file: str
    explanation: Explanation | None = None
    report: str | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if (self.explanation is None) == (self.error is None):
            raise ValueError(f"IndexEntry of {self.file} needs either an explanation or an error")


def _sparkline(explanation: Explanation) -> str:
    """Importance over time as a small SVG, with the predicted segments under it."""
    greatest, duration = max(explanation.importance), explanation.duration
    curve = [
        (time / duration * 100, 20 - 18 * value / greatest)
        for time, value in zip(explanation.times, explanation.importance, strict=True)
    ]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(0, curve[0][1]), *curve, (100, curve[-1][1])])
    bars = "".join(
        f'<rect x="{s.start / duration * 100:.1f}" y="22" width="{s.duration / duration * 100:.1f}" height="4"/>'
        for s in explanation.segments
    )
    return (
        '<svg class="spark" viewBox="0 0 100 26" preserveAspectRatio="none" aria-hidden="true">'
        f'<polygon points="0,20 {points} 100,20"/>{bars}</svg>'
    )


def _index_row(entry: IndexEntry) -> str:
    name = html.escape(entry.file)
    if entry.explanation is None:
        return (
            f'<tr class="failed"><th scope="row">{name}</th><td colspan="4">{html.escape(entry.error or "")}</td></tr>'
        )
    explanation = entry.explanation
    if entry.report:
        name = f'<a href="{html.escape(quote(entry.report), quote=True)}">{name}</a>'
    segments = ", ".join(
        ("" if s.label == explanation.label else f"{s.label} ") + f"{s.start:.1f}–{s.end:.1f} s"
        for s in explanation.segments
    )
    return (
        f'<tr><th scope="row">{name}</th><td>{html.escape(explanation.label)}</td>'
        f'<td class="number">{percent(explanation.score)}</td><td>{_sparkline(explanation)}</td>'
        f"<td>{html.escape(segments) or '–'}</td></tr>"
    )


def write_index(entries: Iterable[IndexEntry], path: str | Path) -> None:
    """Write a page that lists explained videos, in the order given, and after them those that failed and why."""
    entries = sorted(entries, key=lambda entry: entry.error is not None)
    failed = sum(entry.error is not None for entry in entries)
    count = f"{len(entries)} video{'' if len(entries) == 1 else 's'}" + (f", {failed} failed" if failed else "")
    rows = "\n".join(_index_row(entry) for entry in entries)
    page = fill(asset("index.html"), {"css": asset("player.css"), "count": count, "rows": rows})
    write_text(Path(path), page)
