"""What a network looks at of a clip: its frames, its optical flow or its dynamic images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from whenwhere.structures import Clip
from whenwhere.video.container import VideoError
from whenwhere.video.dynamic_images import DynamicImageOptions, read_dynamic_images
from whenwhere.video.flow_files import STACK, read_flow
from whenwhere.video.indexing import VideoIndex
from whenwhere.video.reader import Frames, Sampler, read_frames

Modality = Literal["rgb", "flow", "dynamic"]


@dataclass(frozen=True)
class InputReader:
    """Reads the inputs of a modality at the moments a sampler picks; called as ``read_frames`` is.

    Attributes:
        modality: ``rgb``: frames; ``flow``: stacks of five flow fields; ``dynamic``: dynamic images.
        dynamic: of dynamic images.
    """

    modality: Modality = "rgb"
    dynamic: DynamicImageOptions = field(default_factory=DynamicImageOptions)

    def __call__(
        self, video: str | Path | VideoIndex, sampler: Sampler, generator: torch.Generator | None = None
    ) -> Frames:
        """``pixels`` `(T, channels, H, W)` uint8 and ``times`` of the moments; ``video`` is what :meth:`file` says."""
        if self.modality == "flow":
            return read_flow(video, sampler, generator)
        if self.modality == "dynamic":
            return read_dynamic_images(video, sampler, generator, self.dynamic)
        return read_frames(video, sampler, generator)

    @property
    def channels(self) -> int:
        """Of an input."""
        return 2 * STACK if self.modality == "flow" else 3

    def file(self, clip: Clip) -> str:
        """The file of a clip that is read; VideoError where it has none."""
        if self.modality != "flow":
            return clip.path
        if clip.flow is None:
            raise VideoError(
                f"{clip.path}: has no optical flow in its manifest; `whenwhere flow` makes it, or says why not"
            )
        return clip.flow

    def describe(self, sampling: str) -> str:
        """``sampling`` in words with what is read at each moment: other words, other features."""
        if self.modality == "dynamic":
            return f"{sampling}, dynamic images of {self.dynamic.window} frames, {self.dynamic.pooling}"
        return sampling if self.modality == "rgb" else f"{sampling}, stacks of {STACK} flow fields"
