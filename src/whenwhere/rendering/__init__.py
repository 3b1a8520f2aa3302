"""Pictures of an explanation: overlay video, filmstrip, and a page that plays the video with its attention."""

from __future__ import annotations

from whenwhere.rendering.filmstrip import write_filmstrip
from whenwhere.rendering.gallery import write_gallery
from whenwhere.rendering.index_page import IndexEntry, is_index, write_index
from whenwhere.rendering.overlay import (
    OverlayOptions,
    OverlayRenderer,
    blend_mask,
    boxes_at,
    mask_at,
    write_overlay,
)
from whenwhere.rendering.pages import INLINE_LIMIT
from whenwhere.rendering.player import VideoFacts, playable_copy, player_page, video_facts
from whenwhere.rendering.report import write_report
from whenwhere.rendering.summary import summary_sentence
from whenwhere.rendering.thumbnails import thumbnail, write_thumbnail
from whenwhere.rendering.timeline_figure import write_timeline

__all__ = [
    "INLINE_LIMIT",
    "IndexEntry",
    "OverlayOptions",
    "OverlayRenderer",
    "VideoFacts",
    "blend_mask",
    "boxes_at",
    "is_index",
    "mask_at",
    "playable_copy",
    "player_page",
    "summary_sentence",
    "thumbnail",
    "video_facts",
    "write_filmstrip",
    "write_gallery",
    "write_index",
    "write_overlay",
    "write_report",
    "write_thumbnail",
    "write_timeline",
]
