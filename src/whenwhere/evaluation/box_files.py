"""Boxes of videos as files: predicted ones, and the truth to hold them against."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from whenwhere.datasets.manifest import VIDEO_SUFFIXES, ManifestError, read_clips
from whenwhere.datasets.ucf101_24 import FPS, ucf101_24
from whenwhere.structures import Clip

FORMAT, VERSION = "whenwhere-boxes", 1


class Tube(NamedTuple):
    """Boxes of one actor.

    Attributes:
        label: name of the class.
        score: higher is surer; 1 in the truth.
        frames: `(N,)`, counted from 0 at the video's own rate, each once.
        corners: `(N, 4)` x0, y0, x1, y1 in pixels.
        scores: `(N,)`; None: that of the tube.
    """

    label: str
    score: float
    frames: np.ndarray
    corners: np.ndarray
    scores: np.ndarray | None = None


def read_predicted(path: str | Path) -> dict[str, list[Tube]]:
    """Predicted tubes by video.

    Raises:
        ManifestError: no such file, or not boxes as :mod:`~whenwhere.evaluation.space_protocols` describes them.
    """
    return _read_json(Path(path), scored=True)


def read_truth(path: str | Path) -> dict[str, list[Tube]]:
    """True tubes by video: JSON without scores, ``finalAnnots.mat`` (its test split), or a manifest with boxes.

    Raises:
        ManifestError: as :func:`read_predicted`, or no box in it.
    """
    path = Path(path)
    if path.suffix == ".json":
        videos = _read_json(path, scored=False)
    elif path.suffix == ".mat":
        clips = [clip for clip in ucf101_24(path.parent) if clip.split == "test"]
        videos = {str(PurePath(clip.label or "", PurePath(clip.path).stem)): _tubes_of(clip) for clip in clips}
    else:
        videos = {str(clip.path): _tubes_of(clip) for clip in read_clips(path)}
    if not any(videos.values()):
        raise ManifestError(f"{path} has no boxes, so there is no truth to hold predictions against")
    return videos


def matched(predicted: dict[str, list[Tube]], truth: Iterable[str]) -> dict[str, list[Tube]]:
    """Predictions under the truth's names: the same name, or else the same file name without folder and suffix.

    Videos the truth does not have are left out.

    Raises:
        ManifestError: a name fits several videos, or no name fits any.
    """
    truth = list(truth)
    short: dict[str, list[str]] = {}
    for name in truth:
        short.setdefault(_short(name), []).append(name)
    known = set(truth)
    found: dict[str, list[Tube]] = {}
    for name, tubes in predicted.items():
        fits = [name] if name in known else short.get(_short(name), [])
        if len(fits) > 1:
            raise ManifestError(f"predictions for {name!r} fit {sorted(fits)}; use full names")
        if fits and fits[0] in found:
            raise ManifestError(f"predictions for {fits[0]!r} come under more than one name, one of them {name!r}")
        found.update(dict.fromkeys(fits, tubes))
    if predicted and not found:
        raise ManifestError(
            f"predictions are for none of the {len(truth)} videos of the truth: "
            f"found names such as {next(iter(predicted))!r}, expected such as {truth[0]!r}"
        )
    return found


def _short(name: str) -> str:
    path = PurePath(name)
    return path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name


def _tubes_of(clip: Clip) -> list[Tube]:
    """A clip's boxes by actor; frames follow from the clip's rate, or else from the smallest step between boxes."""
    times = np.unique([box.time for box in clip.boxes])
    rate = clip.fps or (1 / np.diff(times).min() if len(times) > 1 else FPS)
    actors: dict[Any, list[Any]] = {}
    for box in clip.boxes:
        actors.setdefault((box.tube, box.label), []).append(box)
    tubes: list[Tube] = []
    for (_, label), boxes in sorted(actors.items(), key=lambda item: item[0][0] or 0):
        frames = np.rint([box.time * rate for box in boxes]).astype(int)
        corners = np.array([box.xyxy for box in boxes], dtype=float)
        tubes.append(_checked(Tube(label, 1.0, frames, corners), f"{clip.path}, actor {len(tubes)}"))
    return tubes


def _read_json(path: Path, scored: bool) -> dict[str, list[Tube]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as JSON: {error}") from error
    head = (data.get("format"), data.get("version")) if isinstance(data, dict) else (None, None)
    if head != (FORMAT, VERSION) or not isinstance(data.get("videos"), dict):
        raise ManifestError(
            f"{path}: expected format {FORMAT!r}, version {VERSION} and an object 'videos', "
            f"found format {head[0]!r}, version {head[1]!r}"
        )
    videos = {}
    for name, video in data["videos"].items():
        items = video.get("tubes") if isinstance(video, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ManifestError(f"{path}, video {name!r}: expected an object with a list 'tubes' of objects")
        videos[name] = [
            _tube(item, f"{path}, video {name!r}, tube {number}", scored) for number, item in enumerate(items)
        ]
    return videos


def _tube(item: dict[str, Any], where: str, scored: bool) -> Tube:
    try:
        scores = np.asarray(item["scores"], dtype=float) if scored and item.get("scores") is not None else None
        score = float(item["score"]) if scored else 1.0
        frames, corners = np.asarray(item["frames"]), np.asarray(item["boxes"], dtype=float)
        tube = _checked(Tube(str(item["label"]), score, frames, corners, scores), where)
    except KeyError as error:
        raise ManifestError(f"{where} has no {error}; found {sorted(item)}") from error
    except (TypeError, ValueError) as error:
        raise ManifestError(f"{where}: {error}") from error
    if not scored and (corners[:, :2] >= corners[:, 2:]).any():
        raise ManifestError(f"{where}: a true box needs x0 < x1 and y0 < y1; leave out frames without a box")
    return tube


def _checked(tube: Tube, where: str) -> Tube:
    count = tube.frames.size
    scores = np.full(count, tube.score) if tube.scores is None else tube.scores
    if not count or tube.frames.ndim != 1 or tube.corners.shape != (count, 4) or scores.shape != (count,):
        found = f"{count} frames, boxes {tube.corners.shape}, scores {scores.shape}"
        problem = f"expected one or more frames, a box (and perhaps a score) for each; found {found}"
    elif not np.issubdtype(tube.frames.dtype, np.integer) or tube.frames.min() < 0:
        problem = f"frames must be whole numbers from 0, found {tube.frames.tolist()[:5]}"
    elif len(np.unique(tube.frames)) != count:
        problem = "a frame has more than one box"
    elif not (np.isfinite(tube.corners).all() and np.isfinite(scores).all() and np.isfinite(tube.score)):
        problem = "boxes and scores must be finite numbers; leave out frames without a box"
    else:
        return tube
    raise ManifestError(f"{where}: {problem}")
