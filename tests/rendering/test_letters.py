"""Text of figures: within its place whatever is written, and in letters of any script that a font here has."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from whenwhere.rendering import letters
from whenwhere.rendering.filmstrip import Strip, draw_filmstrips
from whenwhere.rendering.letters import choose_fonts, fit_inches, text_inches
from whenwhere.rendering.plots import write_figure
from whenwhere.rendering.timeline_figure import Timeline, draw_timelines
from whenwhere.structures import Explanation

LONG = "over a very high wall, W"
NAMES = ["jump", LONG * 4, "W" * 60]


def places(figure: Figure) -> list[tuple[str, float, float, float, float]]:
    """Every text that is not empty, with its left, bottom, right and top in shares of the figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    found = []
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_visible() and text.get_text():
            place = text.get_window_extent(renderer).transformed(figure.transFigure.inverted())
            found.append((text.get_text(), place.x0, place.y0, place.x1, place.y1))
    return found


def check_apart(figure: Figure) -> None:
    found = places(figure)
    assert len(found) > 4
    for text, x0, y0, x1, y1 in found:
        assert min(x0, y0) >= -1e-3, f"{text!r} lies beyond the border"
        assert max(x1, y1) <= 1.001, f"{text!r} lies beyond the border"
    for number, (text, x0, y0, x1, y1) in enumerate(found):
        for other, a0, b0, a1, b1 in found[:number]:
            assert x1 <= a0 or a1 <= x0 or y1 <= b0 or b1 <= y0, f"{text!r} lies over {other!r}"


def named(explanation: Explanation, name: str) -> Explanation:
    segments = tuple(replace(one, label=name) for one in explanation.segments[:1])
    return replace(explanation, labels=((name, 0.995),), segments=segments, path=f"{name}.mp4", model=f"runs/{name}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [3.25, 6.75])
def test_no_text_of_a_timeline_leaves_its_place(explanation: Explanation, name: str, width: float) -> None:
    said = named(explanation, name)
    gray = [np.full((240, 320, 3), 90, dtype=np.uint8)] * 3
    check_apart(draw_timelines([Timeline(said, said.segments, [0, 2, 4], gray)], width))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cell", [0.35, 0.5, 1.55])
def test_no_text_of_a_filmstrip_leaves_its_place(explanation: Explanation, name: str, cell: float) -> None:
    gray = [np.full((240, 320, 3), 90, dtype=np.uint8)] * 5
    check_apart(draw_filmstrips([Strip(named(explanation, name), [0, 1, 2, 3, 4], gray, cell)]))


def test_inches_are_those_drawn() -> None:
    figure = Figure(figsize=(5, 1), dpi=300)
    text = figure.text(0, 0.5, LONG, fontsize=9, parse_math=False)
    drawn = text.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width / 300
    assert text_inches(LONG, 9) == pytest.approx(drawn, rel=0.03)
    assert text_inches(fit_inches(LONG, 1, 9), 9) <= 1
    assert fit_inches(LONG, 1, 9).endswith("…")
    assert fit_inches(LONG, 5, 9) == LONG


def write_font(path: Path, name: str, letter: str) -> Path:
    """A font in which ``letter`` looks as A does in the usual one."""
    usual = TTFont(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    for table in usual["cmap"].tables:
        if table.isUnicode() and ord("A") in table.cmap:
            table.cmap[ord(letter)] = table.cmap[ord("A")]
    for record in usual["name"].names:
        if record.nameID in (1, 4, 16):
            record.string = name
    usual.save(path)
    return path


def test_a_letter_comes_from_a_font_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_font(tmp_path / "other.ttf", "Planted Letters", "跳")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    font_manager.fontManager.addfont(str(file))
    monkeypatch.setattr(letters, "OTHERS", ("Planted Letters",))
    pictures = []
    for text in ("x A", "x 跳"):
        figure = Figure(figsize=(1, 1))
        figure.text(0.1, 0.5, text)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pictures.append(write_figure(figure, tmp_path / "a.png", tight=False).read_bytes())
    assert pictures[0] == pictures[1]
    shutil.rmtree(tmp_path)


def test_letters_that_no_font_has_are_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "OTHERS", ())
    figure = Figure()
    for place in (0.2, 0.5):
        figure.text(0.1, place, "jump 跳ぶ\n")
    with pytest.warns(UserWarning, match="no font of this computer has ぶ 跳; install") as caught:
        write_figure(figure, tmp_path / "a.pdf")
    assert len(caught) == 1


def test_usual_text_keeps_the_usual_font() -> None:
    figure = Figure()
    text = figure.text(0, 0, "größer, прыжок")
    before = text.get_fontfamily()
    choose_fonts(figure)
    assert text.get_fontfamily() == before
