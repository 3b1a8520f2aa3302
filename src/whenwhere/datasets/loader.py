"""Training samples from features in memory or from video files; deterministic in (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from whenwhere.datasets.truth import clip_truth, known_truth
from whenwhere.structures import Clip
from whenwhere.video import (
    Augmentation,
    InputReader,
    Preprocessing,
    RandomSegment,
    VideoError,
    Window,
    clip_sampler,
)


@dataclass(frozen=True)
class Views:
    """How often an evaluation looks at each video.

    Attributes:
        clips: draws of frames, at evenly spaced moments of the T stretches.
        crops: 1, 3 or 10 pieces of the frame, see :meth:`Preprocessing.crops`.
        average: what of several views is averaged: ``probabilities``, or ``logits``, before softmax, as TSN does.
    """

    clips: int = 1
    crops: int = 1
    average: Literal["probabilities", "logits"] = "probabilities"

    def __post_init__(self) -> None:
        if self.clips < 1 or self.crops not in (1, 3, 10):
            raise ValueError(f"views need clips >= 1 and crops 1, 3 or 10, got {self.clips} and {self.crops}")
        if self.average not in ("probabilities", "logits"):
            raise ValueError(f"views average probabilities or logits, not {self.average!r}")

    @property
    def count(self) -> int:
        return self.clips * self.crops

    @property
    def moments(self) -> list[float]:
        """Of the clips, in (0, 1)."""
        return [(index + 0.5) / self.clips for index in range(self.clips)]

    @property
    def middle(self) -> int:
        """The view that shows where and when: centre crop of the middle clip."""
        return self.clips // 2 * self.crops


class Maps(Protocol):
    """Feature maps of clips, in memory or on disk."""

    @property
    def shape(self) -> torch.Size: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor: ...


class FeatureDataset(Dataset):
    """Clips as features held in memory.

    Training draws T of the F stored frames, one from each of T equal stretches (TSN's segment sampling), or T in a row,
    and mirrors half of the clips; evaluation takes the middle, or with several ``views`` several moments,
    `(V, T, C, H, W)`.

    Args:
        features: `(N, F, C, H, W)`, or what gives a clip's `(F, C, H, W)` by its index and has such a shape.
        labels: `(N,)`.
        frames: T <= F.
        seed: of the draws; None: evaluation.
        truth: of each stored frame, `(N, F, ...)`, see :func:`whenwhere.datasets.truth.split_truth`.
        mirror: mirror feature maps left and right in training; wrong for optical flow, whose sign would have to change.
        consecutive: frames in a row, because the rate at which they were stored matters.
    """

    def __init__(
        self,
        features: Maps,
        labels: Tensor,
        frames: int,
        seed: int | None = None,
        truth: dict[str, Tensor] | None = None,
        mirror: bool = True,
        consecutive: bool = False,
    ) -> None:
        if frames > features.shape[1]:
            raise ValueError(f"{frames} frames asked for, {features.shape[1]} stored for each clip")
        self.features, self.labels, self.frames, self.seed = features, labels, frames, seed
        self.truth, self.mirror, self.consecutive = truth or {}, mirror, consecutive
        self.epoch = 0
        self.views = Views()

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        maps = self.features[index]
        mirrored = False
        if self.seed is None:
            picks = [self._at(torch.full((self.frames,), moment)) for moment in self.views.moments]
            features = torch.stack([maps[pick] for pick in picks]).float() if len(picks) > 1 else maps[picks[0]].float()
            picked = picks[len(picks) // 2]
        else:
            generator = sample_generator(self.seed, self.epoch, index)
            picked = self._at(torch.rand(self.frames, generator=generator))
            features = maps[picked].float()
            mirrored = self.mirror and bool(torch.rand((), generator=generator) < 0.5)
        sample = {"features": features.flip(-1) if mirrored else features, "label": self.labels[index]}
        for name, values in self.truth.items():
            sample[name] = values[index][picked]
        return sample

    def _at(self, moments: Tensor) -> Tensor:
        """Numbers of the stored frames at a moment `(T,)` in [0, 1) of each of T stretches; the first places a row."""
        stored = self.features.shape[1]
        if self.consecutive:
            return int(moments[0] * (stored - self.frames + 1)) + torch.arange(self.frames)
        return ((torch.arange(self.frames) + moments) * stored / self.frames).long().clamp(max=stored - 1)


class VideoDataset(Dataset):
    """Clips decoded when asked for, for training the backbone too.

    Yields dicts of ``frames`` `(T, C, size, size)` float32, in an evaluation with several ``views``
    `(V, T, C, size, size)`, ``label``, and ``broken``: why a clip could not be decoded, else empty. In training the
    next clip that can be takes its place; in an evaluation its label is -1, see :func:`readable`. An evaluation also
    gets the truth, see :func:`whenwhere.datasets.truth.known_truth`, of several views that of the middle one.

    Args:
        frames: T.
        seed: of the draws; None: evaluation.
        fps: take frames at this rate; None: over the clip's whole length.
        reader: what is read at the moments drawn; None: frames.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        classes: Sequence[str],
        frames: int,
        preprocessing: Preprocessing,
        seed: int | None = None,
        fps: float | None = None,
        reader: InputReader | None = None,
    ) -> None:
        self.clips, self.classes, self.preprocessing, self.seed = list(clips), list(classes), preprocessing, seed
        self.frames, self.fps, self.reader = frames, fps, reader or InputReader()
        self.known = known_truth(self.clips)
        self.epoch = 0
        self.views = Views()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        broken = ""
        for number in range(len(self.clips)):
            clip = self.clips[(index + number) % len(self.clips)]
            try:
                sample = self._drawn(clip, index) if self.seed is not None else self._seen(clip)
            except VideoError as error:
                broken = broken or str(error)
                if self.seed is None:
                    return {**self._nothing(clip), "label": torch.tensor(-1), "broken": broken}
                continue
            return {**sample, "label": torch.tensor(self.classes.index(str(clip.label))), "broken": broken}
        raise VideoError(f"none of the {len(self.clips)} clips can be decoded; the first: {broken}")

    def _drawn(self, clip: Clip, index: int) -> dict[str, Tensor]:
        assert self.seed is not None
        generator = sample_generator(self.seed, self.epoch, index)
        sampler = RandomSegment(self.frames) if self.fps is None else Window(self.frames, self.fps)
        pixels = self.reader(self.reader.file(clip), sampler, generator).pixels
        return {"frames": Augmentation()(pixels, self.preprocessing, generator)}

    def _seen(self, clip: Clip) -> dict[str, Tensor]:
        views, times = self._views(self.reader.file(clip))
        truth = clip_truth(clip, times.tolist(), self.preprocessing)
        return {"frames": views if len(views) > 1 else views[0], **{name: truth[name] for name in self.known}}

    def _nothing(self, clip: Clip) -> dict[str, Tensor]:
        """Of the shapes of :meth:`_seen`."""
        count = self.views.count
        shape = (self.frames, self.preprocessing.channels, self.preprocessing.size, self.preprocessing.size)
        truth = clip_truth(replace(clip, segments=(), boxes=()), [0.0] * self.frames, self.preprocessing)
        frames = torch.zeros((count, *shape) if count > 1 else shape)
        return {"frames": frames, **{name: truth[name] for name in self.known}}

    def _views(self, path: str) -> tuple[Tensor, np.ndarray]:
        """`(V, T, C, size, size)`, from one pass through the file, and `(T,)` seconds of the middle clip."""
        samplers = [clip_sampler(self.frames, self.fps, moment) for moment in self.views.moments]
        wanted: list[np.ndarray] = []

        def all_of_them(timestamps: np.ndarray, duration: float, generator: torch.Generator | None) -> np.ndarray:
            wanted.extend(sampler(timestamps, duration) for sampler in samplers)
            return np.unique(np.concatenate(wanted))

        read = self.reader(path, all_of_them)
        known = np.unique(np.concatenate(wanted))
        places = [np.searchsorted(known, picked) for picked in wanted]
        views = [self.preprocessing.crops(read.pixels[torch.from_numpy(place)], self.views.crops) for place in places]
        return torch.cat(views), read.times[places[len(places) // 2]]


def readable(batch: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A batch of :class:`VideoDataset` without the clips that could not be decoded, and why they could not."""
    causes = [cause for cause in batch.pop("broken", ()) if cause]
    kept = batch["label"] >= 0
    return ({name: value[kept] for name, value in batch.items()} if causes else batch), causes


def sample_generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """A generator of its own for every sample, so that neither workers nor a restart change a draw."""
    mixed = (seed * 1_000_003 + epoch) * 1_000_003 + index
    return torch.Generator().manual_seed(mixed % (2**63))


def epoch_order(length: int, seed: int, epoch: int) -> list[int]:
    """The order in which an epoch visits its samples."""
    return torch.randperm(length, generator=sample_generator(seed, epoch, -1)).tolist()


def share_of_order(order: list[int], processes: int, rank: int) -> list[int]:
    """What one of several processes visits, each every so manyth; the first ones again where they do not come out even.

    So all visit equally many, and together, whenever they have visited equally many, the beginning of the order.
    """
    each = -(-len(order) // processes)
    return (order * processes)[: each * processes][rank::processes]
