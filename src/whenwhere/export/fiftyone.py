"""Everything as a FiftyOne data set, where FiftyOne is installed.

Source: docs.voxel51.com: labels of videos, temporal detections (``support``: first and last frame, from 1) and
detections of frames (boxes relative to the picture).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whenwhere.export.videos import ExportedVideo, ExportError


def write_fiftyone(videos: Sequence[ExportedVideo], path: Path) -> list[Path]:
    """A data set in FiftyOne's own format in the folder ``path``, which ``fiftyone.Dataset.from_dir`` reads.

    Samples have ``action``, ``segments`` and ``model``; frames that were looked at have ``boxes`` and ``importance``.
    """
    try:
        import fiftyone
    except ImportError as error:
        raise ExportError("the format fiftyone needs FiftyOne: pip install fiftyone") from error
    if path.exists():
        raise ExportError(f"{path} is there already; give another folder, or remove it first")
    try:
        dataset = fiftyone.Dataset()  # of no name: gone when this process ends
    except fiftyone.core.config.FiftyOneConfigError as error:
        raise ExportError(f"FiftyOne's database does not start: {error}") from error
    try:
        dataset.add_samples([sample_of(video, fiftyone) for video in videos])
        dataset.export(export_dir=str(path), dataset_type=fiftyone.types.FiftyOneDataset, export_media=False)
    finally:
        dataset.delete()
    return [path]


def sample_of(video: ExportedVideo, fiftyone: Any) -> Any:
    """A ``fiftyone.Sample`` that says what the explanation says; ``fiftyone`` is the module."""
    said = video.explanation
    sample = fiftyone.Sample(filepath=str(video.path.absolute()))
    sample["action"] = fiftyone.Classification(label=said.label, confidence=said.score)
    sample["model"] = said.model
    sample["segments"] = fiftyone.TemporalDetections(
        detections=[
            fiftyone.TemporalDetection(
                label=segment.label,
                support=[video.frame(segment.start) + 1, video.frame(segment.end) + 1],
                confidence=segment.score,
            )
            for segment in said.segments
        ]
    )
    found: dict[int, list[Any]] = {}
    for box in video.boxes():
        place = [box.x0 / said.width, box.y0 / said.height]
        size = [(box.x1 - box.x0) / said.width, (box.y1 - box.y0) / said.height]
        more = {} if box.tube is None else {"index": box.tube}
        found.setdefault(video.frame(box.time), []).append(
            fiftyone.Detection(label=box.label, bounding_box=place + size, confidence=box.score, **more)
        )
    for time, importance in zip(said.times, said.importance, strict=True):
        frame = video.frame(time)
        boxes = fiftyone.Detections(detections=found.pop(frame, []))
        sample.frames[frame + 1] = fiftyone.Frame(boxes=boxes, importance=importance)
    for frame, detections in found.items():
        sample.frames[frame + 1] = fiftyone.Frame(boxes=fiftyone.Detections(detections=detections))
    return sample
