"""One page about how good a model is: every measure beside its controls, plots, the surest and the worst clips."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from whenwhere.evaluation.answers import is_of_attention
from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.scores import Score
from whenwhere.evaluation.tables import with_interval
from whenwhere.files import write_text
from whenwhere.metrics.bootstrap import Estimate
from whenwhere.metrics.calibration import Reliability
from whenwhere.rendering.contact_sheet import middle_frame
from whenwhere.rendering.pages import asset, fill
from whenwhere.rendering.plots import (
    Comparison,
    draw_class_bars,
    draw_comparison,
    draw_reliability,
    figure_png,
)
from whenwhere.rendering.thumbnails import jpeg_address, jpeg_bytes
from whenwhere.structures import Clip
from whenwhere.video import VideoError

SHOWN = 6  # clips at either end
THUMBNAIL = 200  # pixels wide


@dataclass(frozen=True)
class Page:
    """What the page tells.

    Attributes:
        title: of the page.
        scores: every measure.
        metrics: the record beside it, as written to JSON.
        predictions: of N clips.
        confusion: figure of the confusion matrix.
        reliability: how confident and how right the model is.
        classes: names.
        names: N, of the clips.
        clips: N files to take pictures from; None without files.
    """

    title: str
    scores: Sequence[Score]
    metrics: dict[str, Any]
    predictions: Predictions
    confusion: Figure
    reliability: Reliability
    classes: Sequence[str]
    names: Sequence[str]
    clips: Sequence[Clip] | None = None


def write_evaluation_page(page: Page, path: str | Path) -> None:
    """Write one HTML file that needs nothing else; it appears whole or not at all."""
    versions = ", ".join(f"{name} {value}" for name, value in page.metrics["versions"].items())
    origin = (
        f"{page.metrics['clips']} clips, {page.metrics['broken']} more could not be read. {versions}. "
        f"Seed {page.metrics['seed']}, model {str(page.metrics['model_sha256'])[:12]}, "
        f"data {page.metrics['data_sha256'][:12]}."
    )
    values = {
        "title": html.escape(page.title),
        "css": asset("player.css"),
        "origin": html.escape(origin),
        "rows": "\n".join(_row(score) for score in page.scores),
        "losses": _losses(page.scores),
        "plots": "\n".join(_plots(page)),
        "worst": _clips(page, worst=True),
        "best": _clips(page, worst=False),
    }
    write_text(Path(path), fill(asset("evaluation.html"), values))


def _row(score: Score) -> str:
    lost = score.verdict.startswith("does not")
    controls = ", ".join(f"{name} {control.value:.3f}" for name, control in score.controls.items())
    cells = (score.name, with_interval(score.estimate), score.verdict, controls, str(score.count))
    columns = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells[1:])
    head = f'<th scope="row" title="{html.escape(score.protocol)}">{html.escape(cells[0])}</th>'
    return f'<tr class="{"lost" if lost else ""}">{head}{columns}</tr>'


def _losses(scores: Sequence[Score]) -> str:
    lost = [score for score in scores if score.verdict.startswith("does not")]
    if not lost:
        return "<p>Every measure beats its best control, or is above it.</p>"
    named = "; ".join(score.name for score in lost)
    return f'<p class="lost">Not better than the best control, so do not rely on: {html.escape(named)}.</p>'


def _plots(page: Page) -> Iterator[str]:
    for part in ("accuracy", "when", "where", "faithful"):
        comparisons = [
            Comparison(score.name, score.estimate, score.controls)
            for score in page.scores
            if score.name.startswith(part) and is_of_attention(score.name)  # the others are in the table
        ]
        if comparisons:
            yield _figure(draw_comparison(comparisons), f"The model beside its controls: {part}")
    yield _figure(page.confusion, "Confusion matrix")
    yield _figure(draw_reliability(page.reliability), "How often the model is right, by how sure it is")
    bars = {row["name"]: _recall(row) for row in page.metrics["classes"]}
    yield _figure(draw_class_bars(bars, "recall"), "Share of each class's clips that are named rightly")


def _recall(row: dict[str, Any]) -> Estimate:
    value, low, high = (float("nan") if row[key] is None else row[key] for key in ("recall", "low", "high"))
    return Estimate(value, low, high, row["count"])


def _figure(figure: Figure, text: str) -> str:
    image = base64.b64encode(figure_png(figure)).decode()
    return (
        f'<figure><img alt="{html.escape(text)}" src="data:image/png;base64,{image}">'
        f"<figcaption>{html.escape(text)}</figcaption></figure>"
    )


def _clips(page: Page, worst: bool) -> str:
    """Clips with the least, or the most, probability for their own class."""
    probabilities = page.predictions.logits.softmax(1)
    own = probabilities.gather(1, page.predictions.labels[:, None])[:, 0]
    order = own.argsort(descending=not worst, stable=True)[:SHOWN].tolist()
    items = []
    for index in order:
        true, named = (
            page.classes[int(page.predictions.labels[index])],
            page.classes[int(probabilities[index].argmax())],
        )
        text = f"{page.names[index]}: {true}, {float(own[index]):.0%}" + (
            "" if named == true else f"; taken for {named}"
        )
        items.append(f"<li>{_thumbnail(page, index)}<span>{html.escape(text)}</span></li>")
    return f'<ul class="clips">{"".join(items)}</ul>'


def _thumbnail(page: Page, index: int) -> str:
    if page.clips is None:
        return ""
    try:
        pixels, _ = middle_frame(page.clips[index])
    except VideoError:
        return ""
    return f'<img alt="" src="{jpeg_address(jpeg_bytes(pixels, THUMBNAIL, quality=80))}">'
