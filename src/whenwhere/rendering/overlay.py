"""The video with the answer drawn into it: attention, boxes, and importance over time under the picture.

Pure functions on arrays come first; :func:`write_overlay` streams a file through them. The other
renderings use the same functions, so a picture in the report looks like the same picture in the overlay.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
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


@lru_cache(maxsize=1)
def heat_colors() -> np.ndarray:
    """Colours of attention from low to high, `(256, 3)` uint8: the colour-blind-safe map `inferno`.

    Its near-black start is left out: over a picture it would look like shadow, not like attention.
    """
    colors = (matplotlib.colormaps["inferno"](np.linspace(0.3, 0.97, 256))[:, :3] * 255).round().astype(np.uint8)
    colors.setflags(write=False)
    return colors


def mask_at(explanation: Explanation, time: float) -> np.ndarray:
    """Spatial attention at ``time`` seconds, `(H, W)` in [0, 1], linear between the frames the model looked at."""
    before = max(bisect_right(explanation.times, time) - 1, 0)
    after = min(before + 1, len(explanation.times) - 1)
    gap = explanation.times[after] - explanation.times[before]
    share = min(max((time - explanation.times[before]) / gap, 0.0), 1.0) if gap else 0.0
    return (1 - share) * explanation.masks[before] + share * explanation.masks[after]


def nearest_frame(explanation: Explanation, time: float) -> int:
    """Index of the frame the model looked at nearest to ``time`` seconds, the earlier one of two."""
    after = min(bisect_left(explanation.times, time), len(explanation.times) - 1)
    before = max(after - 1, 0)
    return after if explanation.times[after] - time < time - explanation.times[before] else before


def mask_scale(explanation: Explanation) -> tuple[float, float]:
    """``(low, span)`` so that ``(mask - low) / span`` shows a mask relative to its clip.

    One scale for the whole clip, so a frame the model ignored stays clear. The span is at least a
    tenth of the maximum: a mask that hardly varies must look flat, not be stretched into a pattern.
    """
    low, high = float(explanation.masks.min()), float(explanation.masks.max())
    return low, max(high - low, 0.1 * high, 1e-6)


def relative_mask_at(explanation: Explanation, time: float, scale: tuple[float, float] | None = None) -> np.ndarray:
    """:func:`mask_at` on the ``scale`` of its clip, which is :func:`mask_scale`, `(H, W)` in [0, 1]."""
    low, span = scale or mask_scale(explanation)
    return np.clip((mask_at(explanation, time) - low) / span, 0, 1)


def boxes_at(explanation: Explanation, time: float) -> tuple[Box, ...]:
    """Boxes of the sampled frame nearest to ``time`` seconds, so each is shown until the next frame takes over."""
    frame = nearest_frame(explanation, time)
    return tuple(box for box in explanation.boxes if nearest_frame(explanation, box.time) == frame)


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
    if left >= right or top >= bottom:
        return frame.copy()
    grid = Image.fromarray(np.ascontiguousarray(mask, dtype=np.float32))
    fine = np.asarray(grid.resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC))
    fine = fine[top - y0 : bottom - y0, left - x0 : right - x0]
    share = Image.fromarray((255 * np.clip(fine, 0, 1) + 0.5).astype(np.uint8))
    heat = share.copy()
    heat.putpalette(heat_colors().tobytes())
    blended = Image.fromarray(frame)
    inside = blended.crop((left, top, right, bottom))
    alpha = share.point([round(opacity * level) for level in range(256)])
    blended.paste(Image.composite(heat.convert("RGB"), inside, alpha), (left, top))
    return np.array(blended)


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
        sx, sy = self.width / explanation.width, self.picture_height / explanation.height
        x0, y0, x1, y1 = explanation.mask_area
        self._area = (x0 * sx, y0 * sy, x1 * sx, y1 * sy)
        # Looked up once: a long video has as many frames to draw as it has masks and boxes to look through.
        self._scale = mask_scale(explanation)
        self._boxes: dict[int, list[Box]] = {}
        for box in explanation.boxes:
            scaled = replace(box, x0=box.x0 * sx, y0=box.y0 * sy, x1=box.x1 * sx, y1=box.y1 * sy)
            self._boxes.setdefault(nearest_frame(explanation, box.time), []).append(scaled)

    def __call__(self, frame: np.ndarray, time: float) -> np.ndarray:
        """Frame `(H, W, 3)` uint8 of the original size at ``time`` seconds -> ``(height, width, 3)`` uint8."""
        if frame.shape[:2] != (self.picture_height, self.width):
            resized = Image.fromarray(frame).resize((self.width, self.picture_height), Image.Resampling.BILINEAR)
            frame = np.asarray(resized)
        mask = relative_mask_at(self.explanation, time, self._scale)
        picture = blend_mask(frame, mask, self._area, self.options.opacity)
        boxes = self._boxes.get(nearest_frame(self.explanation, time), [])
        if boxes:
            picture = draw_boxes(picture, boxes, self.strip.font)
        return np.concatenate([picture, self.strip.at(time)])


def check_size(explanation: Explanation, path: str | Path, width: int, height: int) -> None:
    """Raise ValueError when frames are not of the explanation's size, so nothing would fit on them."""
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
    say: Callable[[int], None] | None = None,
) -> None:
    """Write an mp4 of the explained video with attention, boxes and importance drawn in, at the same timing.

    Two frames are in memory at a time, however long the video is.

    Args:
        explanation: what to draw.
        path_out: the file to write.
        video_path: the video, when it is no longer at ``explanation.path``.
        options: how to draw it.
        say: called with the number of frames drawn, after each.

    Raises:
        VideoError: the video cannot be read or the output cannot be written.
        ValueError: the video does not have the size the explanation was made for.
    """
    path, renderer = str(video_path or explanation.path), OverlayRenderer(explanation, options)
    # "veryfast" takes half the time of "medium" and makes no larger files of such pictures. A frame is encoded while
    # the next one is drawn.
    with VideoWriter(path_out, preset="veryfast") as writer, ThreadPoolExecutor(max_workers=1) as encoder:
        encoding: Future[None] | None = None
        for count, (time, frame) in enumerate(iter_frames(path), start=1):
            check_size(explanation, path, frame.shape[1], frame.shape[0])
            drawn = renderer(frame, time)
            if encoding is not None:
                encoding.result()
            encoding = encoder.submit(writer.write, drawn, time)
            if say is not None:
                say(count)
        if encoding is not None:
            encoding.result()
