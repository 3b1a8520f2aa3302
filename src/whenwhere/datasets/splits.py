"""Which clips a model is trained, chosen and measured on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from whenwhere.datasets.manifest import ManifestError
from whenwhere.structures import Clip

logger = logging.getLogger(__name__)


def class_names(clips: Sequence[Clip]) -> tuple[str, ...]:
    """Sorted names of the classes.

    Raises:
        ManifestError: a clip without a label, or fewer than two classes.
    """
    unlabelled = [clip.path for clip in clips if clip.label is None]
    if unlabelled:
        raise ManifestError(f"{len(unlabelled)} clips have no label, first {unlabelled[0]}")
    names = tuple(sorted({str(clip.label) for clip in clips}))
    if len(names) < 2:
        raise ManifestError(f"a recogniser needs at least two classes, found {list(names)}")
    return names


def with_one_label(clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Clips to learn one label each from, and those with several, which the paper leaves out (THUMOS14, B.1)."""
    several = [clip for clip in clips if len(clip.labels) > 1]
    return [clip for clip in clips if len(clip.labels) <= 1], several


def split_clips(
    clips: Sequence[Clip], val_share: float, test_share: float = 0.2, seed: int = 0, training: bool = True
) -> dict[str, list[Clip]]:
    """Clips by split. Splits of the manifest are kept; what is missing is carved out by group.

    A manifest without any split gets a test split of ``test_share``; one without ``val`` gets a validation
    split of about ``val_share`` of its training clips. All clips of a group land on the same side (a clip
    without a group is a group of its own), each class is drawn on in turn, and the draw depends on
    ``seed`` only.

    Raises:
        ManifestError: there are no training clips, and with ``training`` there should be.
    """
    clips = list(clips)
    if all(clip.split is None for clip in clips):
        clips = _carve(clips, test_share, "test", seed)
    clips = [clip if clip.split else replace(clip, split="train") for clip in clips]
    if val_share and not any(clip.split == "val" for clip in clips):
        train = [clip for clip in clips if clip.split == "train"]
        clips = [clip for clip in clips if clip.split != "train"] + _carve(train, val_share, "val", seed)
    for warning in group_leaks(clips):
        logger.warning(warning)
    result = {name: [clip for clip in clips if clip.split == name] for name in ("train", "val", "test")}
    if training and not result["train"]:
        raise ManifestError("no training clips: every row of the manifest is in another split")
    return result


def _carve(clips: list[Clip], share: float, name: str, seed: int) -> list[Clip]:
    """Move whole groups to split ``name`` until each class has about its share there."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.group or clip.path, []).append(clip)
    wanted = {label: share * sum(clip.label == label for clip in clips) for label in {clip.label for clip in clips}}
    taken = dict.fromkeys(wanted, 0)
    moved: set[str] = set()
    order = sorted(groups)
    np.random.default_rng(seed).shuffle(order)
    for group in order:
        members = [clip.label for clip in groups[group]]
        after = {label: taken[label] + members.count(label) for label in wanted}
        gain = sum(abs(wanted[x] - taken[x]) - abs(wanted[x] - after[x]) for x in wanted)
        if gain > 0:
            moved.add(group)
            taken = after
    return [
        replace(clip, split=name if key in moved else "train") for key, members in groups.items() for clip in members
    ]


def group_leaks(clips: Sequence[Clip]) -> list[str]:
    """A sentence for each pair of splits with clips of one group on both sides; scores would be too high."""
    groups = {name: {clip.group for clip in clips if clip.split == name} - {None} for name in ("train", "val", "test")}
    said = []
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = sorted(map(str, groups[first] & groups[second]))
        if shared:
            said.append(f"{len(shared)} groups are in both {first} and {second} (for instance {shared[0]})")
    return said
