"""The video with the answer drawn into it: attention, boxes, and importance over time under the picture.

Pure functions on arrays come first; :func:`write_overlay` streams a file through them. The other
renderings use the same functions, so a picture in the report looks like the same picture in the overlay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from whenwhere.rendering.strip import ImportanceStrip, fit_text
from whenwhere.structures import Box, Explanation
from whenwhere.video import VideoWriter, iter_frames

BOX_COLOR = (86, 220, 255)  # light blue: the hue the heat map never takes


@dataclass(frozen=True)
class OverlayOptions:
    """How the overlay is drawn.

    Attributes:
        opacity: of the heat map where attention is highest, in [0, 1].
        max_side: the longer side of the picture is reduced to this many pixels.
        min_width: a narrower picture is enlarged to this many pixels, so that the text below it can be read.
    """

    opacity: float = 0.7
    max_side: int = 960
    min_width: int = 320

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"OverlayOptions.opacity must lie in [0, 1], got {self.opacity}")
        if not 16 <= self.min_width <= self.max_side:
            raise ValueError(
                f"OverlayOptions needs 16 <= min_width <= max_side, got min_width={self.min_width}, "
                f"max_side={self.max_side}"
            )


def heat_colors() -> np.ndarray:
    """Colours of attention from low to high, `(256, 3)` uint8: the colour-blind-safe map `inferno`.

    Its near-black start is left out: over a picture it would look like shadow, not like attention.
    """
    return (matplotlib.colormaps["inferno"](np.linspace(0.3, 0.97, 256))[:, :3] * 255).round().astype(np.uint8)


def mask_at(explanation: Explanation, time: float) -> np.ndarray:
    """Spatial attention at ``time`` seconds, `(H, W)` in [0, 1], linear between the frames the model looked at."""
    times = explanation.times
    position = float(np.interp(time, times, np.arange(len(times))))
    before = int(position)
    after = min(before + 1, len(times) - 1)
    share = position - before
    return (1 - share) * explanation.masks[before] + share * explanation.masks[after]


def mask_scale(explanation: Explanation) -> tuple[float, float]:
    """``(low, span)`` so that ``(mask - low) / span`` shows a mask relative to its clip.

    One scale for the whole clip, so a frame the model ignored stays clear. The span is at least a
    tenth of the maximum: a mask that hardly varies must look flat, not be stretched into a pattern.
    """
    low, high = float(explanation.masks.min()), float(explanation.masks.max())
    return low, max(high - low, 0.1 * high, 1e-6)


def relative_mask_at(explanation: Explanation, time: float) -> np.ndarray:
    """:func:`mask_at` on the scale of its clip, `(H, W)` in [0, 1]."""
    low, span = mask_scale(explanation)
    return np.clip((mask_at(explanation, time) - low) / span, 0, 1)


def boxes_at(explanation: Explanation, time: float) -> tuple[Box, ...]:
    """Boxes of the sampled frame nearest to ``time`` seconds, so each is shown until the next frame takes over."""
    times = np.asarray(explanation.times)

    def nearest(moment: float) -> int:
        return int(np.abs(times - moment).argmin())

    frame = nearest(time)
    return tuple(box for box in explanation.boxes if nearest(box.time) == frame)


def blend_mask(frame: np.ndarray, mask: np.ndarray, area: tuple[float, ...], opacity: float = 0.7) -> np.ndarray:
    """Lay a heat map over a frame; where the mask is 0 the picture stays as it is.

    Args:
        frame: `(H, W, 3)` uint8.
        mask: `(h, w)` in [0, 1], usually a small grid; enlarged with a bicubic kernel.
        area: ``(x0, y0, x1, y1)`` pixels of ``frame`` that the grid covers; nothing outside it changes.
        opacity: of the heat map where the mask is 1.

    Returns:
        A new `(H, W, 3)` uint8 frame.
    """
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = (round(value) for value in area)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    blended = frame.copy()
    if left >= right or top >= bottom:
        return blended
    grid = Image.fromarray(np.ascontiguousarray(mask, dtype=np.float32))
    fine = np.asarray(grid.resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC))
    fine = np.clip(fine[top - y0 : bottom - y0, left - x0 : right - x0], 0, 1)
    colors = heat_colors()[(fine * 255).round().astype(np.uint8)]
    alpha = (opacity * fine)[..., None]
    inside = frame[top:bottom, left:right]
    blended[top:bottom, left:right] = (inside + alpha * (colors - inside.astype(np.float32)) + 0.5).astype(np.uint8)
    return blended


def draw_boxes(frame: np.ndarray, boxes: Iterable[Box], font: ImageFont.FreeTypeFont) -> np.ndarray:
    """Draw boxes, given in pixels of ``frame`` `(H, W, 3)`, with label and score; returns a new frame."""
    image = Image.fromarray(frame)
    draw = ImageDraw.Draw(image)
    line = max(2, round(max(image.size) / 320))
    pad = max(2, round(font.size / 4))
    for box in boxes:
        # A box that leaves the picture keeps its visible part, closed at the border.
        x0, y0 = min(max(box.x0, 0), image.width - 3), min(max(box.y0, 0), image.height - 3)
        x1, y1 = max(min(box.x1, image.width) - 1, x0 + 2), max(min(box.y1, image.height) - 1, y0 + 2)
        draw.rectangle((x0, y0, x1, y1), outline=(0, 0, 0), width=line + 2)
        draw.rectangle((x0 + 1, y0 + 1, x1 - 1, y1 - 1), outline=BOX_COLOR, width=line)
        text = fit_text(f"{box.label} {box.score:.2f}", font, image.width - 2 * pad)
        text_width, text_height = font.getlength(text) + 2 * pad, font.size + 2 * pad
        x = min(x0, image.width - text_width)
        y = y0 - text_height if y0 >= text_height else y0
        draw.rectangle((x, y, x + text_width, y + text_height), fill=(0, 0, 0))
        draw.text((x + pad, y + text_height / 2), text, fill=BOX_COLOR, font=font, anchor="lm")
    return np.asarray(image)


class OverlayRenderer:
    """Draws one frame after another of one explained video.

    Attributes:
        width, height: size in pixels of the frames it returns, both even as video codecs want it.
        picture_height: the part of ``height`` above the strip.
    """

    def __init__(self, explanation: Explanation, options: OverlayOptions | None = None) -> None:
        self.explanation, self.options = explanation, options or OverlayOptions()
        enlarged = max(1.0, self.options.min_width / explanation.width)
        scale = min(enlarged, self.options.max_side / max(explanation.width, explanation.height))
        self.width = max(2, 2 * round(explanation.width * scale / 2))
        self.picture_height = max(2, 2 * round(explanation.height * scale / 2))
        self.strip = ImportanceStrip(explanation, self.width)
        self.height = self.picture_height + self.strip.height
        self._scale = (self.width / explanation.width, self.picture_height / explanation.height)

    def __call__(self, frame: np.ndarray, time: float) -> np.ndarray:
        """Frame `(H, W, 3)` uint8 of the original size at ``time`` seconds -> ``(height, width, 3)`` uint8."""
        explanation, (sx, sy) = self.explanation, self._scale
        if frame.shape[:2] != (self.picture_height, self.width):
            resized = Image.fromarray(frame).resize((self.width, self.picture_height), Image.Resampling.BILINEAR)
            frame = np.asarray(resized)
        x0, y0, x1, y1 = explanation.mask_area
        area = (x0 * sx, y0 * sy, x1 * sx, y1 * sy)
        picture = blend_mask(frame, relative_mask_at(explanation, time), area, self.options.opacity)
        boxes = [
            Box(box.time, box.x0 * sx, box.y0 * sy, box.x1 * sx, box.y1 * sy, box.label, box.score)
            for box in boxes_at(explanation, time)
        ]
        if boxes:
            picture = draw_boxes(picture, boxes, self.strip.font)
        return np.concatenate([picture, self.strip.at(time)])


def check_size(explanation: Explanation, path: str | Path, frame: np.ndarray) -> None:
    """Raise ValueError when a frame `(H, W, 3)` is not of the explanation's size, so nothing would fit on it."""
    height, width = frame.shape[:2]
    if (height, width) != (explanation.height, explanation.width):
        raise ValueError(
            f"{path} has frames of {width} x {height} pixels, but its explanation was made for "
            f"{explanation.width} x {explanation.height}; explain this file again or name the right video"
        )


def write_overlay(
    explanation: Explanation,
    path_out: str | Path,
    video_path: str | Path | None = None,
    options: OverlayOptions | None = None,
) -> None:
    """Write an mp4 of the explained video with attention, boxes and importance drawn in, at the same timing.

    One frame is in memory at a time, however long the video is.

    Args:
        explanation: what to draw.
        path_out: the file to write.
        video_path: the video, when it is no longer at ``explanation.path``.
        options: how to draw it.

    Raises:
        VideoError: the video cannot be read or the output cannot be written.
        ValueError: the video does not have the size the explanation was made for.
    """
    path, renderer = str(video_path or explanation.path), OverlayRenderer(explanation, options)
    with VideoWriter(path_out) as writer:
        for time, frame in iter_frames(path):
            check_size(explanation, path, frame)
            writer.write(renderer(frame, time), time)
