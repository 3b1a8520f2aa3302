"""The strip under the overlay's picture: importance over time, segments, and a cursor at the current time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from whenwhere.structures import Explanation, Segment

# Okabe and Ito's colours, told apart by colour-blind readers.
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#0072B2")
BACKGROUND, TEXT, CURVE, CURSOR = (22, 22, 27), (240, 240, 240), (150, 154, 170), (255, 255, 255)


@lru_cache(maxsize=8)
def text_font(size: int) -> ImageFont.FreeTypeFont:
    """A font of ``size`` pixels that is there on every machine and knows more letters than Pillow's own."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def fit_text(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """``text``, cut with an ellipsis to at most ``width`` pixels; empty where not even that fits."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…" if text else ""


def percent(probability: float) -> str:
    return f"{100 * probability:.0f} %"


def label_colors(explanation: Explanation, others: Iterable[Segment] = ()) -> dict[str, str]:
    """A ``#rrggbb`` for each label that has a segment, the predicted label first."""
    labels = dict.fromkeys([explanation.label, *(s.label for s in explanation.segments), *(s.label for s in others)])
    return {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(labels)}


class ImportanceStrip:
    """Text, importance curve and segments of one explanation; only cursor and clock change between frames.

    Attributes:
        width, height: size in pixels, height even.
        curve: ``(top, bottom)`` rows of the importance curve.
        font: the font it writes with.
    """

    def __init__(self, explanation: Explanation, width: int) -> None:
        self.explanation, self.width = explanation, width
        self.font = text_font(min(max(round(width / 34), 11), 22))
        size = round(self.font.size)
        self._text_row = round(1.7 * size)
        self.curve = (self._text_row, self._text_row + 3 * size)
        self._segment_row = (self.curve[1] + 2, self.curve[1] + 2 + round(1.4 * size))
        self.height = 2 * ((self._segment_row[1] + 4) // 2)
        self._still = self._draw_still()

    def column(self, time: float) -> int:
        """Pixel column of ``time`` seconds."""
        share = min(max(time / self.explanation.duration, 0.0), 1.0)
        return round(share * (self.width - 1))

    def at(self, time: float) -> np.ndarray:
        """The strip at ``time`` seconds, `(height, width, 3)` uint8."""
        image = self._still.copy()
        draw = ImageDraw.Draw(image)
        x = self.column(time)
        draw.rectangle((x - 2, self.curve[0], x + 1, self.height), fill=BACKGROUND)
        draw.rectangle((x - 1, self.curve[0], x, self.height), fill=CURSOR)
        clock = f"{time:.2f} s"
        draw.text((self.width - 6, self._text_row / 2), clock, fill=TEXT, font=self.font, anchor="rm")
        return np.asarray(image)

    def _draw_still(self) -> Image.Image:
        explanation, font = self.explanation, self.font
        image = Image.new("RGB", (self.width, self.height), BACKGROUND)
        draw = ImageDraw.Draw(image)
        room = self.width - 18 - font.getlength(f"{explanation.duration:.2f} s")
        probability = " " + percent(explanation.score)
        title = fit_text(explanation.label, font, room - font.getlength(probability)) + probability
        draw.text((6, self._text_row / 2), title, fill=TEXT, font=font, anchor="lm")
        self._draw_curve(draw)
        colors = label_colors(explanation)
        # Where segments of several labels overlap, the predicted label lies on top, then the surer one.
        for segment in sorted(explanation.segments, key=lambda s: (s.label == explanation.label, s.score)):
            box = (self.column(segment.start), self._segment_row[0], self.column(segment.end), self._segment_row[1])
            draw.rectangle(box, fill=colors[segment.label])
            text = fit_text(segment.label, font, box[2] - box[0] - 8)
            draw.text((box[0] + 4, (box[1] + box[3]) / 2), text, fill=(0, 0, 0), font=font, anchor="lm")
        return image

    def _draw_curve(self, draw: ImageDraw.ImageDraw) -> None:
        top, bottom = self.curve
        seconds = np.linspace(0, self.explanation.duration, self.width)
        heights = np.interp(seconds, self.explanation.times, self.explanation.importance)
        heights = heights / max(self.explanation.importance) * (bottom - top - 2)
        inside = np.zeros(self.width, dtype=bool)
        for segment in self.explanation.segments:
            if segment.label == self.explanation.label:
                inside[self.column(segment.start) : self.column(segment.end) + 1] = True
        accent = label_colors(self.explanation)[self.explanation.label]
        for x, height in enumerate(heights):
            draw.line((x, bottom - height, x, bottom), fill=accent if inside[x] else CURVE)
