"""True segments to score against: ActivityNet JSON, the official THUMOS14 lists, or one of our manifests."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whenwhere.datasets.layout import read_lines
from whenwhere.datasets.manifest import ManifestError, read_clips
from whenwhere.evaluation.predictions import PredictionsError, read_json, segment_table
from whenwhere.metrics.temporal_detection import AMBIGUOUS, SegmentTable
from whenwhere.structures import Clip

_FORMS = (
    "ActivityNet ground truth (.json), a folder of THUMOS14 lists (CLASS_test.txt), "
    "or a manifest with segments (.csv, .parquet)"
)


@dataclass(frozen=True, eq=False)  # arrays do not compare to one truth value
class SegmentTruth:
    """What is true of a set of videos.

    Attributes:
        segments: one row a segment, in the order of the file.
        videos: names of all videos, also of those without a segment.
        durations: seconds by video, as far as they are known.
    """

    segments: SegmentTable
    videos: tuple[str, ...]
    durations: Mapping[str, float]


def read_segment_truth(
    path: str | Path, subset: str | None = None, durations: str | Path | None = None
) -> SegmentTruth:
    """Read the true segments of one subset.

    Args:
        path: ActivityNet JSON, a folder of THUMOS14's official lists, or a manifest (or its folder); in a manifest
            videos are named by :func:`video_names`, and one without segments counts as having no action.
        subset: of the JSON, the ending of the lists (``test``, ``val``), or the split of the manifest; None: all.
        durations: text file of videos and their seconds by turns, as THUMOS14 comes with; paths and suffixes of
            video files are dropped. None: those of ``path``, if any.

    Raises:
        PredictionsError: nothing that reads, an unknown subset, or no segments in it but Ambiguous ones.
        ManifestError: a manifest that does not read.
    """
    path = Path(path)
    if path.suffix == ".json":
        truth = _activitynet(path, subset)
    elif any(path.glob("*_*.txt")) and not any(path.glob("manifest.*")):
        truth = _thumos14(path, subset)
    elif path.is_file() or any(path.glob("manifest.*")):
        truth = _manifest(path, subset)
    else:
        raise PredictionsError(f"no such truth: {path}; expected {_FORMS}")
    if not (truth.segments.labels != AMBIGUOUS).any():
        raise PredictionsError(f"{path} holds no segments{_of(subset)} to score against; expected {_FORMS}")
    if durations is None:
        return truth
    return SegmentTruth(truth.segments, truth.videos, {**truth.durations, **read_durations(durations)})


def read_durations(path: str | Path) -> dict[str, float]:
    """Seconds by video from a text file of names and numbers by turns, on one line or on two.

    Raises:
        PredictionsError: no such text, a name without a number, or a number that is none or not above 0.
    """
    try:
        words = [word for line in read_lines(Path(path)) for word in line]
        seconds = [float(word) for word in words[1::2]]
    except (ManifestError, ValueError) as error:
        raise PredictionsError(f"{path}: expected videos and their seconds by turns; {error}") from error
    if len(words) % 2 or not all(0 < value < np.inf for value in seconds):
        raise PredictionsError(f"{path}: expected videos and their seconds by turns, each more than 0")
    return {Path(name).stem: value for name, value in zip(words[::2], seconds)}


def video_names(clips: Sequence[Clip]) -> list[str]:
    """What the videos of a manifest are called in prediction files: the file's name without its suffix.

    Where two of the manifest share that, all are called by their paths below the folder they have in common:
    ``run/1`` and ``walk/1``. Give all clips of a manifest, or the names may differ from those of the whole.
    """
    names = [Path(clip.path).stem for clip in clips]
    if max(Counter(names).values(), default=0) <= 1:
        return names
    paths = [Path(os.path.abspath(clip.path)) for clip in clips]
    top = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(top).with_suffix("").as_posix() for path in paths]


def sample_names(clips: Sequence[Clip] | None, split: str, count: int) -> list[str]:
    """What the samples of a split are called: as :func:`video_names`, or by their number where they are no files.

    Where a name comes again its second time is ``name#2``.
    """
    names = video_names(clips) if clips else [f"{split}-{number:05d}" for number in range(count)]
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return unique


def _activitynet(path: Path, subset: str | None) -> SegmentTruth:
    database = read_json(path, "database", "ActivityNet ground truth")["database"]
    strange = [name for name, video in database.items() if not isinstance(video, dict)]
    if strange:
        raise PredictionsError(f"{path}, video {strange[0]}: expected an object with subset and annotations")
    subsets = {video.get("subset") for video in database.values()}
    check_subset(path, subset, subsets)
    videos = {name: video for name, video in database.items() if subset in (None, video.get("subset"))}
    segments = segment_table(path, {name: video.get("annotations", []) for name, video in videos.items()}, scored=False)
    lengths = {name: video["duration"] for name, video in videos.items() if "duration" in video}
    wrong = [name for name, value in lengths.items() if not isinstance(value, (int, float)) or not 0 < value < np.inf]
    if wrong:
        raise PredictionsError(
            f"{path}, video {wrong[0]}: duration must be seconds above 0, found {lengths[wrong[0]]!r}"
        )
    return SegmentTruth(segments, tuple(videos), lengths)


def _thumos14(folder: Path, subset: str | None) -> SegmentTruth:
    files = sorted(folder.glob("*_*.txt"))
    check_subset(folder, subset, {file.stem.rpartition("_")[2] for file in files})
    rows = []
    for file in files:
        label, _, part = file.stem.rpartition("_")
        if subset not in (None, part):
            continue
        for number, words in enumerate(read_lines(file), start=1):
            try:
                video, start, end = words
                rows.append((video, label, float(start), float(end)))
                if not 0 <= rows[-1][2] <= rows[-1][3] < np.inf:
                    raise ValueError("found an end before the start")
            except ValueError as error:
                raise PredictionsError(
                    f"{file}, line {number}: expected VIDEO START END in seconds; {error}"
                ) from error
    return SegmentTruth(SegmentTable.from_rows(rows), tuple(sorted({video for video, *_ in rows})), {})


def _manifest(path: Path, subset: str | None) -> SegmentTruth:
    clips = read_clips(path)
    check_subset(path, subset, {clip.split for clip in clips})
    known = {name: clip for name, clip in zip(video_names(clips), clips) if subset in (None, clip.split)}
    rows = [(name, s.label, s.start, s.end) for name, clip in known.items() for s in clip.segments]
    lengths = {name: clip.duration for name, clip in known.items() if clip.duration}
    return SegmentTruth(SegmentTable.from_rows(rows), tuple(known), lengths)


def check_subset(path: Path, subset: str | None, known: set[str | None]) -> None:
    if subset is not None and subset not in known:
        has = ", ".join(sorted(map(str, known))) or "none"
        raise PredictionsError(f"{path} has no subset {subset!r}; it has {has}")


def _of(subset: str | None) -> str:
    return f" in the subset {subset!r}" if subset else ""
