"""Pictures of an explanation: overlay video, filmstrip, and a page that plays the video with its attention."""

from __future__ import annotations

from whenwhere.rendering.filmstrip import write_filmstrip
from whenwhere.rendering.overlay import (
    OverlayOptions,
    OverlayRenderer,
    blend_mask,
    boxes_at,
    mask_at,
    write_overlay,
)
from whenwhere.rendering.report import IndexEntry, write_index, write_report
from whenwhere.rendering.summary import summary_sentence

__all__ = [
    "IndexEntry",
    "OverlayOptions",
    "OverlayRenderer",
    "blend_mask",
    "boxes_at",
    "mask_at",
    "summary_sentence",
    "write_filmstrip",
    "write_index",
    "write_overlay",
    "write_report",
]
