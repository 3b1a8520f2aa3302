"""What the rest of the package speaks in: clips, segments, boxes and explanations.

Every structure is frozen and validates itself on construction. Times are seconds from the first
frame of the video, boxes are pixels of the *original* frame as a player shows it (rotation applied),
x to the right and y down, so no reader of these files needs to know how the model saw the video.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from whenwhere.files import write_text

FORMAT_VERSION = 1

Structure = TypeVar("Structure")


def _finite(owner: object, **values: float) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"{type(owner).__name__}.{name} must be a finite number, got {value!r}")


def _from_mapping(cls: type[Structure], data: Mapping[str, Any]) -> Structure:
    """Build ``cls`` from a mapping, naming unknown and missing keys instead of failing on them later."""
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - known)
    if unknown:
        raise ValueError(f"{cls.__name__}: unknown keys {unknown}; valid keys are {sorted(known)}")
    try:
        return cls(**data)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from error


@dataclass(frozen=True)
class Segment:
    """A stretch of time with a label.

    Attributes:
        start, end: seconds, ``0 <= start < end``.
        label: name of the class.
        score: confidence, higher is surer; not necessarily a probability.
    """

    start: float
    end: float
    label: str
    score: float = 1.0

    def __post_init__(self) -> None:
        _finite(self, start=self.start, end=self.end, score=self.score)
        if not 0 <= self.start < self.end:
            raise ValueError(f"Segment needs 0 <= start < end, got start={self.start}, end={self.end}")

    @property
    def duration(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Box:
    """A rectangle at one moment.

    Attributes:
        time: seconds.
        x0, y0, x1, y1: left, top, right, bottom in pixels of the original frame, ``x0 < x1``, ``y0 < y1``.
        label: name of the class.
        score: confidence, higher is surer.
        tube: number of the actor whose boxes these are over time, where a clip has several; None: not known.
    """

    time: float
    x0: float
    y0: float
    x1: float
    y1: float
    label: str
    score: float = 1.0
    tube: int | None = None

    def __post_init__(self) -> None:
        _finite(self, **{k: getattr(self, k) for k in ("time", "x0", "y0", "x1", "y1", "score")})
        if self.time < 0 or self.x0 >= self.x1 or self.y0 >= self.y1:
            raise ValueError(
                "Box needs time >= 0, x0 < x1 and y0 < y1, got "
                f"time={self.time}, ({self.x0}, {self.y0}, {self.x1}, {self.y1})"
            )

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        return self.x0, self.y0, self.x1, self.y1


@dataclass(frozen=True)
class Clip:
    """One labelled video file of a manifest; its pixels stay on disk until somebody reads them.

    Attributes:
        path: the video file.
        label: name of its class, or None when unknown or when there are several.
        labels: names of all its classes; by default the one of ``label``.
        split: ``train``, ``val``, ``test`` or None.
        group: source the clip was cut from; clips of one group must stay on one side of a split.
        fps, frames, duration: frames per second, number of frames, seconds; None: not looked at.
        segments, boxes: ground truth, where there is any.
        source: where it comes from, for people.
        licence: under which terms.
        flow: file of its optical flow, from ``whenwhere flow``; None: not computed.
    """

    path: str
    label: str | None = None
    split: str | None = None
    group: str | None = None
    segments: tuple[Segment, ...] = ()
    boxes: tuple[Box, ...] = ()
    labels: tuple[str, ...] = ()
    fps: float | None = None
    frames: int | None = None
    duration: float | None = None
    source: str | None = None
    licence: str | None = None
    flow: str | None = None

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("Clip.path is empty")
        if self.split not in (None, "train", "val", "test"):
            raise ValueError(f"Clip.split must be train, val, test or None, got {self.split!r}")
        labels = tuple(self.labels) or ((self.label,) if self.label else ())
        if self.label is None and len(labels) == 1:
            object.__setattr__(self, "label", labels[0])
        if self.label is not None and self.label not in labels:
            raise ValueError(f"Clip.label must be one of Clip.labels, got {self.label!r} and {list(labels)}")
        object.__setattr__(self, "labels", labels)
        for name in ("fps", "frames", "duration"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"Clip.{name} must be positive or None, got {value!r}")

    def to_dict(self) -> dict[str, Any]:
        return {"version": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Clip:
        data = _check_version(cls, data)
        for key, kind in (("segments", Segment), ("boxes", Box)):
            data[key] = tuple(_from_mapping(kind, item) for item in data.get(key, ()))
        data["labels"] = tuple(data.get("labels", ()))
        return _from_mapping(cls, data)


@dataclass(frozen=True, eq=False)  # arrays do not compare to one truth value
class Explanation:
    """What a model says about one video: what, when and where.

    Attributes:
        path: the video explained.
        width, height: size of the original frame in pixels, rotation applied.
        duration: seconds.
        labels: ``(name, probability)``, most probable first.
        times: `(T,)` seconds of the frames the model looked at, increasing.
        importance: `(T,)` how much each frame counts, its mask included, >= 0, sums to 1.
        weights: `(T,)` temporal attention alone, averaged over the recurrent steps, sums to 1.
        masks: `(T, H, W)` spatial attention in [0, 1] on the feature grid.
        mask_area: ``(x0, y0, x1, y1)`` pixels of the original frame that the grid covers.
        segments: when, sorted by start.
        boxes: where, sorted by time.
        model: name of the model that said so.
    """

    path: str
    width: int
    height: int
    duration: float
    labels: tuple[tuple[str, float], ...]
    times: tuple[float, ...]
    importance: tuple[float, ...]
    weights: tuple[float, ...]
    masks: np.ndarray
    mask_area: tuple[float, float, float, float]
    segments: tuple[Segment, ...] = ()
    boxes: tuple[Box, ...] = ()
    model: str = ""

    def __post_init__(self) -> None:
        masks = np.array(self.masks, dtype=np.float32)
        masks.setflags(write=False)
        object.__setattr__(self, "masks", masks)
        problem = self._problem()
        if problem:
            raise ValueError(f"Explanation of {self.path}: {problem}")

    def _problem(self) -> str | None:
        frames = len(self.times)
        if self.width < 1 or self.height < 1 or not 0 < self.duration < math.inf:
            return f"width, height and duration must be positive, got {self.width}, {self.height}, {self.duration}"
        if not self.labels:
            return "labels is empty; expected at least one (name, probability)"
        if frames == 0:
            return "times is empty; expected one time in seconds per frame"
        if not all(map(math.isfinite, self.times)) or any(b <= a for a, b in pairwise(self.times)):
            return "times must be finite and increase"
        for name in ("importance", "weights"):
            values = getattr(self, name)
            if len(values) != frames:
                return f"{name} has {len(values)} values for {frames} times"
            if not (min(values) >= 0 and abs(sum(values) - 1) <= 1e-3):  # in this form it catches NaN too
                return f"{name} must be >= 0 and sum to 1, sums to {sum(values):.4f}"
        if self.masks.ndim != 3 or len(self.masks) != frames or not self.masks.size:
            return f"masks must be (T, H, W) with T = {frames}, got {self.masks.shape}"
        if not (self.masks.min() >= 0 and self.masks.max() <= 1):
            return "masks must lie in [0, 1]"
        if len(self.mask_area) != 4 or not (
            self.mask_area[0] < self.mask_area[2] and self.mask_area[1] < self.mask_area[3]
        ):
            return f"mask_area must be (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got {self.mask_area}"
        return None

    @property
    def label(self) -> str:
        return self.labels[0][0]

    @property
    def score(self) -> float:
        return self.labels[0][1]

    def to_dict(self) -> dict[str, Any]:
        return {"version": FORMAT_VERSION, **asdict(self), "masks": np.round(self.masks.astype(float), 4).tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Explanation:
        data = _check_version(cls, data)
        data["labels"] = tuple((str(name), float(score)) for name, score in data.get("labels", ()))
        for key in ("times", "importance", "weights", "mask_area"):
            data[key] = tuple(float(value) for value in data.get(key, ()))
        for key, kind in (("segments", Segment), ("boxes", Box)):
            data[key] = tuple(_from_mapping(kind, item) for item in data.get(key, ()))
        return _from_mapping(cls, data)

    def save(self, path: str | Path) -> None:
        """Write JSON; the file appears whole or not at all."""
        write_text(Path(path), json.dumps(self.to_dict()))

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read what :meth:`save` wrote; raises ValueError for another file, or one of another format version."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"{path} is not an explanation file: {error}") from error


def _check_version(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    data = dict(data)
    version = data.pop("version", None)
    if version != FORMAT_VERSION:
        raise ValueError(f"{cls.__name__}: format version {version!r}, this release reads version {FORMAT_VERSION}")
    return data
