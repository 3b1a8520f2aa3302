"""What formats need to know of a video beside its explanation: a name of its own and the numbers of its frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from whenwhere.errors import WhenwhereError
from whenwhere.evaluation.truth import sample_names
from whenwhere.files import moved_file
from whenwhere.geometry import box_iou
from whenwhere.structures import Box, Clip, Explanation
from whenwhere.video import VideoInfo, probe


class ExportError(WhenwhereError):
    """An explanation that cannot be exported; says which, what was expected and what to do."""


@dataclass(frozen=True, eq=False)
class ExportedVideo:
    """An explanation on its way into a file.

    Attributes:
        name: the video's, no other of the same export has it.
        explanation: what is said of it.
        path: where the video is now.
    """

    name: str
    explanation: Explanation
    path: Path

    @property
    def labels(self) -> list[str]:
        """All that are named in it, the most probable first."""
        said = self.explanation
        named = [label for label, _ in said.labels]
        return list(dict.fromkeys([*named, *(s.label for s in said.segments), *(box.label for box in said.boxes)]))

    @cached_property
    def info(self) -> VideoInfo:
        """Of the video file, which is read for it.

        Raises:
            ExportError: there is no such file, or it is of another size or length than the one that was explained.
            VideoError: it cannot be read.
        """
        if not self.path.is_file():
            raise ExportError(
                f"{self.path}: no such video, and frames cannot be numbered without it; give the folder that holds it "
                "with --videos"
            )
        info, said = probe(self.path), self.explanation
        if (info.width, info.height) != (said.width, said.height):
            raise ExportError(
                f"{self.path} has {info.width} x {info.height} pixels, the video that was explained had "
                f"{said.width} x {said.height}: it is another one"
            )
        if abs(info.duration - said.duration) > max(0.25, 0.01 * said.duration):
            raise ExportError(
                f"{self.path} lasts {info.duration:.2f} s, the video that was explained {said.duration:.2f} s: "
                "it is another one"
            )
        return info

    def frame(self, time: float) -> int:
        """Number, from 0, of the frame that is shown nearest to ``time`` seconds; frames need not be evenly spaced."""
        stamps = self.info.timestamps
        after = int(np.searchsorted(stamps, time))
        if after in (0, len(stamps)):
            return min(after, len(stamps) - 1)
        return after if stamps[after] - time < time - stamps[after - 1] else after - 1

    def boxes(self) -> list[Box]:
        """Boxes cut at the border of the picture, without those that lie outside it."""
        width, height = self.explanation.width, self.explanation.height
        found = []
        for box in self.explanation.boxes:
            x0, x1 = max(box.x0, 0.0), min(box.x1, float(width))
            y0, y1 = max(box.y0, 0.0), min(box.y1, float(height))
            if x0 < x1 and y0 < y1:
                found.append(replace(box, x0=x0, y0=y0, x1=x1, y1=y1))
        return found


def exported(explanations: Sequence[Explanation], videos: Path | None = None) -> list[ExportedVideo]:
    """Explanations with names, each its own.

    Args:
        videos: folder that holds the files now, or folders of them; None: they are where they were explained.

    Raises:
        ExportError: there are no explanations, two of one video, or two videos would be one in the folder.
    """
    if not explanations:
        raise ExportError("there is nothing to export: give at least one explanation")
    _check_apart(explanations, [Path(os.path.abspath(one.path)) for one in explanations])
    names = sample_names([Clip(one.path) for one in explanations], "", len(explanations))
    places = [moved_file(one.path, videos) if videos else Path(one.path) for one in explanations]
    _check_apart(explanations, places)
    return [ExportedVideo(*each) for each in zip(names, explanations, places, strict=True)]


def _check_apart(explanations: Sequence[Explanation], places: Sequence[Path]) -> None:
    """Each explanation is of a video of its own, which is at its place."""
    seen: dict[Path, str] = {}
    for one, place in zip(explanations, places, strict=True):
        if place not in seen:
            seen[place] = one.path
        elif os.path.abspath(one.path) == os.path.abspath(seen[place]):
            raise ExportError(f"there are several explanations of {one.path}; export those of each model by themselves")
        else:
            raise ExportError(
                f"{seen[place]} and {one.path} would both be {place}; give a folder with the folders they were in"
            )


def tracks(boxes: Sequence[Box], times: Sequence[float], least: float = 0.1) -> list[list[Box]]:
    """Boxes of one thing over neighbouring looked-at frames.

    By their tube where they say one; else each box follows the one of the same label in the frame before that it covers
    best, by an IoU of at least ``least``.

    Args:
        boxes: sorted by time.
        times: seconds of the frames that were looked at, increasing.
    """
    known: dict[tuple[str, int], list[Box]] = {}
    open_tracks: list[tuple[int, list[Box]]] = []
    found: list[list[Box]] = []
    stamps = np.asarray(times)
    by_frame: dict[int, list[Box]] = {}
    for box in boxes:
        if box.tube is not None:
            known.setdefault((box.label, box.tube), []).append(box)
        else:
            by_frame.setdefault(int(np.abs(stamps - box.time).argmin()), []).append(box)
    for frame, here in by_frame.items():
        before = [track for last, track in open_tracks if last == frame - 1]
        open_tracks = [(frame, track) for track in _continued(before, here, least)]
        found += [track for _, track in open_tracks if len(track) == 1]
    return [*known.values(), *found]


def _continued(before: list[list[Box]], here: list[Box], least: float) -> list[list[Box]]:
    """Tracks that end in the boxes of this frame: longer ones of before, or new ones."""
    overlap = np.array([[_overlap(track[-1], box) for box in here] for track in before]).reshape(len(before), len(here))
    ended: dict[int, list[Box]] = {}
    for row, column in zip(*linear_sum_assignment(overlap, maximize=True), strict=True):
        if overlap[row, column] >= least:
            before[row].append(here[column])
            ended[int(column)] = before[row]
    return [ended.get(number, [box]) for number, box in enumerate(here)]


def _overlap(one: Box, other: Box) -> float:
    if one.label != other.label:
        return 0.0
    return float(box_iou(np.array(one.xyxy), np.array(other.xyxy)))
