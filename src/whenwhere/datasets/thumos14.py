"""THUMOS14, temporal action detection (Jiang et al. 2014): 20 classes in untrimmed videos."""

from __future__ import annotations

from pathlib import Path

from whenwhere.datasets.layout import find, read_lines
from whenwhere.datasets.manifest import ManifestError
from whenwhere.datasets.ucf101 import clip_of
from whenwhere.structures import Clip, Segment

SOURCE = "THUMOS14, Center for Research in Computer Vision, University of Central Florida"
LICENCE = "videos from YouTube, for research; no licence stated"
AMBIGUOUS = "Ambiguous"
# Left out by most published results: wrong or missing annotations. 213 annotated test videos without the first are
# the "212 videos", without all three the "210 videos".
BAD_TEST_VIDEOS = ("video_test_0000270", "video_test_0001292", "video_test_0001496")
_PARTS = {"val": "validation", "test": "test"}
_HOW = "Unpack the validation and test videos and their temporal annotations there."


def thumos14(
    root: str | Path,
    annotations: str | Path | None = None,
    ucf101_root: str | Path | None = None,
    leave_out: tuple[str, ...] = BAD_TEST_VIDEOS,
    several_labels: bool = True,
) -> list[Clip]:
    """Untrimmed validation and test videos with their segments; trimmed UCF101 clips of the 20 classes for training.

    Layout: ``validation/video_validation_NNNNNNN.mp4``, ``test/video_test_NNNNNNN.mp4``, and folders of
    ``CLASS_val.txt`` and ``CLASS_test.txt`` with lines ``VIDEO START END`` in seconds. Segments marked Ambiguous keep
    that name and give no label. A video with actions of several classes has several labels.

    Args:
        root: folder of the videos.
        annotations: folder of the two annotation folders, when it is not ``root``.
        ucf101_root: where ``UCF-101`` lies; None: no training clips.
        leave_out: test videos known to be wrong.
        several_labels: False leaves out validation videos with several labels, as the paper does for training on them.

    Raises:
        ManifestError: annotations are not there, or a line does not read.
    """
    lists = Path(annotations) if annotations else Path(root)
    clips: list[Clip] = []
    classes: set[str] = set()
    for split, part in _PARTS.items():
        folder = find(
            lists,
            (
                f"temporal_annotations_{part}",
                f"TH14_Temporal_Annotations_{part.capitalize()}/annotation",
                f"{part}_annotation",
            ),
            f"temporal annotations of the {part} videos",
            _HOW,
        )
        videos = find(root, (part, f"TH14_{part}_set_mp4", f"{part}_set", "."), f"{part} videos", _HOW)
        by_video = _segments(folder)
        for name, segments in sorted(by_video.items()):
            labels = tuple(sorted({segment.label for segment in segments} - {AMBIGUOUS}))
            if not labels or name in leave_out or (split == "val" and len(labels) > 1 and not several_labels):
                continue
            classes.update(labels)
            path = str(videos / f"{name}.mp4")
            clips.append(Clip(path, None, split, name, segments, labels=labels, source=SOURCE, licence=LICENCE))
    return _trimmed(ucf101_root, classes) + clips if ucf101_root else clips


def _segments(folder: Path) -> dict[str, tuple[Segment, ...]]:
    by_video: dict[str, list[Segment]] = {}
    files = sorted(folder.glob("*_*.txt"))
    if not files:
        raise ManifestError(f"{folder} holds no CLASS_val.txt or CLASS_test.txt. {_HOW}")
    for file in files:
        label = file.stem.rpartition("_")[0]
        for number, words in enumerate(read_lines(file), start=1):
            try:
                video, start, end = words
                segment = Segment(float(start), float(end), label)
            except ValueError as error:
                raise ManifestError(f"{file}, line {number}: expected VIDEO START END; {error}") from error
            by_video.setdefault(video, []).append(segment)
    return {video: tuple(sorted(found, key=lambda s: (s.start, s.end))) for video, found in by_video.items()}


def _trimmed(root: str | Path, classes: set[str]) -> list[Clip]:
    videos = find(root, ("UCF-101", "."), "videos of UCF101", "Unpack UCF101.rar there.")
    paths = [path for label in sorted(classes) for path in sorted((videos / label).glob("*.avi"))]
    return [clip_of(path, "train") for path in paths]
