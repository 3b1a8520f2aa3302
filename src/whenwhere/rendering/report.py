"""One HTML page per explained video that opens from disk."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from whenwhere.files import whole_file, write_text
from whenwhere.rendering.overlay import check_size
from whenwhere.rendering.pages import INLINE_LIMIT, address
from whenwhere.rendering.player import playable_copy, player_page
from whenwhere.structures import Explanation, Segment
from whenwhere.video import probe


def _video_source(playable: Path, original: Path, page: Path, inline_limit: int) -> str:
    """What goes into ``<video src>``: the bytes themselves, or a file beside the page when they are too many."""
    if playable.stat().st_size <= inline_limit:
        return "data:video/mp4;base64," + base64.b64encode(playable.read_bytes()).decode("ascii")
    if playable == original and original.resolve().parent == page.resolve().parent:
        return address(original.name)
    beside = page.with_suffix(".mp4")
    if beside.exists() and beside.samefile(original):  # a copy of another codec must not replace the video itself
        beside = page.with_name(f"{page.stem}_h264.mp4")
    with whole_file(beside) as partial:
        shutil.copyfile(playable, partial)
    return address(beside.name)


def write_report(
    explanation: Explanation,
    path: str | Path,
    video_path: str | Path | None = None,
    truth_segments: Sequence[Segment] = (),
    *,
    others: Sequence[Explanation] = (),
    links: Mapping[str, str] | None = None,
    inline_limit: int = INLINE_LIMIT,
) -> None:
    """Write one HTML file with the video, its attention drawn live over it, and a timeline.

    The file needs nothing else and asks nothing of the network. Only a video over ``inline_limit`` is put beside
    it, under the page's name with the suffix ``.mp4``, or ``_h264.mp4`` where that is the video itself. A video
    browsers cannot play is transcoded first.

    Args:
        explanation: what to show.
        path: the HTML file to write.
        video_path: the video, when it is no longer at ``explanation.path``.
        truth_segments: ground truth to show under the prediction.
        others: further explanations of the same video, by other models for instance, shown beside it.
        links: as for :func:`player_page`; here ``overlay`` is the file of `write_overlay`, relative to the page.
        inline_limit: bytes of the largest video that becomes part of the page.

    Raises:
        VideoError: the video cannot be read.
        ValueError: it does not have the size the explanation was made for; as :func:`player_page`.
    """
    path, video = Path(path), Path(video_path or explanation.path)
    info = probe(video)
    check_size(explanation, video, info.width, info.height)
    with playable_copy(video) as (playable, facts):
        source = _video_source(playable, video, path, inline_limit)
    page = player_page(explanation, facts, source, truth_segments=truth_segments, others=others, links=links)
    write_text(path, page)
