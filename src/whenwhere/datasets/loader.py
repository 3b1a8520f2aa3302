"""Training samples from features in memory or from video files; deterministic in (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from whenwhere.structures import Clip
from whenwhere.video import Augmentation, Preprocessing, make_sampler, read_frames


class Maps(Protocol):
    """Feature maps of clips, in memory or on disk."""

    @property
    def shape(self) -> torch.Size: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor: ...


class FeatureDataset(Dataset):
    """Clips as features held in memory.

    Training draws T of the F stored frames, one from each of T equal stretches (TSN's segment sampling),
    and mirrors half of the clips; evaluation takes the middle of each stretch.

    Args:
        features: `(N, F, C, H, W)`, or what gives a clip's `(F, C, H, W)` by its index and has such a shape.
        labels: `(N,)`.
        frames: T <= F.
        seed: of the draws; None: evaluation.
        truth: per-clip ``active`` `(N, F)` and ``boxes`` `(N, F, 4)` in [0, 1], where known.
        mirror: mirror feature maps left and right in training.
    """

    def __init__(
        self,
        features: Maps,
        labels: Tensor,
        frames: int,
        seed: int | None = None,
        truth: dict[str, Tensor] | None = None,
        mirror: bool = True,
    ) -> None:
        if frames > features.shape[1]:
            raise ValueError(f"{frames} frames asked for, {features.shape[1]} stored for each clip")
        self.features, self.labels, self.frames, self.seed = features, labels, frames, seed
        self.truth, self.mirror = truth or {}, mirror
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        stored = self.features.shape[1]
        starts = torch.arange(self.frames) * stored / self.frames
        jitter = torch.full((self.frames,), 0.5)
        mirrored = False
        if self.seed is not None:
            generator = sample_generator(self.seed, self.epoch, index)
            jitter = torch.rand(self.frames, generator=generator)
            mirrored = self.mirror and bool(torch.rand((), generator=generator) < 0.5)
        picked = (starts + jitter * stored / self.frames).long().clamp(max=stored - 1)
        features = self.features[index][picked].float()
        sample = {"features": features.flip(-1) if mirrored else features, "label": self.labels[index]}
        for name, values in self.truth.items():
            sample[name] = values[index][picked]
        return sample


class VideoDataset(Dataset):
    """Clips decoded when asked for, for training the backbone too.

    Yields dicts of ``frames`` `(T, 3, size, size)` float32 and ``label``.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        classes: Sequence[str],
        frames: int,
        preprocessing: Preprocessing,
        seed: int | None = None,
    ) -> None:
        self.clips, self.classes, self.preprocessing, self.seed = list(clips), list(classes), preprocessing, seed
        self.sampler = make_sampler("uniform" if seed is None else "random_segment", frames=frames)
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        clip = self.clips[index]
        label = torch.tensor(self.classes.index(str(clip.label)))
        if self.seed is None:
            return {"frames": self.preprocessing(read_frames(clip.path, self.sampler).pixels), "label": label}
        generator = sample_generator(self.seed, self.epoch, index)
        pixels = read_frames(clip.path, self.sampler, generator).pixels
        return {"frames": Augmentation()(pixels, self.preprocessing, generator), "label": label}


def sample_generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """A generator of its own for every sample, so that neither workers nor a restart change a draw."""
    mixed = (seed * 1_000_003 + epoch) * 1_000_003 + index
    return torch.Generator().manual_seed(mixed % (2**63))


def epoch_order(length: int, seed: int, epoch: int) -> list[int]:
    """The order in which an epoch visits its samples."""
    return torch.randperm(length, generator=sample_generator(seed, epoch, -1)).tolist()
