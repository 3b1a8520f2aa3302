"""One small picture of a video: its most important frame, with the attention over it."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from whenwhere.files import whole_file
from whenwhere.rendering.filmstrip import pictures_at
from whenwhere.rendering.overlay import blend_mask, relative_mask_at
from whenwhere.structures import Explanation

WIDTH = 160  # pixels


def jpeg_bytes(picture: np.ndarray, width: int = WIDTH, quality: int = 75) -> bytes:
    """A picture `(H, W, 3)` uint8, made to fit a square of ``width`` pixels, as JPEG."""
    image = Image.fromarray(picture)
    image.thumbnail((width, width))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def jpeg_address(jpeg: bytes) -> str:
    """JPEG bytes as a ``data:`` address."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def thumbnail(explanation: Explanation, video_path: str | Path | None = None, width: int = WIDTH) -> bytes:
    """The frame with the greatest importance, attention over it, as JPEG.

    Args:
        explanation: of the video.
        video_path: the video, when it is no longer at ``explanation.path``.
        width: of the square it fits, pixels.

    Raises:
        VideoError: the video cannot be read.
        ValueError: it does not have the size the explanation was made for.
    """
    time = explanation.times[int(np.argmax(explanation.importance))]
    (picture,) = pictures_at(explanation, [time], video_path)
    return jpeg_bytes(blend_mask(picture, relative_mask_at(explanation, time), explanation.mask_area), width)


def write_thumbnail(explanation: Explanation, path: str | Path, video_path: str | Path | None = None) -> None:
    """Write :func:`thumbnail` to a file that appears whole or not at all."""
    with whole_file(Path(path)) as partial:
        partial.write_bytes(thumbnail(explanation, video_path))
