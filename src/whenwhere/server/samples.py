"""Clips that lie ready to be tried."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from whenwhere.datasets.manifest import VIDEO_SUFFIXES
from whenwhere.datasets.synthetic import SyntheticOptions, render_clip
from whenwhere.server.options import Refusal, ServerError
from whenwhere.server.uploads import no_room
from whenwhere.video import write_video

_FPS, _SCALE, _RENDERED = 8.0, 4, 3


class Samples:
    """Videos of a folder, by name.

    Raises:
        ServerError: the folder holds no videos.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {path.name: path for path in sorted(folder.glob("*")) if path.suffix.lower() in VIDEO_SUFFIXES}
        if not self._files:
            raise ServerError(f"{folder}: no videos in this folder; expected some to offer as samples")

    @property
    def names(self) -> list[str]:
        return list(self._files)

    def copy(self, name: str, path: Path) -> None:
        """
        Raises:
            Refusal: 404; 507 the disk is full.
        """
        if name not in self._files or not self._files[name].is_file():
            raise Refusal(404, "there is no sample of this name")
        try:
            shutil.copyfile(self._files[name], path)
        except OSError as error:
            raise no_room(error) from None


def render_samples(folder: Path) -> Path:
    """Write a few rendered clips into a new folder."""
    folder.mkdir(parents=True)
    options = replace(SyntheticOptions(), clips=_RENDERED)
    for index in range(_RENDERED):
        clip = render_clip(options, index, "test")
        frames = (np.kron(frame.transpose(1, 2, 0), np.ones((_SCALE, _SCALE, 1), np.uint8)) for frame in clip.pixels)
        write_video(folder / f"rendered {options.classes[clip.label]} {index + 1}.mp4", frames, _FPS)
    return folder
