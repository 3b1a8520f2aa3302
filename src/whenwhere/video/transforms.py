"""From displayed pixels (or flow fields) to what a model takes, and from the model's grid back to displayed pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from whenwhere._torchvision import ensure_torchvision

if TYPE_CHECKING:
    from torchvision.transforms import InterpolationMode

Area = tuple[float, float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """How frames become the input of a model; the mean and deviation are those of ImageNet.

    Below, C is 3, or for stacks of flow fields (x1 y1 x2 y2 ...) as many as ``mean`` has.

    Attributes:
        size: the input is ``size`` x ``size`` pixels.
        resize: "squash" resizes the whole frame to the input, as the paper does; "crop" resizes the short side
            to ``resize_short`` and cuts out the centre.
        resize_short: pixels; None is ``size / 0.875``, the usual 256 for 224. For "crop" only.
        frame_size: ``(width, height)`` to which whole frames are brought before anything else, as in data sets that
            are kept as pictures of one size (Moments in Time: 340 x 256); None: left as they are.
        mean, std: of each channel in [0, 1], `(C,)`.
        interpolation: "bilinear" or "bicubic", both antialiased.
        flow: channels are displacements; in a mirrored stack those in x change their sign. Their values are kept when
            the picture is resized, as in TSN: they stay in pixels of the stored field.
    """

    size: int = 224
    resize: str = "squash"
    resize_short: int | None = None
    frame_size: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    flow: bool = False

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"Preprocessing.size must be at least 1, got {self.size}")
        if self.resize not in ("squash", "crop"):
            raise ValueError(f"Preprocessing.resize must be squash or crop, got {self.resize!r}")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"Preprocessing.interpolation must be bilinear or bicubic, got {self.interpolation!r}")
        if self.resize_short is not None and self.resize_short < self.size:
            raise ValueError(f"Preprocessing.resize_short {self.resize_short} is smaller than size {self.size}")
        if self.frame_size is not None and (len(self.frame_size) != 2 or min(self.frame_size) < 1):
            raise ValueError(f"Preprocessing.frame_size must be (width, height) or None, got {self.frame_size}")
        fits = self.channels % 2 == 0 if self.flow else self.channels == 3
        if not fits or len(self.mean) != len(self.std) or min(self.std) <= 0:
            expected = "an even number of" if self.flow else "3"
            raise ValueError(
                f"Preprocessing needs mean and std > 0 of {expected} channels, got {self.mean} and {self.std}"
            )

    @property
    def channels(self) -> int:
        """C."""
        return len(self.mean)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """`(T, C, H, W)` uint8 -> `(T, C, size, size)` float32, normalised."""
        return self.normalise(self.fitted(pixels))

    def fitted(self, pixels: torch.Tensor) -> torch.Tensor:
        """`(T, C, H, W)` uint8 -> `(T, C, size, size)` uint8: what is seen, before it is normalised."""
        pixels = self.one_size(pixels)
        height, width = pixels.shape[-2:]
        resized_width, resized_height, left, top = self._placement(width, height)
        pixels = resize(pixels, (resized_height, resized_width), self.interpolation)
        return pixels[..., top : top + self.size, left : left + self.size]

    def crops(self, pixels: torch.Tensor, count: int) -> torch.Tensor:
        """`(T, C, H, W)` uint8 -> `(count, T, C, size, size)`, normalised; the first is what calling this gives.

        Of frames resized by their short side: 3 are the centre and both ends of the long side, 10 the centre, the four
        corners, and their mirror images (Krizhevsky et al. 2012; TSN).

        Raises:
            ValueError: another count, or several crops of whole frames that are squashed.
        """
        if count == 1:
            return self(pixels)[None]
        if count not in (3, 10):
            raise ValueError(f"crops must be 1, 3 or 10, got {count}")
        if self.resize == "squash":
            raise ValueError("several crops need resize: crop; squash shows the whole frame already")
        pixels = self.one_size(pixels)
        height, width = pixels.shape[-2:]
        resized_width, resized_height, left, top = self._placement(width, height)
        right, bottom = resized_width - self.size, resized_height - self.size
        pixels = resize(pixels, (resized_height, resized_width), self.interpolation)
        corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)]
        ends = [(0, top), (right, top)] if width >= height else [(left, 0), (left, bottom)]
        places = [(left, top), *(ends if count == 3 else corners)]
        cut = torch.stack([pixels[..., y : y + self.size, x : x + self.size] for x, y in places])
        return self.normalise(cut if count == 3 else torch.cat([cut, self.mirror(cut)]))

    def mirror(self, pixels: torch.Tensor) -> torch.Tensor:
        """`(..., C, H, W)` uint8 with left and right exchanged; of flow, x is negated: 255 - x, so 128 becomes 127."""
        mirrored = pixels.flip(-1)
        if self.flow:
            mirrored[..., 0::2, :, :] = 255 - mirrored[..., 0::2, :, :]
        return mirrored

    def one_size(self, pixels: torch.Tensor) -> torch.Tensor:
        """`(..., H, W)` brought to ``frame_size``, if there is one."""
        if self.frame_size is None:
            return pixels
        return resize(pixels, (self.frame_size[1], self.frame_size[0]), self.interpolation)

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """`(..., C, H, W)` uint8 -> float32 with the mean taken off, divided by the deviation."""
        mean = torch.tensor(self.mean).view(-1, 1, 1)
        std = torch.tensor(self.std).view(-1, 1, 1)
        return (pixels.float() / 255 - mean) / std

    def area(self, width: int, height: int) -> Area:
        """``(x0, y0, x1, y1)`` pixels of a ``width`` x ``height`` frame that the input covers."""
        resized_width, resized_height, left, top = self._placement(*(self.frame_size or (width, height)))
        x, y = width / resized_width, height / resized_height
        return left * x, top * y, (left + self.size) * x, (top + self.size) * y

    def _placement(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Size of the resized frame, and the left top corner of the input in it."""
        if self.resize == "squash":
            return self.size, self.size, 0, 0
        short = self.resize_short or round(self.size / 0.875)
        # Rounded as torchvision does, so that inputs equal those its published weights were measured with.
        resized_width, resized_height = short * width // min(width, height), short * height // min(width, height)
        return (
            resized_width,
            resized_height,
            round((resized_width - self.size) / 2),
            round((resized_height - self.size) / 2),
        )


@dataclass(frozen=True)
class Augmentation:
    """The usual ImageNet training recipe, one draw per clip: all its frames are cut, mirrored and tinted alike.

    Attributes:
        scale: range of the share of the frame's area that is cut out.
        ratio: range of the cut's width / height, drawn on a log scale.
        flip: probability of mirroring left and right.
        jitter: brightness, contrast and saturation are each multiplied by a factor from [1 - jitter, 1 + jitter].
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"Augmentation.scale must be a range within (0, 1], got {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"Augmentation.ratio must be a range of positive numbers, got {self.ratio}")
        if not (0 <= self.flip <= 1 and 0 <= self.jitter < 1):
            raise ValueError(f"Augmentation needs flip in [0, 1] and jitter in [0, 1), got {self.flip}, {self.jitter}")

    def __call__(self, pixels: torch.Tensor, preprocessing: Preprocessing, generator: torch.Generator) -> torch.Tensor:
        """`(T, C, H, W)` uint8 -> `(T, C, size, size)` float32, normalised; all chance comes from ``generator``.

        Raises:
            ValueError: jitter of flow, which has no colours.
        """
        if preprocessing.flow and self.jitter > 0:
            raise ValueError(
                f"Augmentation.jitter is of colours, which flow has none of; set it to 0, not {self.jitter}"
            )
        pixels = preprocessing.one_size(pixels)
        height, width = pixels.shape[-2:]
        left, top, cut_width, cut_height = self.draw_cut(width, height, generator)
        pixels = pixels[..., top : top + cut_height, left : left + cut_width]
        pixels = resize(pixels, (preprocessing.size, preprocessing.size), preprocessing.interpolation)
        if _uniform(0, 1, generator) < self.flip:
            pixels = preprocessing.mirror(pixels)
        if self.jitter > 0:
            pixels = self._tint(pixels, generator)
        return preprocessing.normalise(pixels)

    def draw_cut(self, width: int, height: int, generator: torch.Generator) -> tuple[int, int, int, int]:
        """Left, top, width and height of a random cut; the whole frame where ten draws do not fit into it."""
        for _ in range(10):
            area = width * height * _uniform(*self.scale, generator)
            ratio = math.exp(_uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), generator))
            cut_width, cut_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < cut_width <= width and 0 < cut_height <= height:
                left = int(torch.randint(width - cut_width + 1, (), generator=generator))
                top = int(torch.randint(height - cut_height + 1, (), generator=generator))
                return left, top, cut_width, cut_height
        return 0, 0, width, height

    def _tint(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        ensure_torchvision()
        from torchvision.transforms.v2 import functional

        adjustments = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
        for which in torch.randperm(3, generator=generator).tolist():
            pixels = adjustments[which](pixels, _uniform(1 - self.jitter, 1 + self.jitter, generator))
        return pixels


def resize(pixels: torch.Tensor, size: tuple[int, int], interpolation: str = "bilinear") -> torch.Tensor:
    """`(..., H, W)` -> `(..., *size)` with antialiasing, keeping the type; size is (height, width)."""
    ensure_torchvision()
    from torchvision.transforms.v2 import functional

    return functional.resize(pixels, list(size), interpolation=_mode(interpolation), antialias=True)


def grid_to_pixels(boxes: np.ndarray, grid: tuple[int, int], area: Area) -> np.ndarray:
    """Boxes `(N, 4)` (x0, y0, x1, y1) in cells of a feature grid -> pixels of the original frame.

    Cell (row, column) spans [column, column + 1] x [row, row + 1], so the box of the whole grid is
    ``(0, 0, W, H)`` and maps to ``area``.

    Args:
        grid: (H, W) cells.
        area: pixels of the original frame that the grid covers, from `Preprocessing.area`.
    """
    offset, step = _affine(grid, area)
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4) * step + offset


def pixels_to_grid(boxes: np.ndarray, grid: tuple[int, int], area: Area) -> np.ndarray:
    """The inverse of `grid_to_pixels`; boxes that reach out of the area reach out of the grid."""
    offset, step = _affine(grid, area)
    return (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) - offset) / step


def _affine(grid: tuple[int, int], area: Area) -> tuple[np.ndarray, np.ndarray]:
    x0, y0, x1, y1 = area
    step_x, step_y = (x1 - x0) / grid[1], (y1 - y0) / grid[0]
    return np.array([x0, y0, x0, y0]), np.array([step_x, step_y, step_x, step_y])


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def _mode(interpolation: str) -> InterpolationMode:
    from torchvision.transforms import InterpolationMode

    return InterpolationMode(interpolation)
