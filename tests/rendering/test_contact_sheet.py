from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.io import imread

from whenwhere.rendering.contact_sheet import contact_sheet, middle_frame
from whenwhere.structures import Box, Clip
from whenwhere.video import write_video


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """Red at first, green from frame 6 on, 10 frames per second."""
    frames = np.zeros((10, 48, 64, 3), np.uint8)
    frames[:6, ..., 0] = frames[6:, ..., 1] = 200
    write_video(tmp_path / "a.mp4", frames, 10.0)
    return Clip(str(tmp_path / "a.mp4"), "run", boxes=(Box(0.7, 8, 8, 40, 40, "run"),))


def test_middle_frame_is_that_of_the_middle_box(clip: Clip) -> None:
    image, time = middle_frame(clip)
    assert time == pytest.approx(0.7)
    assert image[..., 1].mean() > 150 > 50 > image[..., 0].mean()
    image, time = middle_frame(Clip(clip.path, "run"))
    assert time == pytest.approx(0.5)
    assert image[..., 0].mean() > 150


def test_every_class_has_a_row_and_boxes_are_drawn(clip: Clip, tmp_path: Path) -> None:
    broken = Clip(str(tmp_path / "gone.mp4"), "walk", "test")
    sheet = imread(contact_sheet([clip, broken], tmp_path / "sheet.png"))
    alone = imread(contact_sheet([clip], tmp_path / "alone.png"))
    assert sheet.shape[0] > 1.5 * alone.shape[0]
    yellow = (np.abs(alone[..., :3].astype(int) - [255, 204, 0]).max(-1) < 40).sum()
    assert yellow > 50
    plain = imread(contact_sheet([Clip(clip.path, "run")], tmp_path / "plain.png"))
    assert (np.abs(plain[..., :3].astype(int) - [255, 204, 0]).max(-1) < 40).sum() == 0
