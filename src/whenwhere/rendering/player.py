"""The player as a page: a video at any address, with the attention of one model or several over it."""

from __future__ import annotations

import base64
import html
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from whenwhere.rendering.overlay import heat_colors, mask_scale
from whenwhere.rendering.pages import asset, fill, inline_json
from whenwhere.rendering.strip import label_colors
from whenwhere.rendering.summary import mask_is_flat, summary_sentence
from whenwhere.structures import Explanation, Segment
from whenwhere.video import VideoWriter, iter_frames, probe
from whenwhere.video.container import open_video

DOWNLOADS = ("json", "overlay", "png")
_SCRIPTS = ("format.js", "attention.js", "timeline.js", "downloads.js", "player.js")


@dataclass(frozen=True)
class VideoFacts:
    """What the page must know about a video file.

    Attributes:
        playable: every current browser plays it (H.264 with 4:2:0 colour in an mp4).
        frame_seconds: seconds from one frame to the next, on average.
        offset: seconds on a player's clock at which the first frame is shown.
        frame_times: seconds from the first frame at which each is shown; None when they follow evenly.
    """

    playable: bool
    frame_seconds: float
    offset: float
    frame_times: tuple[float, ...] | None = None


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
        # Browsers move what starts before 0 up to it, and leave what starts later where it is.
        earliest = min(container.start_time or 0, 0) / av.time_base
        start = float((stream.start_time or 0) * stream.time_base) - earliest
    return VideoFacts(playable, 1 / info.fps, max(start, 0.0), _uneven(info.timestamps, 1 / info.fps))


def _uneven(timestamps: np.ndarray, step: float) -> tuple[float, ...] | None:
    """The timestamps, unless counting in steps finds every frame."""
    if np.abs(timestamps - step * np.arange(len(timestamps))).max() < 0.05 * step:
        return None
    return tuple(np.round(timestamps, 4).tolist())


@contextmanager
def playable_copy(path: Path) -> Iterator[tuple[Path, VideoFacts]]:
    """The file itself when browsers play it, otherwise an H.264 copy that lives as long as the context.

    Raises:
        VideoError: the video cannot be read.
    """
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


def player_page(
    explanation: Explanation,
    facts: VideoFacts,
    source: str,
    *,
    truth_segments: Sequence[Segment] = (),
    others: Sequence[Explanation] = (),
    links: Mapping[str, str] | None = None,
    back: str | None = None,
) -> str:
    """The page that plays a video with its attention, boxes and timeline, as HTML.

    It holds its script, style and data; all it asks for is ``source``, so it works from disk, from a server and
    under a content security policy that allows inline script and style.

    Args:
        explanation: what to show.
        facts: of the video at ``source``.
        source: address of the video: ``data:``, a file relative to the page, or on the server the page comes from.
        truth_segments: ground truth to show under the prediction.
        others: further explanations of the same video, shown beside it in step.
        links: where ``json`` (the explanation), ``overlay`` (the video with everything drawn in) and ``png`` (a
            picture) are to be had. Without a link the page makes JSON and PNG itself and offers no overlay.
        back: address of the page that lists all videos.

    Raises:
        ValueError: a link of another kind, or an explanation of a video of another size.
    """
    unknown = sorted(set(links or {}) - set(DOWNLOADS))
    if unknown:
        raise ValueError(f"links may hold {', '.join(DOWNLOADS)}, got {', '.join(unknown)}")
    for other in others:
        if (other.width, other.height) != (explanation.width, explanation.height):
            raise ValueError(
                f"{other.path} is {other.width} x {other.height} pixels and {explanation.path} is "
                f"{explanation.width} x {explanation.height}; only explanations of one video can be compared"
            )
    name = Path(explanation.path).name
    views = [explanation, *others]
    names = _view_names(views)
    summary = summary_sentence(explanation) if not others else f"{name}: {' beside '.join(names)}"
    values = {
        "title": html.escape(f"{explanation.label} – {name}"),
        "name": html.escape(name),
        "summary": html.escape(summary),
        "looked": html.escape(" ".join(map(_looked, views, names if others else ["The model"]))),
        "model": html.escape(f" Model: {explanation.model}." if explanation.model and not others else ""),
        "width": str(explanation.width),
        "height": str(explanation.height),
        "css": asset("player.css"),
        "js": "".join(map(asset, _SCRIPTS)),
        "data": inline_json(_page_data(views, names, facts, truth_segments, links or {})),
        "video": html.escape(source),
        "back": f'<nav><a href="{html.escape(back)}">All clips</a></nav>' if back else "",
    }
    return fill(asset("player.html"), values)


def _view_names(views: Sequence[Explanation]) -> list[str]:
    """What each is called on the page: its model, with a number where two would be called the same."""
    names = [view.model or "the model" for view in views]
    return [f"{name} ({i + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _looked(view: Explanation, name: str) -> str:
    frames, rows, columns = view.masks.shape
    return f"{name} looked at {frames} frames on a grid of {columns} × {rows} cells."


def _page_data(
    views: Sequence[Explanation],
    names: Sequence[str],
    facts: VideoFacts,
    truth_segments: Sequence[Segment],
    links: Mapping[str, str],
) -> dict[str, Any]:
    """Everything the page's script reads."""
    first, *others = views
    segments = [*(segment for other in others for segment in other.segments), *truth_segments]
    return {
        "views": [_view_data(view, name) for view, name in zip(views, names, strict=True)],
        "truth": [asdict(segment) for segment in truth_segments],
        "frameSeconds": facts.frame_seconds,
        "frameTimes": facts.frame_times,
        "videoOffset": facts.offset,
        "heatColors": heat_colors().tolist(),
        "labelColors": label_colors(first, segments),
        "links": dict(links),
        "stem": Path(first.path).stem,
    }


def _view_data(view: Explanation, name: str) -> dict[str, Any]:
    low, span = mask_scale(view)
    explanation = replace(view, masks=view.masks[:, :1, :1]).to_dict()  # in figures the masks would be most of the page
    del explanation["masks"]
    return {
        "name": name,
        "explanation": explanation,
        "masks": encoded_masks(view.masks),
        "maskLow": low,
        "maskSpan": span,
        "flat": mask_is_flat(view),
    }


def encoded_masks(masks: np.ndarray) -> dict[str, Any]:
    """Masks `(T, H, W)` as one byte a cell in base64: ``low + step * byte``, off by half a step at most."""
    low, high = float(masks.min()), float(masks.max())
    step = (high - low) / 255
    coded = np.round((masks - low) / (step or 1.0)).astype(np.uint8)
    return {
        "shape": list(masks.shape),
        "low": low,
        "step": step,
        "data": base64.b64encode(coded.tobytes()).decode("ascii"),
    }
