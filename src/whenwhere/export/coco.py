"""Boxes by frame, as COCO has them.

Source: the data and results formats of cocodataset.org; ``videos``, ``video_id`` and ``frame_index`` as the video data
sets that build on it (YouTube-VIS, TAO) add them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whenwhere.evaluation.predictions import write_json
from whenwhere.export.videos import ExportedVideo
from whenwhere.files import write_text


def write_coco(videos: Sequence[ExportedVideo], path: Path) -> list[Path]:
    """Every frame that was looked at is an image, with boxes or without; results are the same boxes as a list."""
    categories = sorted({label for video in videos for label in video.labels})
    numbers = {label: number for number, label in enumerate(categories, start=1)}
    entries: dict[str, list[dict[str, Any]]] = {"videos": [], "images": [], "annotations": []}
    for number, video in enumerate(videos, start=1):
        _add(video, number, numbers, entries)
    data = {
        "info": {"description": "what whenwhere says of these videos", "version": "1.0"},
        "licenses": [],
        **entries,
        "categories": [{"id": number, "name": label} for label, number in numbers.items()],
    }
    results = [
        {name: one[name] for name in ("image_id", "category_id", "bbox", "score")} for one in entries["annotations"]
    ]
    written = write_json(path, data)
    return [written, write_text(path.with_name(f"{path.stem}_results.json"), json.dumps(results, allow_nan=False))]


def _add(video: ExportedVideo, number: int, numbers: dict[str, int], entries: dict[str, list[dict[str, Any]]]) -> None:
    said, info = video.explanation, video.info
    size = {"width": said.width, "height": said.height}
    entries["videos"].append(
        {"id": number, "name": video.name, **size, "fps": info.fps, "length": len(info.timestamps)}
    )
    boxes = video.boxes()
    images: dict[int, int] = {}
    for frame in sorted({video.frame(time) for time in (*said.times, *(box.time for box in boxes))}):
        images[frame] = len(entries["images"]) + 1
        entries["images"].append(
            {
                "id": images[frame],
                "file_name": f"{video.name}/{frame:06d}.jpg",
                **size,
                "video_id": number,
                "frame_index": frame,
                "time": float(info.timestamps[frame]),
            }
        )
    for box in boxes:
        wide, high = box.x1 - box.x0, box.y1 - box.y0
        entries["annotations"].append(
            {
                "id": len(entries["annotations"]) + 1,
                "image_id": images[video.frame(box.time)],
                "category_id": numbers[box.label],
                "bbox": [box.x0, box.y0, wide, high],
                "area": wide * high,
                "iscrowd": 0,
                "score": box.score,
                **({} if box.tube is None else {"track_id": box.tube}),
            }
        )
