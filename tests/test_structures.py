"""What every part of the package exchanges: validated when made, the same after a trip through a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whenwhere.structures import Box, Clip, Explanation, Segment

SEGMENT = Segment(0.5, 2.25, "kick", 0.8)
BOX = Box(1.0, 10.0, 20.5, 110.0, 90.0, "kick", 0.7)


def explanation(**changes: Any) -> Explanation:
    values: dict[str, Any] = {
        "path": "videos/a.mp4",
        "width": 320,
        "height": 240,
        "duration": 3.0,
        "labels": (("kick", 0.75), ("clap", 0.25)),
        "times": (0.5, 1.5, 2.5),
        "importance": (0.2, 0.5, 0.3),
        "weights": (0.25, 0.5, 0.25),
        "masks": np.linspace(0, 1, 3 * 4 * 5).reshape(3, 4, 5),
        "mask_area": (40.0, 0.0, 280.0, 240.0),
        "segments": (SEGMENT,),
        "boxes": (BOX,),
        "model": "runs/a",
    }
    return Explanation(**{**values, **changes})


def test_explanation_survives_a_file(tmp_path: Path) -> None:
    path = tmp_path / "explanation.json"
    before = explanation()
    before.save(path)
    after = Explanation.load(path)
    for name in set(before.__dataclass_fields__) - {"masks"}:
        assert getattr(after, name) == getattr(before, name), name
    assert after.masks.shape == (3, 4, 5)
    assert np.abs(after.masks - before.masks).max() <= 0.5e-4 + 1e-7
    assert list(tmp_path.iterdir()) == [path]


def test_saved_masks_are_short_numbers(tmp_path: Path) -> None:
    path = tmp_path / "explanation.json"
    explanation().save(path)
    values = np.array(json.loads(path.read_text())["masks"]).ravel()
    assert max(len(str(value)) for value in values) <= 6


def test_the_most_probable_label_comes_first() -> None:
    assert (explanation().label, explanation().score) == ("kick", 0.75)


def test_an_explanation_keeps_its_own_masks() -> None:
    masks = np.zeros((3, 4, 5))
    made = explanation(masks=masks)
    masks[:] = 1
    assert made.masks.max() == 0
    with pytest.raises(ValueError, match="read-only"):
        made.masks[0, 0, 0] = 1


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"width": 0}, "must be positive, got 0, 240"),
        ({"duration": 0.0}, "must be positive"),
        ({"duration": float("nan")}, "must be positive"),
        ({"duration": float("inf")}, "must be positive"),
        ({"labels": ()}, "labels is empty"),
        ({"times": (), "importance": (), "weights": ()}, "times is empty"),
        ({"times": (0.5, 0.5, 1.0)}, "increase"),
        ({"times": (0.5, float("nan"), 1.0)}, "increase"),
        ({"importance": (0.5, 0.5)}, "importance has 2 values for 3 times"),
        ({"weights": (0.5, 0.6, -0.1)}, "weights must be >= 0 and sum to 1"),
        ({"weights": (0.5, 0.5, 0.5)}, "sums to 1.5000"),
        ({"importance": (0.5, float("nan"), 0.5)}, "importance must be"),
        ({"masks": np.zeros((2, 4, 5))}, r"T = 3, got \(2, 4, 5\)"),
        ({"masks": np.zeros((3, 4))}, r"got \(3, 4\)"),
        ({"masks": np.zeros((3, 0, 5))}, r"got \(3, 0, 5\)"),
        ({"masks": np.full((3, 4, 5), 1.1)}, r"lie in \[0, 1\]"),
        ({"masks": np.full((3, 4, 5), np.nan)}, r"lie in \[0, 1\]"),
        ({"mask_area": (0.0, 0.0, 320.0)}, "mask_area must be"),
        ({"mask_area": (280.0, 0.0, 40.0, 240.0)}, "mask_area must be"),
    ],
)
def test_explanations_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        explanation(**changes)
    assert "videos/a.mp4" in str(error.value)


@pytest.mark.parametrize("start, end", [(-0.1, 1.0), (1.0, 1.0), (2.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_segments_that_make_no_sense(start: float, end: float) -> None:
    with pytest.raises(ValueError, match="Segment"):
        Segment(start, end, "kick")


@pytest.mark.parametrize(
    "change", [{"time": -1.0}, {"x1": 10.0}, {"y0": 95.0}, {"x0": float("nan")}, {"score": np.inf}]
)
def test_boxes_that_make_no_sense(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Box"):
        replace(BOX, **change)


def test_small_structures() -> None:
    assert SEGMENT.duration == 1.75
    assert BOX.xyxy == (10.0, 20.5, 110.0, 90.0)


def test_clip_survives_a_mapping() -> None:
    clip = Clip("a.mp4", "kick", "val", "tape 3", (SEGMENT,), (BOX,))
    assert Clip.from_dict(json.loads(json.dumps(clip.to_dict()))) == clip


@pytest.mark.parametrize(
    "data, message",
    [
        ({"path": "a.mp4"}, "format version None, this release reads version 1"),
        ({"version": 2, "path": "a.mp4"}, "format version 2"),
        ({"version": 1, "path": "a.mp4", "lable": "kick"}, r"unknown keys \['lable'\]; valid keys are .*'label'"),
        ({"version": 1}, "path"),
        ({"version": 1, "path": ""}, "path is empty"),
        ({"version": 1, "path": "a.mp4", "split": "dev"}, "got 'dev'"),
        ({"version": 1, "path": "a.mp4", "segments": [{"start": 1, "end": 0, "label": "a"}]}, "start < end"),
        ({"version": 1, "path": "a.mp4", "boxes": [{"time": 1}]}, "Box"),
    ],
)
def test_clips_that_make_no_sense(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Clip.from_dict(data)


@pytest.mark.parametrize(
    "text", ["", "not json", "[1, 2]", "3", "null", '{"version": 1}', '{"version": 1, "labels": 3}']
)
def test_other_files_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json is not an explanation file"):
        Explanation.load(path)
