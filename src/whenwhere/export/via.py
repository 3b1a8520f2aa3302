"""Segments and boxes as a project of VGG Image Annotator 3, which opens in a browser.

Source: the project file of VIA 3 (robots.ox.ac.uk/~vgg/software/via), its ``_via_attribute.js`` and ``_via_file.js``.
It shows videos by the browser's own element, so boxes are in the browser's pixels, times on its clock, and a video is
named by its address.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whenwhere.evaluation.predictions import write_json
from whenwhere.export.videos import ExportedVideo
from whenwhere.rendering.player import video_facts
from whenwhere.video.container import open_video

_SELECT, _TEXT = 4, 1
_VIDEO, _FILE_ADDRESS, _RECTANGLE = 4, 3, 2
_SEGMENT, _REGION = "FILE1_Z2_XY0", "FILE1_Z1_XY1"


def write_via(videos: Sequence[ExportedVideo], path: Path) -> list[Path]:
    """One project of all videos; VIA finds them by the paths in it, or asks for them."""
    labels = sorted({label for video in videos for label in video.labels})
    options = {str(number): label for number, label in enumerate(labels)}
    keys = {label: key for key, label in options.items()}
    ids = [str(number) for number in range(1, len(videos) + 1)]
    data = {
        "project": {
            "pid": "__VIA_PROJECT_ID__",
            "rev": "__VIA_PROJECT_REV_ID__",
            "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
            "pname": path.stem,
            "data_format_version": "3.1.1",
            "creator": "whenwhere",
            "created": 0,
            "vid_list": ids,
        },
        "config": {
            "file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}},
            "ui": {
                "file_content_align": "center",
                "file_metadata_editor_visible": True,
                "spatial_metadata_editor_visible": True,
                "temporal_segment_metadata_editor_visible": True,
                "spatial_region_label_attribute_id": "2",
                "gtimeline_visible_row_count": "4",
            },
        },
        "attribute": {
            "1": _attribute("action", _SEGMENT, _SELECT, options),
            "2": _attribute("shown", _REGION, _SELECT, options),
            "3": _attribute("segment score", _SEGMENT, _TEXT, {}),
            "4": _attribute("box score", _REGION, _TEXT, {}),
        },
        "file": {
            number: {
                "fid": number,
                "fname": video.path.name,
                "type": _VIDEO,
                "loc": _FILE_ADDRESS,
                "src": video.path.absolute().as_uri(),
            }
            for number, video in zip(ids, videos, strict=True)
        },
        "view": {number: {"fid_list": [number]} for number in ids},
        "metadata": {key: entry for each in zip(ids, videos, strict=True) for key, entry in _said(*each, keys)},
    }
    return [write_json(path, data)]


def _attribute(name: str, anchor: str, kind: int, options: dict[str, str]) -> dict[str, Any]:
    return {
        "aname": name,
        "anchor_id": anchor,
        "type": kind,
        "desc": "",
        "options": options,
        "default_option_id": "",
    }


def _said(number: str, video: ExportedVideo, keys: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
    said = video.explanation
    entries: list[dict[str, Any]] = []
    x, y = _browser_scale(video)
    shift = video_facts(video.path).offset
    for segment in said.segments:
        values = {"1": keys[segment.label], "3": f"{segment.score:.4f}"}
        when = [shift + segment.start, shift + segment.end]
        entries.append({"vid": number, "flg": 0, "z": when, "xy": [], "av": values})
    for box in video.boxes():
        values = {"2": keys[box.label], "4": f"{box.score:.4f}"}
        place = [_RECTANGLE, x * box.x0, y * box.y0, x * (box.x1 - box.x0), y * (box.y1 - box.y0)]
        entries.append({"vid": number, "flg": 0, "z": [shift + box.time], "xy": place, "av": values})
    return [(f"{number}_{place:08d}", entry) for place, entry in enumerate(entries)]


def _browser_scale(video: ExportedVideo) -> tuple[float, float]:
    """Browser pixels for one of ours, along x and y: browsers widen or heighten pixels that are not square."""
    turned = video.info.rotation % 180 != 0
    with open_video(video.path) as (_, stream):
        aspect = float(stream.sample_aspect_ratio or 1)
    x, y = max(aspect, 1.0), max(1 / aspect, 1.0)
    return (y, x) if turned else (x, y)
