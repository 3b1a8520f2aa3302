from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from whenwhere.rendering import write_filmstrip
from whenwhere.rendering.filmstrip import Strip, draw_filmstrips, filmstrip_indices, pictures_at
from whenwhere.structures import Explanation


@pytest.mark.parametrize(
    "count, frames, expected", [(5, 3, [0, 2, 4]), (5, 5, [0, 1, 2, 3, 4]), (3, 8, [0, 1, 2]), (9, 1, [0])]
)
def test_indices_are_spread_from_first_to_last(count: int, frames: int, expected: list[int]) -> None:
    assert filmstrip_indices(count, frames) == expected


def test_pictures_are_the_nearest_frames(explanation: Explanation, square: Any) -> None:
    for picture, index in zip(pictures_at(explanation, [0.04, 1.16, 1.2, 99.0]), (0, 12, 12, 29), strict=True):
        assert np.abs(picture.astype(int) - square.frame(index)).mean() < 3


def test_columns_show_time_attention_and_importance(explanation: Explanation) -> None:
    gray = np.full((240, 320, 3), 90, dtype=np.uint8)
    figure = draw_filmstrips([Strip(explanation, [0, 2, 4], [gray] * 3)])
    frames, heats, patches = (figure.axes[row:9:3] for row in range(3))
    assert [axes.get_title() for axes in frames] == ["0.00 s", "1.20 s", "2.40 s"]
    assert [axes.texts[0].get_text() for axes in patches] == ["5.0 %", "50.0 %", "5.0 %"]
    assert [axes.get_facecolor()[0] for axes in patches] == pytest.approx([0.1, 1.0, 0.1])
    shown = [np.asarray(axes.images[0].get_array()) for axes in heats]
    assert [bool((image != 90).any()) for image in shown] == [False, True, False]
    assert (shown[1][10:50, 50:90] != 90).any(axis=-1).all()
    assert [len(axes.patches) for axes in frames] == [0, 0, 2]  # the box and its dark edge
    assert figure.subfigs[0].texts[0].get_text() == "slide <right>  87 %"


def test_boxes_can_be_left_out(explanation: Explanation) -> None:
    gray = np.full((240, 320, 3), 90, dtype=np.uint8)
    figure = draw_filmstrips([Strip(explanation, [4], [gray])], boxes=False)
    assert not figure.axes[0].patches


@pytest.mark.parametrize("suffix, magic", [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_suffix_chooses_the_format(explanation: Explanation, tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"strip{suffix}"
    write_filmstrip(explanation, path, frames=3)
    assert path.read_bytes().startswith(magic)
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_cut_off_at_the_border(explanation: Explanation, tmp_path: Path) -> None:
    named = replace(explanation, labels=(("a very long label " * 9, 0.9),))
    for frames in (1, 5):
        write_filmstrip(named, tmp_path / "strip.png", frames=frames)
        picture = imread(tmp_path / "strip.png")
        assert (picture[:3] == 1).all()
        assert (picture[-3:] == 1).all()
        assert (picture[:, :3] == 1).all()
        assert (picture[:, -3:] == 1).all()


def test_bad_requests_are_refused_and_nothing_is_left(explanation: Explanation, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"strip\.jpg.*\.png, \.svg, \.pdf"):
        write_filmstrip(explanation, tmp_path / "strip.jpg")
    with pytest.raises(ValueError, match="frames >= 1, got 0"):
        write_filmstrip(explanation, tmp_path / "strip.png", frames=0)
    with pytest.raises(ValueError, match="was made for"):
        write_filmstrip(replace(explanation, height=100), tmp_path / "strip.png")
    assert list(tmp_path.iterdir()) == []


def test_several_stand_one_under_another(explanation: Explanation, tmp_path: Path) -> None:
    for several in ([explanation], [explanation, replace(explanation, labels=(("other", 0.5),))]):
        write_filmstrip(several, tmp_path / f"{len(several)}.png", frames=3)
    one, two = (imread(tmp_path / f"{count}.png") for count in (1, 2))
    assert abs(two.shape[0] - 2 * one.shape[0]) <= 2
    assert two.shape[1] == one.shape[1]
    half = two.shape[0] // 2
    assert (two[half + 60 : half + 200] != two[60:200]).mean() < 0.02, "the same frames again"


def test_the_width_asked_for_is_that_of_the_figure(explanation: Explanation, tmp_path: Path) -> None:
    write_filmstrip(explanation, tmp_path / "strip.png", frames=3, width=3.25, dpi=200)
    assert imread(tmp_path / "strip.png").shape[1] == pytest.approx(650, abs=1)
    with pytest.raises(ValueError, match="do not fit into 2 inches"):
        write_filmstrip(explanation, tmp_path / "narrow.png", frames=5, width=2)


def test_text_in_a_pdf_is_text(explanation: Explanation, tmp_path: Path) -> None:
    write_filmstrip(explanation, tmp_path / "strip.pdf", frames=2)
    content = (tmp_path / "strip.pdf").read_bytes()
    assert b"/CIDFontType2" in content, "a TrueType font, embedded"
    assert b"/Type3" not in content
