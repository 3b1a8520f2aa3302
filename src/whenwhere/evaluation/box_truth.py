"""True boxes to score against: a boxes JSON, UCF101-24's ``finalAnnots.mat``, or one of our manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from whenwhere.datasets.manifest import VIDEO_SUFFIXES, read_clips
from whenwhere.datasets.ucf101_24 import FPS, ucf101_24
from whenwhere.evaluation.predictions import PredictionsError, Tube, VideoTubes, read_boxes
from whenwhere.evaluation.truth import check_subset, video_names
from whenwhere.structures import Clip
from whenwhere.video import VideoError, probe

UCF101_SIZE = 320, 240  # pixels, of all its videos


@dataclass(frozen=True)
class BoxTruth:
    """What is true of a set of videos.

    Attributes:
        tubes: by video, also of those without action; no box of them is without area.
        sizes: width and height of each video's frames in pixels, as far as they are known.
    """

    tubes: Mapping[str, Sequence[Tube]]
    sizes: Mapping[str, tuple[int, int]]

    @property
    def labels(self) -> list[str]:
        """Names of all classes, sorted."""
        return sorted({tube.label for tubes in self.tubes.values() for tube in tubes})


def read_box_truth(path: str | Path, subset: str | None = None) -> BoxTruth:
    """Read the true tubes of one subset.

    Args:
        path: boxes JSON (it has no subsets); ``finalAnnots.mat``, beside it ``testlist01.txt``; or a manifest (or its
            folder), whose videos are named by :func:`~whenwhere.evaluation.truth.video_names`. A manifest counts time
            in seconds: frames follow from a clip's ``fps`` or else from the smallest step between its boxes.
        subset: split of the manifest or of the MATLAB file; None: all of a manifest, ``test`` of UCF101-24.

    Raises:
        PredictionsError: boxes that do not read, an unknown subset, or no box in it.
        ManifestError: a manifest or a MATLAB file that does not read.
    """
    path = Path(path)
    if path.suffix == ".json":
        check_subset(path, subset, set())
        truth = _from_json(path)
    elif path.suffix == ".mat":
        check_subset(path, subset, {"train", "test"})
        clips = ucf101_24(path.parent, split=subset or "test")
        names = [str(PurePath(clip.label or "", PurePath(clip.path).stem)) for clip in clips]
        truth = BoxTruth({name: _tubes_of(clip) for name, clip in zip(names, clips)}, dict.fromkeys(names, UCF101_SIZE))
    else:
        truth = _from_manifest(path, subset)
    if not any(truth.tubes.values()):
        raise PredictionsError(f"{path} has no boxes, so there is no truth to hold predictions against")
    return truth


def matched(predicted: Mapping[str, VideoTubes], truth: Iterable[str]) -> tuple[dict[str, tuple[Tube, ...]], list[str]]:
    """Predicted tubes under the truth's names: the same name, or else the same file name without folder and suffix.

    Returns:
        tubes by video of the truth, and the names of predicted videos that the truth does not have.

    Raises:
        PredictionsError: a name fits several videos, or no name fits any.
    """
    truth = list(truth)
    short: dict[str, list[str]] = {}
    for name in truth:
        short.setdefault(_short(name), []).append(name)
    known = set(truth)
    found: dict[str, tuple[Tube, ...]] = {}
    strange = []
    for name, video in predicted.items():
        fits = [name] if name in known else short.get(_short(name), [])
        if len(fits) > 1:
            raise PredictionsError(f"predictions for {name!r} fit {sorted(fits)}; use full names")
        if fits and fits[0] in found:
            raise PredictionsError(f"predictions for {fits[0]!r} come under more than one name, one of them {name!r}")
        found.update(dict.fromkeys(fits, video.tubes))
        strange += [] if fits else [name]
    if predicted and not found:
        raise PredictionsError(
            f"predictions are for none of the {len(truth)} videos of the truth: "
            f"found names such as {strange[0]!r}, expected such as {truth[0]!r}"
        )
    return found, strange


def _short(name: str) -> str:
    path = PurePath(name)
    return path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name


def _from_json(path: Path) -> BoxTruth:
    videos = read_boxes(path)
    for name, video in videos.items():
        for number, tube in enumerate(video.tubes, start=1):
            if (tube.boxes[:, :2] >= tube.boxes[:, 2:]).any():
                raise PredictionsError(
                    f"{path}, video {name}, tube {number}: a true box needs x0 < x1 and y0 < y1; "
                    "leave out frames without a box"
                )
    return BoxTruth(
        {name: video.tubes for name, video in videos.items()},
        {name: (video.width, video.height) for name, video in videos.items()},
    )


def _from_manifest(path: Path, subset: str | None) -> BoxTruth:
    clips = read_clips(path)
    names = {clip.path: name for name, clip in zip(video_names(clips), clips)}  # of all, whatever the subset
    check_subset(path, subset, {clip.split for clip in clips})
    clips = [clip for clip in clips if subset in (None, clip.split)]
    sizes = {}
    for clip in clips:
        try:
            info = probe(clip.path)
        except VideoError:
            continue  # boxes can be scored without the video; only controls need its size
        sizes[names[clip.path]] = info.width, info.height
    return BoxTruth({names[clip.path]: _tubes_of(clip) for clip in clips}, sizes)


def _tubes_of(clip: Clip) -> list[Tube]:
    """A clip's boxes by actor, the lowest number first."""
    times = np.unique([box.time for box in clip.boxes])
    rate = clip.fps or (1 / np.diff(times).min() if len(times) > 1 else FPS)
    actors: dict[Any, list[Any]] = {}
    for box in clip.boxes:
        actors.setdefault((box.tube, box.label), []).append(box)
    tubes: list[Tube] = []
    for (_, label), boxes in sorted(actors.items(), key=lambda item: item[0][0] or 0):
        seconds = np.array([box.time for box in boxes])
        order = np.argsort(seconds, kind="stable")
        corners = np.array([box.xyxy for box in boxes], dtype=float)
        try:
            tubes.append(Tube(label, np.rint(seconds * rate)[order], seconds[order], corners[order]))
        except ValueError as error:
            raise PredictionsError(
                f"{clip.path}, actor {len(tubes) + 1}, at {rate:g} frames a second: {error}"
            ) from error
    return tubes
