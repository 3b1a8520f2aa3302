from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whenwhere.rendering import OverlayOptions, OverlayRenderer, blend_mask, boxes_at, mask_at, write_overlay
from whenwhere.rendering.overlay import BOX_COLOR, draw_boxes, heat_colors, relative_mask_at
from whenwhere.rendering.strip import text_font
from whenwhere.structures import Box, Explanation
from whenwhere.video import VideoError, iter_frames

GRAY = np.full((240, 320, 3), 90, dtype=np.uint8)
AREA = (40.0, 0.0, 280.0, 240.0)


def hot_cell(row: int, column: int) -> np.ndarray:
    mask = np.zeros((4, 4), dtype=np.float32)
    mask[row, column] = 1
    return mask


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(axis=-1)


def test_mask_at_samples_between_and_outside_them(explanation: Explanation) -> None:
    for time, mask in zip(explanation.times, explanation.masks, strict=True):
        np.testing.assert_allclose(mask_at(explanation, time), mask)
    assert mask_at(explanation, 1.05)[0, 0] == pytest.approx(0.75)  # three quarters of the way from 0.6 to 1.2
    late = replace(explanation, masks=np.linspace(0, 1, 5)[:, None, None] * np.ones((1, 4, 4)))
    assert mask_at(late, 99)[0, 0] == 1
    assert mask_at(late, -1)[0, 0] == 0


@pytest.mark.parametrize("row, column", [(0, 0), (1, 2), (3, 3)])
def test_hot_cell_colors_its_pixels_and_no_others(row: int, column: int) -> None:
    difference = np.abs(blend_mask(GRAY, hot_cell(row, column), AREA).astype(int) - GRAY).max(axis=-1)
    where = difference > 1  # the cubic kernel's second lobes stay below one grey level
    top, left = 60 * row, 40 + 60 * column
    assert where[top + 2 : top + 58, left + 2 : left + 58].all()
    # The kernel reaches half a cell into the neighbours; beyond that nothing may change.
    far = np.ones_like(where)
    far[max(top - 30, 0) : top + 90, max(left - 30, 0) : left + 90] = False
    far[:, :40] = far[:, 280:] = True
    assert not where[far].any()


def test_attention_of_zero_leaves_the_picture_clear() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    np.testing.assert_array_equal(blend_mask(noise, np.zeros((4, 4)), AREA), noise)
    np.testing.assert_array_equal(blend_mask(noise, np.ones((4, 4)), AREA, opacity=0), noise)


def test_full_attention_at_full_opacity_is_the_end_of_the_color_map() -> None:
    blended = blend_mask(GRAY, np.ones((4, 4)), (0, 0, 320, 240), opacity=1)
    assert np.abs(blended.astype(int) - heat_colors()[-1].astype(int)).max() <= 1


def test_colors_grow_lighter_with_attention() -> None:
    luma = heat_colors() @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luma) > -1).all()
    assert luma[-1] - luma[0] > 120


def test_area_that_reaches_beyond_the_frame_is_cut_not_squeezed() -> None:
    whole = blend_mask(np.full((480, 640, 3), 90, dtype=np.uint8), hot_cell(1, 1), (0, 0, 640, 480))
    cut = blend_mask(np.full((400, 500, 3), 90, dtype=np.uint8), hot_cell(1, 1), (-100, -40, 540, 440))
    np.testing.assert_array_equal(cut, whole[40:440, 100:600])


def test_masks_are_shown_relative_to_the_clip_not_the_frame(explanation: Explanation) -> None:
    masks = np.full((5, 4, 4), 0.1, dtype=np.float32)
    masks[2, 0, 0], masks[0, 3, 3] = 0.5, 0.14
    shown = replace(explanation, masks=masks)
    assert relative_mask_at(shown, 1.2)[0, 0] == pytest.approx(1)
    assert relative_mask_at(shown, 0.0)[3, 3] == pytest.approx(0.1)  # the peak of its frame, yet faint
    assert relative_mask_at(shown, 2.4).max() == pytest.approx(0)


def test_mask_that_hardly_varies_is_not_stretched_into_a_pattern(explanation: Explanation) -> None:
    masks = np.full((5, 4, 4), 1.0, dtype=np.float32)
    masks[0, 0, 0] = 0.99
    assert relative_mask_at(replace(explanation, masks=masks), 1.2).max() == pytest.approx(0.1)


def test_boxes_are_shown_near_their_frame(explanation: Explanation) -> None:
    assert boxes_at(explanation, 2.05) == ()
    assert boxes_at(explanation, 2.15) == explanation.boxes
    assert boxes_at(explanation, 3.0) == explanation.boxes


def test_box_is_drawn_where_it_is() -> None:
    drawn = draw_boxes(GRAY, [Box(0, 100, 80, 200, 160, "cup", 0.5)], text_font(12))
    assert (drawn == BOX_COLOR).all(axis=-1)[100, 101:103].any()
    where = changed(GRAY, drawn)
    assert where[80:160, 100].all()
    assert where[159, 100:200].all()
    assert not where[90:150, 110:190].any()
    assert not where[162:].any()
    assert not where[:, 202:].any()


@pytest.mark.parametrize(
    "box", [Box(0, -50, -50, 400, 300, "all"), Box(0, 10, 10, 10.5, 10.5, "dot"), Box(0, 315, 0, 319, 3, "x" * 200)]
)
def test_odd_boxes_are_drawn_without_failing(box: Box) -> None:
    assert changed(GRAY, draw_boxes(GRAY, [box], text_font(12))).any()


def cursor_column(strip: np.ndarray) -> float:
    return float(np.flatnonzero((strip[-1] == 255).all(axis=-1)).mean())


def test_cursor_moves_with_time_and_nothing_else_of_the_curve_changes(explanation: Explanation) -> None:
    strip = OverlayRenderer(explanation).strip
    for time in (0.3, 1.5, 2.7):
        assert cursor_column(strip.at(time)) == pytest.approx(time / 3 * 319, abs=1.5)
    curve = slice(*strip.curve)
    columns = changed(strip.at(0.3)[curve], strip.at(1.5)[curve]).any(axis=0)
    assert {round(abs(x - 32)) <= 3 or round(abs(x - 160)) <= 3 for x in np.flatnonzero(columns)} == {True}


def test_curve_is_highest_where_importance_is(explanation: Explanation) -> None:
    strip = OverlayRenderer(explanation).strip
    curve = strip.at(3.0)[slice(*strip.curve)]
    filled = (curve != curve[0, -10]).any(axis=-1)[:, :-10].sum(axis=0)
    assert abs(int(filled.argmax()) - strip.column(1.2)) <= 3
    assert filled[strip.column(1.2)] > 5 * filled[strip.column(0.05)]


def test_segments_are_marked_over_their_span(explanation: Explanation) -> None:
    strip = OverlayRenderer(explanation).strip
    row = strip.at(0.0)[-6]
    background = row[strip.column(2.9)]
    for time, inside in ((0.5, False), (0.95, True), (1.45, True), (1.7, False), (2.5, True)):
        assert bool((row[strip.column(time)] != background).any()) == inside
    assert (row[strip.column(1.45)] != row[strip.column(2.55)]).any()  # two labels, two colours


@pytest.mark.parametrize(
    "size, expected",
    [
        ((1920, 1080), (960, 540)),
        ((320, 240), (320, 240)),
        ((64, 48), (320, 240)),
        ((180, 320), (320, 568)),
        ((33, 999), (32, 960)),
    ],
)
def test_picture_size_is_even_and_within_limits(
    explanation: Explanation, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    renderer = OverlayRenderer(replace(explanation, width=size[0], height=size[1], mask_area=(0, 0, *map(float, size))))
    assert (renderer.width, renderer.picture_height) == expected
    frame = renderer(np.zeros((size[1], size[0], 3), dtype=np.uint8), 0.5)
    assert frame.shape == (renderer.height, renderer.width, 3)
    assert renderer.height % 2 == renderer.width % 2 == 0


def test_scaled_picture_keeps_attention_and_boxes_in_place(explanation: Explanation) -> None:
    large = replace(
        explanation,
        width=1280,
        height=960,
        mask_area=tuple(4 * v for v in AREA),
        boxes=(Box(1.2, 640, 480, 1280, 960, "b"),),
    )
    renderer = OverlayRenderer(large, OverlayOptions(max_side=320))
    gray = np.full((960, 1280, 3), 90, dtype=np.uint8)
    where = changed(GRAY, renderer(gray, 1.2)[:240])
    assert where[10:50, 50:90].all()
    assert where[122:240, 160].all()
    assert not where[130:230, 40:150].any()


def test_overlay_file_has_the_timing_of_its_source(explanation: Explanation, tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    write_overlay(explanation, path)
    source, written = list(iter_frames(explanation.path)), list(iter_frames(path))
    assert [time for time, _ in written] == pytest.approx([time for time, _ in source], abs=2e-3)
    renderer = OverlayRenderer(explanation)
    for (time, frame), (_, drawn) in list(zip(source, written, strict=True))[::6]:
        assert drawn.shape == (renderer.height, renderer.width, 3)
        assert np.abs(drawn.astype(int) - renderer(frame, time)).mean() < 6  # what compression costs
    # At 1.2 s the hot cell glows over the gray ground, at 0.3 s it does not.
    assert np.abs(written[12][1][10:50, 50:90].astype(int) - 90).mean() > 40
    assert np.abs(written[3][1][10:50, 50:90].astype(int) - 90).mean() < 6
    assert [p.name for p in tmp_path.iterdir()] == ["overlay.mp4"]


def test_wrong_video_is_refused_and_nothing_is_left(explanation: Explanation, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"320 x 240 pixels.*640 x 240"):
        write_overlay(replace(explanation, width=640), tmp_path / "overlay.mp4")
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        write_overlay(explanation, tmp_path / "overlay.mp4", video_path=tmp_path / "gone.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kwargs", [{"opacity": 1.5}, {"max_side": 100}, {"min_width": 2}])
def test_options_are_checked(kwargs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="OverlayOptions"):
        OverlayOptions(**kwargs)  # type: ignore[arg-type]


def test_resampling_agrees_with_an_independent_bicubic() -> None:
    """The page's script draws with Catmull-Rom weights; Pillow's kernel is the same away from the edges."""
    mask = np.random.default_rng(1).random((6, 6)).astype(np.float32)
    fine = np.asarray(Image.fromarray(mask).resize((72, 72), Image.Resampling.BICUBIC))

    def kernel(x: float) -> float:
        d = abs(x)
        return 1.5 * d**3 - 2.5 * d**2 + 1 if d < 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0

    x, y = 31, 40
    px, py = (x + 0.5) / 12 - 0.5, (y + 0.5) / 12 - 0.5
    expected = sum(kernel(px - i) * kernel(py - j) * mask[j, i] for i in range(6) for j in range(6))
    assert fine[y, x] == pytest.approx(expected, abs=1e-4)
