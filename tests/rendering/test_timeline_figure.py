"""Timelines of planted attention."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from whenwhere.rendering.timeline_figure import Timeline, draw_timelines, peaks, write_timeline
from whenwhere.structures import Explanation, Segment

TRUTH = (Segment(0.8, 1.6, "slide <right>"), Segment(2.0, 2.2, "third"))


def test_peaks_are_the_most_important_frames_apart_from_one_another(explanation: Explanation) -> None:
    assert peaks(explanation, 1) == [2]
    assert peaks(explanation, 0) == []
    times = tuple(i / 10 for i in range(30))
    bumps = np.exp(-((np.array(times)[:, None] - [0.5, 0.6, 2.5]) ** 2) / 0.01) @ [1.0, 0.9, 0.5]
    said = replace(
        explanation, times=times, importance=tuple(bumps / bumps.sum()), weights=(1 / 30,) * 30,
        masks=np.zeros((30, 2, 2)),
    )  # fmt: skip
    assert peaks(said, 2) == [5, 25], "not twice of one bump"
    every = peaks(said, 30)
    assert every == sorted(set(every))


def test_curve_and_bars_say_what_the_explanation_says(explanation: Explanation) -> None:
    figure = draw_timelines([Timeline(explanation, TRUTH)])
    curve, bars = figure.axes
    np.testing.assert_allclose(curve.lines[0].get_xdata(), explanation.times)
    np.testing.assert_allclose(curve.lines[0].get_ydata(), np.array(explanation.importance) / 0.5)
    assert bars.get_xlim() == (0, explanation.duration)
    names = [text.get_text() for text in bars.get_yticklabels()]
    assert names == ["slide <right>", "slide left", "true slide <right>", "true third"]
    spans = [path.get_extents() for bar in bars.collections for path in bar.get_paths()]
    found = [(round(span.x0, 6), round(span.x1, 6)) for span in spans]
    assert found == [(0.9, 1.5), (2.0, 2.6), (0.8, 1.6), (2.0, 2.2)]
    colors = [
        tuple(bar.get_edgecolor()[0][:3]) if bar.get_hatch() else tuple(bar.get_facecolor()[0][:3])
        for bar in bars.collections
    ]
    assert colors[0] == colors[2], "one class, one colour"
    assert len(set(colors)) == 3


def test_pictures_stand_in_the_order_of_time_and_show_mask_and_boxes(explanation: Explanation, tmp_path: Path) -> None:
    gray = np.full((240, 320, 3), 90, dtype=np.uint8)
    figure = draw_timelines([Timeline(explanation, (), (2, 4), (gray, gray))])
    first, second = figure.axes[2:]
    assert [axes.texts[0].get_text() for axes in (first, second)] == ["1.2 s", "2.4 s"]
    assert (np.asarray(first.images[0].get_array()) != 90).any()
    assert len(second.patches) == 2, "the box and its dark edge"


def test_models_of_one_video_stand_under_one_another(explanation: Explanation, tmp_path: Path) -> None:
    other = replace(explanation, model="runs/other", segments=())
    write_timeline([explanation, other], tmp_path / "two.png", frames=2, truths=[TRUTH, ()], width=3.25, dpi=200)
    picture = imread(tmp_path / "two.png")
    assert picture.shape[1] == pytest.approx(650, abs=1)
    assert (picture[:2] == 1).all()
    assert (picture[-2:] == 1).all()


def test_without_pictures_no_video_is_needed(explanation: Explanation, tmp_path: Path) -> None:
    write_timeline([replace(explanation, path="gone.mp4")], tmp_path / "line.pdf", frames=0)
    content = (tmp_path / "line.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Subtype /Image" not in content, "all of it is vectors"
    with pytest.raises(ValueError, match="frames >= 0"):
        write_timeline([explanation], tmp_path / "no.pdf", frames=-1)
    with pytest.raises(ValueError, match="2 inches or more, got 1"):
        write_timeline([explanation], tmp_path / "no.pdf", width=1)
