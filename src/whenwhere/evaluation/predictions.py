"""Files of predictions and truth, so that anyone's answers can be scored again without a model.

When: ActivityNet's JSON, all times in seconds. Predictions, and truth::

    {"version": "VERSION 1.3", "external_data": {}, "results": {VIDEO: [
        {"label": CLASS, "segment": [START, END], "score": NUMBER}]}}
    {"database": {VIDEO: {"subset": NAME, "duration": SECONDS, "annotations": [
        {"label": CLASS, "segment": [START, END]}]}}}

Where: a JSON of our own, the same for predictions and truth, which leaves the scores out::

    {"version": 1, "format": "whenwhere-boxes", "videos": {VIDEO: {"width": 320, "height": 240, "tubes": [
        {"label": CLASS, "score": 0.8, "frames": [0, 1], "times": [0.0, 0.04],
         "boxes": [[x0, y0, x1, y1], [x0, y0, x1, y1]], "scores": [0.9, 0.7]}]}}}

Boxes are in pixels of the original frame as a player shows it. Frames count from 0, the first of the video, at the
video's own rate (UCF101-24's annotations count from 1; they are shifted when read). ``times`` are their seconds and
may be missing; ``score`` is the tube's, ``scores`` are its boxes' and may be missing. Frames without a box are left
out, and a box on its own is a tube of one frame. Videos without action have no tubes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.errors import WhenwhereError
from whenwhere.files import write_text
from whenwhere.metrics.temporal_detection import SegmentTable
from whenwhere.structures import Segment

BOXES_FORMAT, BOXES_VERSION = "whenwhere-boxes", 1


class PredictionsError(WhenwhereError):
    """A file of predictions or truth that cannot be used as it is; says where, what was expected and what found."""


def read_json(path: str | Path, key: str, what: str) -> dict[str, Any]:
    """The JSON object in ``path``, which must have an object under ``key``.

    Raises:
        PredictionsError: no such file, not JSON, or another JSON; ``what`` says what was looked for.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PredictionsError(f"{path} cannot be read: {error.strerror}; expected {what}") from error
    except ValueError as error:
        raise PredictionsError(f"{path} is not JSON: {error}; expected {what}") from error
    if not isinstance(data, dict) or not isinstance(data.get(key), dict):
        found = f"the keys {sorted(data)}" if isinstance(data, dict) else f"a {type(data).__name__}"
        raise PredictionsError(f"{path} is not {what}: expected an object under {key!r}, found {found}")
    return data


def nulls_for_nan(value: Any) -> Any:
    """The same nested data with None for every number that is not finite: what could not be measured, in JSON."""
    if isinstance(value, Mapping):
        return {name: nulls_for_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [nulls_for_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: str | Path, data: Mapping[str, Any]) -> Path:
    """Write JSON, whole or not at all.

    Raises:
        ValueError: a number that is not finite; JSON has none.
    """
    path = Path(path)
    text = json.dumps(data, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_text(path, text)


def write_metrics(run: Path, split: str, metrics: Mapping[str, Any]) -> Path:
    """Write ``metrics_SPLIT.json`` into a run's folder; what could not be measured is null."""
    return write_json(run / f"metrics_{split}.json", nulls_for_nan(metrics))


def read_segments(path: str | Path) -> SegmentTable:
    """Predicted segments of an ActivityNet JSON, in the order of the file.

    Raises:
        PredictionsError: not such a file, or an entry without label, score, or two finite times in order.
    """
    results = read_json(path, "results", "predictions as ActivityNet JSON")["results"]
    return segment_table(path, results, scored=True)


def segment_table(path: str | Path, entries: Mapping[str, Any], scored: bool) -> SegmentTable:
    """Entries of videos in ActivityNet's form as columns; ``path`` is for messages.

    Raises:
        PredictionsError: as :func:`read_segments`.
    """
    rows, scores = [], []
    for video, items in entries.items():
        if not isinstance(items, list):
            raise PredictionsError(f"{path}, video {video}: expected a list of segments, found {_shown(items)}")
        for number, item in enumerate(items, start=1):
            try:
                start, end = (_number(value, "segment") for value in item["segment"])
                if end < start:
                    raise ValueError(f"segment ends before it starts: {start} to {end}")
                rows.append((video, str(item["label"]), start, end))
                if scored:
                    scores.append(_number(item["score"], "score"))
            except (KeyError, TypeError, ValueError) as error:
                wanted = '{"label": CLASS, "segment": [START, END]' + (', "score": NUMBER}' if scored else "}")
                reason = f"no {error}" if isinstance(error, KeyError) else error
                raise PredictionsError(
                    f"{path}, video {video}, segment {number}: expected {wanted} with seconds, found {_shown(item)}; "
                    f"{reason}"
                ) from error
    return SegmentTable.from_rows(rows, scores if scored else None)


def write_segments(
    path: str | Path, results: Mapping[str, Iterable[Segment]], external_data: Mapping[str, Any] | None = None
) -> Path:
    """Write predictions by video as ActivityNet JSON.

    Args:
        external_data: what else the model has seen, as that format asks: ``{"used": True, "details": "ImageNet"}``.
    """
    entries = {
        video: [{"label": s.label, "segment": [s.start, s.end], "score": s.score} for s in segments]
        for video, segments in results.items()
    }
    return write_json(path, {"version": "VERSION 1.3", "results": entries, "external_data": dict(external_data or {})})


def write_segment_truth(
    path: str | Path,
    truth: Mapping[str, Iterable[Segment]],
    durations: Mapping[str, float] | None = None,
    subset: str = "test",
) -> Path:
    """Write true segments by video as ActivityNet ground truth; ``durations`` in seconds, where they are known."""
    database: dict[str, dict[str, Any]] = {}
    for video, segments in truth.items():
        known = {"duration": durations[video]} if durations and video in durations else {}
        annotations = [{"label": s.label, "segment": [s.start, s.end]} for s in segments]
        database[video] = {"subset": subset, **known, "annotations": annotations}
    return write_json(path, {"version": "VERSION 1.3", "database": database})


@dataclass(frozen=True, eq=False)  # arrays do not compare to one truth value
class Tube:
    """The boxes of one actor over time.

    Attributes:
        label: name of the class.
        frames: `(N,)` int, 0 for the first of the video, rising.
        times: `(N,)` seconds, not falling; None where they are not known.
        boxes: `(N, 4)` x0, y0, x1, y1 in pixels of the original frame; they may reach outside it.
        score: of the tube, higher is surer; None in a truth.
        scores: `(N,)` of each box; None where there is only the tube's.
    """

    label: str
    frames: np.ndarray
    times: np.ndarray | None
    boxes: np.ndarray
    score: float | None = None
    scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("frames", "times", "boxes", "scores"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))
        if problem := self._problem():
            raise ValueError(problem)
        object.__setattr__(self, "frames", self.frames.astype(int))

    def _problem(self) -> str | None:
        if not isinstance(self.label, str):
            return f"label must be a name, found {self.label!r}"
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 4 or not len(self.boxes):
            return f"boxes must be one or more [x0, y0, x1, y1], found shape {self.boxes.shape}"
        count = len(self.boxes)
        for name in ("frames", "times", "scores"):
            values = getattr(self, name)
            if values is not None and values.shape != (count,):
                return f"{name} must be {count} numbers, one a box, found shape {values.shape}"
            if values is not None and not np.isfinite(values).all():
                return f"{name} must be finite"
        if not np.isfinite(self.boxes).all() or (self.boxes[:, :2] > self.boxes[:, 2:]).any():
            return "boxes must be finite with x0 <= x1 and y0 <= y1"
        if self.frames[0] < 0 or (self.frames % 1).any() or (np.diff(self.frames) <= 0).any():
            return f"frames must be whole numbers from 0 that rise, found {self.frames.tolist()[:5]}"
        if self.times is not None and (np.diff(self.times) < 0).any():
            return "times must not fall"
        if self.score is not None and not math.isfinite(self.score):
            return f"score must be finite, found {self.score}"
        return None

    @property
    def box_scores(self) -> np.ndarray:
        """`(N,)`, of each box; where it has none, the tube's."""
        return np.full(len(self.boxes), self.score) if self.scores is None else self.scores


@dataclass(frozen=True)
class VideoTubes:
    """All tubes of one video; ``width`` and ``height`` of its frames in pixels."""

    width: int
    height: int
    tubes: tuple[Tube, ...] = ()

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of pixels above 0, found {value!r}")


def read_boxes(path: str | Path, scored: bool = False) -> dict[str, VideoTubes]:
    """Tubes by video.

    Args:
        scored: each tube must have a score, as those of predictions do.

    Raises:
        PredictionsError: not such a file, or a tube that does not read.
    """
    data = read_json(path, "videos", f"boxes as {BOXES_FORMAT} JSON")
    if (found := (data.get("format"), data.get("version"))) != (BOXES_FORMAT, BOXES_VERSION):
        raise PredictionsError(f"{path}: expected format {BOXES_FORMAT!r}, version {BOXES_VERSION}, found {found}")
    videos = {}
    for name, video in data["videos"].items():
        entries = video.get("tubes") if isinstance(video, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise PredictionsError(
                f"{path}, video {name}: expected an object with width, height and a list 'tubes' of "
                f"objects, found {_shown(video)}"
            )
        try:
            tubes = []
            for number, tube in enumerate(entries, start=1):
                place = f"tube {number}"
                tubes.append(Tube(**{"times": None, **tube}))
                if scored and tubes[-1].score is None:
                    raise ValueError("no score; predictions need one a tube")
            place = "size"
            videos[name] = VideoTubes(video["width"], video["height"], tuple(tubes))
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise PredictionsError(f"{path}, video {name}, {place}: {reason}") from error
    return videos


def write_boxes(path: str | Path, videos: Mapping[str, VideoTubes]) -> Path:
    """Write tubes by video, predictions or truth."""
    entries = {
        name: {"width": video.width, "height": video.height, "tubes": [_tube_entry(tube) for tube in video.tubes]}
        for name, video in videos.items()
    }
    return write_json(path, {"version": BOXES_VERSION, "format": BOXES_FORMAT, "videos": entries})


def _tube_entry(tube: Tube) -> dict[str, Any]:
    entry = {name: getattr(tube, name) for name in ("label", "score", "frames", "times", "boxes", "scores")}
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in entry.items() if v is not None}


def _number(value: Any, name: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite")
    return number


def _shown(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, (dict, list, Sequence)) else repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
