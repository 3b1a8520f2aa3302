"""Boxes as tracks of CVAT, "CVAT for video 1.1"; that format has no place for segments.

Source: docs.cvat.ai, XML annotation format. CVAT interpolates linearly between keyframes, as long as a track is not
outside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from whenwhere.export.videos import ExportedVideo, ExportError, tracks
from whenwhere.files import whole_file, write_text
from whenwhere.rendering.strip import PALETTE
from whenwhere.structures import Box

# All that XML 1.0 can hold, without the carriage return, which readers turn into another character.
_UNWRITABLE = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_cvat(videos: Sequence[ExportedVideo], path: Path) -> list[Path]:
    """A file a video, as CVAT imports them into a task of that video; none where one of the videos is at fault.

    All have the same labels in the same order: a CVAT project has one list, and readers of folders refuse several.
    CVAT refuses annotations of labels that a task lacks: ``labels.json`` is what it takes to make them.
    """
    labels = sorted({label for video in videos for label in video.labels})
    roots = {path / f"{video.name}.xml": _annotations(video, labels) for video in videos}
    written = []
    for place, root in roots.items():
        ET.indent(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(place) as partial:
            ET.ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)
        written.append(place)
    known = [_label(name, number) for number, name in enumerate(labels)]
    return [*written, write_text(path / "labels.json", json.dumps(known, ensure_ascii=False, indent=1))]


def _label(name: str, number: int) -> dict[str, Any]:
    """As the field "Raw" of a new task's labels takes it, and ``cvat-cli task create --labels``."""
    score = {"name": "score", "mutable": True, "input_type": "text", "default_value": "", "values": [""]}
    return {"name": name, "color": PALETTE[number % len(PALETTE)], "type": "rectangle", "attributes": [score]}


def _annotations(video: ExportedVideo, named: Sequence[str]) -> ET.Element:
    said, info = video.explanation, video.info
    root = ET.Element("annotations")
    _child(root, "version", "1.1")
    task = ET.SubElement(ET.SubElement(root, "meta"), "task")
    frames = len(info.timestamps)
    for name, text in {
        "name": video.name, "size": frames, "mode": "interpolation", "overlap": 0,
        "start_frame": 0, "stop_frame": frames - 1, "frame_filter": "",
    }.items():  # fmt: skip
        _child(task, name, str(text))
    labels = ET.SubElement(task, "labels")
    for number, name in enumerate(named):
        if _UNWRITABLE.search(name):
            raise ExportError(f"{video.path}: the label {name!r} has characters that XML cannot hold; rename the class")
        known, label = _label(name, number), ET.SubElement(labels, "label")
        for key in ("name", "color", "type"):
            _child(label, key, known[key])
        attribute = ET.SubElement(ET.SubElement(label, "attributes"), "attribute")
        for key, value in known["attributes"][0].items():
            _child(attribute, key, "\n".join(value) if isinstance(value, list) else str(value))
    size = ET.SubElement(task, "original_size")
    _child(size, "width", str(said.width))
    _child(size, "height", str(said.height))
    looked_at = sorted({video.frame(time) for time in said.times})
    for number, track in enumerate(tracks(video.boxes(), said.times)):
        _add_track(root, number, track, video, looked_at)
    return root


def _add_track(root: ET.Element, number: int, track: list[Box], video: ExportedVideo, looked_at: list[int]) -> None:
    """Keyframes; outside from behind the last, and over frames that were looked at without finding it."""
    entry = ET.SubElement(root, "track", {"id": str(number), "label": track[0].label, "source": "auto"})
    at = {video.frame(box.time): box for box in track}  # frames that fall together keep the last
    end = len(video.info.timestamps)
    for frame, following in pairwise([*at, end]):
        _add_box(entry, frame, at[frame], outside=False)
        missed = following == end or any(frame < one < following for one in looked_at)
        if missed and frame + 1 < following:
            _add_box(entry, frame + 1, at[frame], outside=True)


def _add_box(track: ET.Element, frame: int, box: Box, outside: bool) -> None:
    corners = {name: f"{value:.2f}" for name, value in zip(("xtl", "ytl", "xbr", "ybr"), box.xyxy, strict=True)}
    state = {"outside": str(int(outside)), "occluded": "0", "keyframe": "1", "z_order": "0"}
    entry = ET.SubElement(track, "box", {"frame": str(frame), **state, **corners})
    ET.SubElement(entry, "attribute", {"name": "score"}).text = f"{box.score:.4f}"


def _child(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text
