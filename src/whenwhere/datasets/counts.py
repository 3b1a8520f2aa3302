"""What is in a manifest, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from whenwhere.structures import Clip

SPLITS = ("train", "val", "test", None)


def class_counts(clips: Sequence[Clip]) -> dict[str, dict[str | None, int]]:
    """Clips of each class in each split; a clip with several labels counts for each of them."""
    counts = Counter((label, clip.split) for clip in clips for label in clip.labels or ("(no label)",))
    names = sorted({label for label, _ in counts})
    return {name: {split: counts[name, split] for split in SPLITS if counts[name, split]} for name in names}


def duration_summary(clips: Sequence[Clip]) -> dict[str, float]:
    """Shortest, median, mean and longest duration and their sum in hours, of clips whose duration is known."""
    seconds = np.array([clip.duration for clip in clips if clip.duration])
    if not len(seconds):
        return {}
    return {
        "clips": float(len(seconds)),
        "shortest": float(seconds.min()),
        "median": float(np.median(seconds)),
        "mean": float(seconds.mean()),
        "longest": float(seconds.max()),
        "hours": float(seconds.sum() / 3600),
    }
