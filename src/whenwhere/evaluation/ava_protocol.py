"""AVA's protocol for *where*, from its own files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.evaluation.ava import AvaRow, read_action_list, read_ava
from whenwhere.evaluation.predictions import PredictionsError
from whenwhere.evaluation.protocol_result import RESAMPLES, Measured, measured_map, protocol_result, strangers
from whenwhere.evaluation.spatial_controls import ava_controls
from whenwhere.metrics.spatial_detection import AVA, Boxes, rank_boxes


def ava(
    predictions: str | Path,
    truth: str | Path,
    thresholds: Sequence[float] | None = None,
    *,
    action_list: str | Path | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Frame-mAP of AVA (Gu et al. 2018), from its own CSV files, by default at IoU 0.5.

    Args:
        action_list: the labels that count and their names; None: ``action_list.txt`` beside the truth, or, where there
            is none, every label of the truth under its number.

    Raises:
        PredictionsError: a file that is missing or not as it should be, or no box of a label that counts in the truth.
        ValueError: a threshold outside (0, 1].
    """
    levels = (0.5,) if thresholds is None else thresholds
    beside = Path(truth).with_name("action_list.txt")
    listed = action_list or (beside if beside.is_file() else None)
    true, predicted = read_ava(truth, scored=False), read_ava(predictions, scored=True)
    names = read_action_list(listed) if listed else {row.label: str(row.label) for row in true}
    true = [row for row in true if row.label in names]
    if not true:
        raise PredictionsError(f"{truth} has no boxes of the labels that count: {sorted(names)}")
    present = {label: names[label] for label in sorted({row.label for row in true})}
    counted = [row for row in predicted if row.label in present]
    videos = {name: index for index, name in enumerate(sorted({row.video for row in [*true, *counted]}))}

    def measured(rows: list[AvaRow]) -> Measured:
        classes = rank_boxes(_boxes(rows, videos), _boxes(true, videos), len(videos), levels, AVA)
        return measured_map({name: classes[label] for label, name in present.items()}, AVA.rule)

    labels = (str(row.label) for row in predicted)
    return protocol_result(
        "ava",
        ("iou", levels),
        measured(counted),
        {name: measured(rows) for name, rows in ava_controls(true).items()},
        n=len({(row.video, row.second) for row in true}),
        unit="frames",
        videos=len({row.video for row in true}),
        predictions=len(predicted),
        notes=[
            *strangers("videos", (row.video for row in counted), {row.video for row in true}, "are wrong"),
            *strangers("labels", labels, map(str, present), "count nowhere"),
        ],
        resamples=resamples,
    )


def _boxes(rows: list[AvaRow], videos: dict[str, int]) -> Boxes:
    return Boxes(
        np.array([videos[row.video] for row in rows], dtype=int),
        np.array([row.second for row in rows], dtype=int),
        np.array([row.label for row in rows], dtype=int),
        np.array([row.corners for row in rows], dtype=float).reshape(-1, 4),
        np.array([row.score for row in rows], dtype=float),
    )
