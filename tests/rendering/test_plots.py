from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from whenwhere.metrics.bootstrap import Estimate
from whenwhere.metrics.calibration import reliability
from whenwhere.rendering.plots import (
    CONTROL,
    FILL,
    OURS,
    WORSE,
    Comparison,
    draw_class_bars,
    draw_comparison,
    draw_confusion_matrix,
    draw_reliability,
    figure_png,
    write_figure,
)

NAN = float("nan")
LONG = "A class name of somebody who did not think of plots, $and$ some_more "


def names_of(count: int) -> list[str]:
    return [(LONG if i % 5 == 0 else "Class ") + str(i) for i in range(count)]


def panel_pixels(figure: Figure, axes: Axes) -> np.ndarray:
    """What is drawn within ``axes``, `(H, W, 3)` in [0, 1]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3] / 255
    box = axes.get_window_extent()
    rows = picture[round(len(picture) - box.y1) : round(len(picture) - box.y0)]
    return rows[:, round(box.x0) : round(box.x1)]


def cell_means(figure: Figure, count: int) -> np.ndarray:
    """Mean brightness of the middle of each cell of a confusion matrix, `(count, count)`."""
    pixels = panel_pixels(figure, figure.axes[0]).mean(-1)
    size = len(pixels) / count
    corners = [(round((i + 0.25) * size), round((i + 0.75) * size)) for i in range(count)]
    return np.array([[pixels[a:b, c:d].mean() for c, d in corners] for a, b in corners])


def texts(figure: Figure) -> list[str]:
    return [artist.get_text() for artist in figure.findobj(Text) if artist.get_text()]


def random_figure(kind: str, count: int) -> Figure:
    random = np.random.default_rng(count)
    if kind == "confusion":
        return draw_confusion_matrix(random.integers(9, size=(count, count)), names_of(count))
    if kind == "bars":
        return draw_class_bars({n: Estimate(0.5, 0.4, 0.7, 9) for n in names_of(count)}, "recall")
    controls = {name: Estimate(0.5, 0.4, 0.6, 9) for name in names_of(count)}
    return draw_comparison([Comparison(LONG, Estimate(v, v - 0.1, v + 0.1, 9), controls) for v in (0.3, 0.7)])


@pytest.mark.parametrize("count", [3, 24])
def test_a_perfect_classifier_has_a_dark_diagonal_and_nothing_else(count: int) -> None:
    cells = cell_means(draw_confusion_matrix(np.eye(count, dtype=int), names_of(count)), count)
    diagonal, others = np.diag(cells), cells[~np.eye(count, dtype=bool)]
    assert diagonal.max() < 0.5
    assert others.min() > 0.9


def test_one_confusion_in_fifty_is_darker_than_none() -> None:
    matrix = np.diag(np.full(24, 50))
    matrix[3, 7], matrix[3, 3] = 1, 49
    cells = cell_means(draw_confusion_matrix(matrix, names_of(24)), 24)
    assert cells[3, 3] < cells[3, 7] < cells[7, 3] - 0.03
    assert cells.argmin(1).tolist() == list(range(24))


def test_shades_are_shares_of_the_true_class_so_that_rare_classes_count_as_much() -> None:
    cells = cell_means(draw_confusion_matrix([[2000, 2000, 0], [0, 2, 2], [0, 0, 1]], names_of(3)), 3)
    assert cells[0, 1] == pytest.approx(cells[1, 2], abs=0.1)  # but for the numbers written there
    assert cells[2, 2] < cells[1, 1] - 0.1


def test_small_matrices_carry_numbers_and_classes_without_clips_are_said() -> None:
    small = draw_confusion_matrix([[7, 0, 0], [0, 0, 0], [2, 0, 31]], names_of(3))
    assert [text.get_text() for text in small.axes[0].texts] == ["7", "2", "31"]
    assert "38 of 40 clips right; hatched: 1 class without clips" in texts(small)
    cells = cell_means(small, 3)
    assert cells[1].max() < cells[0, 1] - 0.02  # hatching over white
    assert not draw_confusion_matrix(np.eye(24, dtype=int), names_of(24)).axes[0].texts


def test_a_matrix_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"of 2 classes must be \(2, 2\), got \(3, 3\)"):
        draw_confusion_matrix(np.eye(3, dtype=int), ["a", "b"])
    with pytest.raises(ValueError, match="of 0 classes"):
        draw_confusion_matrix(np.zeros((0, 0), dtype=int), [])


def test_reliability_bars_are_as_high_as_the_accuracy() -> None:
    # Bins of 0.2: (0.4, 0.6] is right half of the time, (0.8, 1] always.
    diagram = reliability([0.5, 0.5, 0.9, 0.9], [True, False, True, True], bins=5)
    figure = draw_reliability(diagram)
    assert "ECE 0.050, 5 bins, 4 clips" in texts(figure)
    assert {"mean confidence 0.700", "accuracy 0.750"} <= set(texts(figure))
    pixels = panel_pixels(figure, figure.axes[0])
    filled = np.abs(pixels - to_rgb(FILL)).max(-1) < 0.02
    # The shares of the height that are filled, in columns off the diagonal line; hatching covers some of the gap.
    columns = [filled[:, round(x * filled.shape[1])].mean() for x in (0.1, 0.3, 0.56, 0.7, 0.97)]
    assert columns == pytest.approx([0, 0, 0.5, 0, 0.93], abs=0.05)


def test_reliability_shows_empty_and_adaptive_bins() -> None:
    empty = draw_reliability(reliability([1.0], [False]))
    assert "ECE 1.000, 15 bins, 1 clips" in texts(empty)
    figure_png(empty)
    confidence = np.random.default_rng(0).beta(20, 1, size=60)
    figure_png(draw_reliability(reliability(confidence, confidence > 0.9, adaptive=True)))


def test_class_bars_have_length_interval_count_and_mean() -> None:
    estimates = {
        "run": Estimate(0.5, 0.3, 0.9, 12),
        "walk": Estimate(1.0, 0.8, 1.0, 7),
        "jump": Estimate(NAN, NAN, NAN, 0),
    }
    figure = draw_class_bars(estimates, "recall")
    assert {"run", "walk", "jump", "12", "7", "0", "no clips", "recall by class, mean 0.750 over 2 classes"} <= set(
        texts(figure)
    )
    pixels = panel_pixels(figure, figure.axes[0])
    height, width = pixels.shape[:2]

    def share(row: float, color: str) -> tuple[float, float]:
        """Where along x ``color`` begins and ends in a row of pixels."""
        found = np.flatnonzero(np.abs(pixels[round(row * height)] - to_rgb(color)).max(-1) < 0.1) / width
        return (found[0], found[-1]) if len(found) else (NAN, NAN)

    assert share(0.08, FILL) == pytest.approx((0, 0.5), abs=0.02)
    assert share(0.19, OURS) == pytest.approx((0.3, 0.9), abs=0.02)
    assert share(0.42, FILL) == pytest.approx((0, 1), abs=0.02)
    assert np.isnan(share(0.8, FILL)).all()
    with pytest.raises(ValueError, match="at least one class"):
        draw_class_bars({}, "recall")


def test_a_measure_that_does_not_beat_its_best_control_is_red_and_says_so() -> None:
    controls = {"full frame": Estimate(0.1, 0.05, 0.15, 9), "centre box": Estimate(0.25, 0.2, 0.3, 9)}
    worse = Comparison("where", Estimate(0.2, 0.1, 0.3, 9), controls)
    better = Comparison("when", Estimate(0.6, 0.5, 0.7, 9), controls)
    figure = draw_comparison([worse, better])
    assert {"where (n = 9): no better than centre box", "when (n = 9)", "0.600", "0.250"} <= set(texts(figure))

    def has(axes: Axes, color: str) -> bool:
        return bool((np.abs(panel_pixels(figure, axes) - to_rgb(color)).max(-1) < 0.02).any())

    top, bottom = figure.axes
    assert has(top, WORSE)
    assert not has(top, OURS)
    assert has(bottom, OURS)
    assert not has(bottom, WORSE)
    assert has(top, CONTROL)


@pytest.mark.parametrize(
    "value, controls, higher_is_better, verdict",
    [
        (0.5, [0.4, 0.3], True, ""),
        (0.4, [0.4, 0.3], True, "no better than first"),
        (0.2, [0.4, 0.3], False, ""),
        (0.35, [0.4, 0.3], False, "no better than second"),
        (0.5, [NAN, 0.3], True, ""),
        (0.5, [NAN, 0.6], False, ""),
        (NAN, [0.4, 0.3], True, "cannot be compared"),
        (0.5, [NAN, NAN], True, "cannot be compared"),
    ],
)
def test_verdicts(value: float, controls: list[float], higher_is_better: bool, verdict: str) -> None:
    named = {n: Estimate(v, NAN, NAN, 3) for n, v in zip(("first", "second"), controls, strict=True)}
    comparison = Comparison("measure", Estimate(value, NAN, NAN, 3), named, higher_is_better)
    assert comparison.verdict == verdict
    assert (f": {verdict}" in " ".join(texts(draw_comparison([comparison])))) == bool(verdict)


def test_figures_without_controls_are_refused() -> None:
    with pytest.raises(ValueError, match="'accuracy' has no control"):
        Comparison("accuracy", Estimate(0.9, 0.8, 1.0, 9), {})
    with pytest.raises(ValueError, match="at least one measure"):
        draw_comparison([])


@pytest.mark.parametrize(
    "kind, count", [(kind, n) for kind in ("confusion", "bars") for n in (3, 24, 101)] + [("comparison", 8)]
)
def test_nothing_is_cut_off_and_names_do_not_run_into_one_another(kind: str, count: int) -> None:
    figure = random_figure(kind, count)
    picture = imread(io.BytesIO(figure_png(figure)))[..., :3]
    for border in (picture[:5], picture[-5:], picture[:, :5], picture[:, -5:]):
        assert (border == 1).all()
    FigureCanvasAgg(figure).draw()
    labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(below.y1 <= above.y0 + 1 for above, below in pairwise(labels))
    assert max(len(label.get_text()) for label in figure.axes[0].get_yticklabels()) < 50


@pytest.mark.parametrize("suffix, magic", [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_suffix_chooses_the_format(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = write_figure(random_figure("bars", 3), tmp_path / f"plot{suffix}")
    assert path.read_bytes().startswith(magic)
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_for_a_page_are_the_file(tmp_path: Path) -> None:
    figure = random_figure("bars", 3)
    np.testing.assert_array_equal(
        imread(io.BytesIO(figure_png(figure))), imread(write_figure(figure, tmp_path / "plot.png"))
    )


@pytest.mark.parametrize("name", ["plot.jpg", "plot"])
def test_an_unknown_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"expected a file name ending in \.png, \.svg, \.pdf"):
        write_figure(random_figure("bars", 3), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plot.png"
    path.write_bytes(b"old")

    def fail(self: Figure, target: Path, **_: object) -> None:
        Path(target).write_bytes(b"half a")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        write_figure(random_figure("bars", 3), path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]
