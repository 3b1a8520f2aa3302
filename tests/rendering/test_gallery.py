"""A gallery of planted attention."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from whenwhere.cli import main
from whenwhere.datasets.manifest import write_clips
from whenwhere.rendering.filmstrip import true_at
from whenwhere.rendering.gallery import GalleryCell, draw_gallery, in_order, write_gallery
from whenwhere.structures import Box, Clip, Explanation, Segment
from whenwhere.video import VideoError


def named(explanation: Explanation, *answers: tuple[str, float]) -> list[Explanation]:
    return [replace(explanation, labels=(answer,)) for answer in answers]


def test_orders(explanation: Explanation) -> None:
    several = named(explanation, ("b", 0.5), ("a", 0.6), ("b", 0.9), ("a", 0.7))
    assert in_order(several, "given") == [0, 1, 2, 3]
    assert in_order(several, "confidence") == [2, 3, 1, 0]
    assert in_order(several, "label") == [3, 1, 2, 0]


def test_a_cell_says_label_and_whether_it_is_so(explanation: Explanation) -> None:
    gray = np.full((240, 320, 3), 90, dtype=np.uint8)
    right, wrong = named(explanation, ("jump", 0.875), ("run", 0.5))
    figure = draw_gallery([GalleryCell(right, 2, gray, "jump"), GalleryCell(wrong, 2, gray, "jump")])
    assert [text.get_text() for text in figure.texts] == ["jump 88 %", "✓ right", "run 50 %", "✗ is jump"]
    image = np.asarray(figure.axes[0].images[0].get_array())
    assert (image[10:50, 50:90] != 90).any(axis=-1).all(), "the top left cell of the mask"
    assert (image[150:, 200:] == 90).all()


def test_true_boxes_of_that_moment_are_dashed(explanation: Explanation) -> None:
    gray = np.full((240, 320, 3), 90, dtype=np.uint8)
    marked = [Box(2.3, 1, 2, 3, 4, "a"), Box(2.45, 10, 20, 110, 120, "a"), Box(2.45, 5, 6, 7, 8, "a")]
    figure = draw_gallery([GalleryCell(explanation, 4, gray, None, marked), GalleryCell(explanation, 4, gray)])
    first, second = (
        [patch for patch in axes.patches if patch.get_edgecolor()[:3] != (0, 0, 0)] for axes in figure.axes
    )
    assert [patch.get_linestyle() for patch in second] == ["solid"], "what was found"
    found, *true = first
    assert found.get_bbox().bounds == second[0].get_bbox().bounds == (200, 150, 100, 70)
    assert [patch.get_bbox().bounds for patch in true] == [(10, 20, 100, 100), (5, 6, 2, 2)]
    assert all(patch.get_linestyle() != "solid" for patch in true)
    assert "dashed: truth" in figure.texts[0].get_text()
    assert true_at(marked, 2.6) == []
    assert true_at([], 2.6) == []


def test_it_is_the_most_important_frame(explanation: Explanation, square: Any, tmp_path: Path) -> None:
    clear = replace(explanation, masks=np.zeros((5, 4, 4)), boxes=(), importance=(0.1, 0.1, 0.1, 0.6, 0.1))
    write_gallery([clear], tmp_path / "one.png", width=4, dpi=100)
    picture = imread(tmp_path / "one.png")[..., :3]
    bright = np.flatnonzero((picture > 0.9).all(axis=2)[150])
    inside = bright[(bright > 20) & (bright < 380)]
    # At 1.8 s the square covers 144 to 184 of 320 pixels.
    assert inside.min() / 394 == pytest.approx(144 / 320, abs=0.03)
    assert inside.max() / 394 == pytest.approx(184 / 320, abs=0.03)


def test_many_fill_rows(explanation: Explanation, tmp_path: Path) -> None:
    write_gallery([explanation] * 5, tmp_path / "five.png", columns=2, dpi=100)
    write_gallery([explanation] * 2, tmp_path / "two.png", columns=2, dpi=100)
    five, two = imread(tmp_path / "five.png"), imread(tmp_path / "two.png")
    assert five.shape[0] == pytest.approx(3 * two.shape[0], abs=3)
    with pytest.raises(ValueError, match="columns >= 1"):
        write_gallery([explanation], tmp_path / "none.png", columns=0)


def test_commands_draw_every_kind_with_the_truth(
    explanation: Explanation, square: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explanation.save(tmp_path / "explanation.json")
    manifest = write_clips(
        [Clip(str(square.path), "slide left", segments=(Segment(1, 2, "slide left"),))], tmp_path / "clips.csv"
    )
    for kind in ("filmstrip", "timeline", "gallery"):
        truth = [] if kind == "filmstrip" else ["--truth", str(manifest)]
        out = tmp_path / f"{kind}.svg"
        assert main(["figure", kind, str(tmp_path / "explanation.json"), "--out", str(out), *truth]) == 0
        assert out.read_text(encoding="utf-8").startswith("<?xml")
    capsys.readouterr()
    assert main(["figure", "gallery", str(tmp_path / "explanation.json"), "--out", str(tmp_path / "a.jpg")]) == 1
    assert ".png, .svg, .pdf" in capsys.readouterr().err
    assert main(["figure", "gallery", str(manifest), "--out", str(tmp_path / "a.png")]) == 1
    assert "is not an explanation file" in capsys.readouterr().err


def test_a_truth_of_other_videos_is_an_error(
    explanation: Explanation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explanation.save(tmp_path / "explanation.json")
    manifest = write_clips([Clip("other.mp4", "run")], tmp_path / "clips.csv")
    out = tmp_path / "gallery.png"
    arguments = ["figure", "gallery", str(tmp_path / "explanation.json"), "--out", str(out), "--truth", str(manifest)]
    assert main(arguments) == 1
    assert "clips.csv has none of the explained videos" in capsys.readouterr().err
    assert not out.exists()


def test_columns_that_do_not_fit_are_refused(explanation: Explanation, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"4 columns do not fit into 1\.5 inches"):
        write_gallery([explanation] * 4, tmp_path / "narrow.png", columns=4, width=1.5)


def test_a_video_that_moved_is_looked_for_where_it_is_said_to_be(
    explanation: Explanation, square: Any, tmp_path: Path
) -> None:
    moved = replace(explanation, path=str(tmp_path / "gone" / square.path.name))
    with pytest.raises(VideoError, match=r"no such file.*--video"):
        write_gallery([moved], tmp_path / "a.png")
    shutil.copy(square.path, tmp_path)
    write_gallery([moved], tmp_path / "a.png", video_path=tmp_path)
    write_gallery([moved], tmp_path / "a.png", video_path=square.path)
