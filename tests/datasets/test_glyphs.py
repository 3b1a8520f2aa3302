"""Stroke drawings: the ink lies in its box, turns as told, and the three pools are different shapes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from whenwhere.datasets.glyphs import (
    DISTRACTORS,
    PRETRAINING,
    TARGETS,
    draw_glyph,
    finish_frames,
    glyph_box,
    glyph_segments,
    textured_background,
)

WHITE = np.ones(3, dtype=np.float32)


def drawn(name: str, angle: float = 0.0, size: float = 18.0, center: tuple[float, float] = (12.0, 12.0)) -> np.ndarray:
    """Ink `(24, 24)` in [0, 1]."""
    frames = np.zeros((1, 3, 24, 24), dtype=np.float32)
    draw_glyph(frames, name, np.array([center]), size, angle, WHITE)
    return frames[0, 0]


@pytest.mark.parametrize("name", TARGETS + DISTRACTORS + PRETRAINING)
def test_ink_fills_its_box_and_nothing_else(name: str) -> None:
    for angle in (0.0, 25.0):
        rows, columns = np.nonzero(drawn(name, angle) > 0.5)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(found, np.tile([12, 12], 2) + glyph_box(name, 18.0, angle), atol=1.1)


def test_whole_pixel_shift_shifts_the_ink() -> None:
    moved = drawn("arrow", 10.0, 12.0, (15.0, 10.0))
    np.testing.assert_allclose(moved, np.roll(drawn("arrow", 10.0, 12.0), (-2, 3), (0, 1)), atol=1e-6)


def test_angle_turns_clockwise_on_screen() -> None:
    np.testing.assert_allclose(drawn("arrow", 90.0), np.rot90(drawn("arrow"), -1), atol=1e-5)


def test_ink_is_cut_off_at_the_border_and_hidden_frames_stay_as_they_are() -> None:
    frames = np.zeros((2, 3, 24, 24), dtype=np.float32)
    draw_glyph(frames, "ring", np.array([[0.0, 12.0], [12.0, 12.0]]), 18.0, 0.0, WHITE, np.array([True, False]))
    np.testing.assert_allclose(frames[0, 0, :, :12], drawn("ring")[:, 12:], atol=1e-6)
    assert frames[0, 0, :, 12:].sum() == 0
    assert frames[1].sum() == 0


def test_pools_share_no_shape_within_the_rotations_used() -> None:
    """No pretraining shape, turned up to 42 degrees, looks like a shape of the clips turned up to 12."""

    def look(name: str, angle: float) -> np.ndarray:
        blurred = gaussian_filter(drawn(name, angle), 1.0).ravel()
        return blurred / np.linalg.norm(blurred)

    clips = np.stack([look(name, angle) for name in TARGETS + DISTRACTORS for angle in (-12, 0, 12)])
    frames = np.stack([look(name, angle) for name in PRETRAINING for angle in range(-42, 43, 6)])
    assert (clips @ frames.T).max() < 0.9
    own = np.stack([look(name, 6) for name in TARGETS + DISTRACTORS])
    assert (clips @ own.T).max(axis=0).min() > 0.9  # the measure does see the same shape, turned
    assert len(set(TARGETS + DISTRACTORS + PRETRAINING)) == len(TARGETS) + len(DISTRACTORS) + len(PRETRAINING)


def test_unknown_glyph_is_named() -> None:
    with pytest.raises(ValueError, match="'banana'"):
        glyph_segments("banana")


def test_frames_share_the_ground_but_neither_brightness_nor_noise() -> None:
    rng = np.random.default_rng(0)
    ground = textured_background(rng, 64)
    frames = finish_frames(np.repeat(ground[None], 200, axis=0), rng).astype(float)
    brightness = frames.mean(axis=(1, 2, 3)) / ground.mean()
    assert 0.78 < brightness.min() < 0.83
    assert 1.12 < brightness.max() < 1.17
    assert abs(np.corrcoef(brightness[:-1], brightness[1:])[0, 1]) < 0.2
    noise = frames - brightness[:, None, None, None] * ground
    assert 7 < noise.std() < 9
    assert abs((noise[0] * noise[1]).mean()) < 1
