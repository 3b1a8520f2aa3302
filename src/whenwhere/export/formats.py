"""Explanations written in the formats of other tools."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from whenwhere.evaluation.predictions import write_segment_truth, write_segments
from whenwhere.export.coco import write_coco
from whenwhere.export.cvat import write_cvat
from whenwhere.export.fiftyone import write_fiftyone
from whenwhere.export.via import write_via
from whenwhere.export.videos import ExportedVideo, ExportError, exported
from whenwhere.structures import Explanation

Format = Literal["activitynet", "activitynet-truth", "coco", "cvat", "via", "fiftyone"]
FORMATS: tuple[str, ...] = typing.get_args(Format)


def export(
    explanations: Sequence[Explanation], path: str | Path, format: Format, videos: str | Path | None = None
) -> list[Path]:
    """Write explanations for another tool.

    ================= ===============================================================================================
    format            what is written
    ================= ===============================================================================================
    activitynet       segments as results, which ActivityNet's evaluators and ``whenwhere score`` read: a JSON file
    activitynet-truth the same segments as ground truth, to correct by hand and score against: a JSON file
    coco              boxes by frame as a COCO data set, ``path``, and as COCO results beside it, ``..._results.json``
    cvat              boxes as tracks, CVAT for video 1.1: a file ``NAME.xml`` a video in the folder ``path``, and the
                      labels a task must have, ``labels.json``
    via               segments and boxes as a project of VGG Image Annotator 3: a JSON file
    fiftyone          everything as a FiftyOne data set in the folder ``path``; needs FiftyOne
    ================= ===============================================================================================

    Args:
        videos: folder that holds the videos now, by their own names; None: they are where they were explained. All but
            those of ActivityNet read them, to number frames and place boxes.

    Returns:
        What was written.

    Raises:
        ExportError: nothing to export, an unknown format, or a video that is missing or another one.
        VideoError: a video cannot be read.
    """
    if format not in FORMATS:
        raise ExportError(f"unknown format {format!r}; valid ones are {', '.join(FORMATS)}")
    found = exported(explanations, None if videos is None else Path(videos))
    writers = {
        "activitynet": _write_activitynet,
        "activitynet-truth": _write_activitynet_truth,
        "coco": write_coco,
        "cvat": write_cvat,
        "via": write_via,
        "fiftyone": write_fiftyone,
    }
    return writers[format](found, Path(path))


def _write_activitynet(videos: Sequence[ExportedVideo], path: Path) -> list[Path]:
    return [write_segments(path, {video.name: video.explanation.segments for video in videos})]


def _write_activitynet_truth(videos: Sequence[ExportedVideo], path: Path) -> list[Path]:
    segments = {video.name: video.explanation.segments for video in videos}
    return [write_segment_truth(path, segments, {video.name: video.explanation.duration for video in videos})]
