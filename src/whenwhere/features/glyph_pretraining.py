"""Pretrain the small backbone that ships with the package, on single rendered frames.

What ImageNet is to real footage, this is to the synthetic clips: a network that already knows small stroke
shapes, so that attention finds features worth attending to from the first step. It learns to name the shape in
each cell of its feature map; its shapes are ``glyphs.PRETRAINING``, none of which occurs in a synthetic clip, and
it sees frames one by one, so it knows nothing of the classes and nothing of time.

``python -m whenwhere.features.glyph_pretraining --out weights.safetensors --steps 1500``
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from whenwhere._torchvision import ensure_torchvision
from whenwhere.datasets.glyphs import PALETTE, PRETRAINING, draw_glyph, finish_frames, glyph_box, textured_background
from whenwhere.files import whole_file
from whenwhere.video.transforms import Preprocessing

ARCHITECTURE = "resnet18d"
ARGUMENTS: dict[str, Any] = {"stem_width": 16, "channels": [32, 96, 96, 96]}
OUT_INDEX = 2
STRIDE = 8
MEAN, STD = (0.33, 0.33, 0.33), (0.17, 0.17, 0.17)
BACKGROUND = len(PRETRAINING)
IGNORE = -100


@dataclass(frozen=True)
class PretrainOptions:
    """How to pretrain.

    Attributes:
        out: safetensors file to write, at half precision.
        steps: optimiser steps; the default takes about ten minutes on one core.
        batch: frames per step.
        rate: peak learning rate of AdamW, in one cycle.
        weight_decay: of AdamW.
        seed: of the weights and the frames.
        size: height and width of a frame in pixels, a multiple of 8.
        glyphs: most glyphs in a frame.
        glyph_size: smallest and largest side of a glyph in pixels.
        rotation: largest rotation either way in degrees.
        validation: frames on which the reported accuracy is measured.
    """

    out: str = "glyph_resnet.safetensors"
    steps: int = 1500
    batch: int = 64
    rate: float = 3e-3
    weight_decay: float = 0.02
    seed: int = 0
    size: int = 64
    glyphs: int = 6
    glyph_size: tuple[float, float] = (9.0, 15.0)
    rotation: float = 30.0
    validation: int = 512

    def __post_init__(self) -> None:
        if self.size % STRIDE or self.steps < 1 or self.batch < 2:
            raise ValueError(
                f"PretrainOptions needs size a multiple of {STRIDE}, steps >= 1 and batch >= 2, "
                f"got size={self.size}, steps={self.steps}, batch={self.batch}"
            )


def render_frame(options: PretrainOptions, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One frame `(3, size, size)` uint8 with up to ``glyphs`` shapes, and the shape in each cell `(size/8, size/8)`.

    A cell is named after a glyph whose centre is within 5 pixels of its own, so every glyph names one cell at
    least; it is ``BACKGROUND`` when no glyph touches it and ``IGNORE`` between the two.
    """
    frame = textured_background(rng, options.size)[None]
    grid = (np.arange(options.size // STRIDE) + 0.5) * STRIDE
    cells = np.stack(np.meshgrid(grid, grid), axis=-1)
    labels = np.full(cells.shape[:2], BACKGROUND)
    boxes: list[np.ndarray] = []
    for _ in range(int(rng.integers(1, options.glyphs + 1))):
        shape = int(rng.integers(len(PRETRAINING)))
        size, angle = rng.uniform(*options.glyph_size), rng.uniform(-options.rotation, options.rotation)
        extent = glyph_box(PRETRAINING[shape], size, angle)
        center = rng.uniform(1 - extent[:2], options.size - 1 - extent[2:])
        box = np.tile(center, 2) + extent
        if any((box[:2] < other[2:] + 1).all() and (other[:2] < box[2:] + 1).all() for other in boxes):
            continue
        boxes.append(box)
        draw_glyph(frame, PRETRAINING[shape], center[None], size, angle, PALETTE[rng.integers(len(PALETTE))])
        touched = ((cells + STRIDE / 2 > box[:2]) & (cells - STRIDE / 2 < box[2:])).all(-1)
        named = (np.abs(cells - center) <= 5).all(-1)
        labels[touched & (labels == BACKGROUND)] = IGNORE
        labels[named] = shape
    return finish_frames(frame, rng)[0], labels


def render_batch(options: PretrainOptions, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """``count`` frames: `(N, 3, size, size)` uint8 and `(N, size/8, size/8)` int64."""
    pixels, labels = zip(*(render_frame(options, rng) for _ in range(count)))
    return torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(labels))


def _normalised(pixels: Tensor, size: int) -> Tensor:
    """uint8 `(N, 3, size, size)` to what the network takes, by the same code that will feed it later."""
    return Preprocessing(size=size, mean=MEAN, std=STD).normalise(pixels).contiguous(memory_format=torch.channels_last)


def build() -> Any:
    """The backbone with random weights: a timm ResNet cut off at stride 8, 64 x 64 pixels to `(96, 8, 8)`."""
    ensure_torchvision()
    import timm

    return timm.create_model(ARCHITECTURE, features_only=True, out_indices=(OUT_INDEX,), **ARGUMENTS)


@torch.no_grad()
def _accuracy(backbone: nn.Module, head: nn.Module, options: PretrainOptions) -> float:
    """Share of the cells with a glyph that are named right, on frames the training never saw."""
    backbone.eval()
    rng = np.random.default_rng([options.seed, 1])
    right = total = 0
    for start in range(0, options.validation, 128):
        pixels, labels = render_batch(options, min(128, options.validation - start), rng)
        guess = head(backbone(_normalised(pixels, options.size))[-1]).argmax(1)
        shown = (labels != IGNORE) & (labels != BACKGROUND)
        right += int((guess[shown] == labels[shown]).sum())
        total += int(shown.sum())
    return right / total


def _save(backbone: nn.Module, options: PretrainOptions, accuracy: float) -> Path:
    out = Path(options.out)
    metadata = {
        "architecture": ARCHITECTURE,
        "arguments": json.dumps(ARGUMENTS),
        "out_index": str(OUT_INDEX),
        "mean": json.dumps(MEAN),
        "std": json.dumps(STD),
        "input_size": str(options.size),
        "seed": str(options.seed),
        "steps": str(options.steps),
        "accuracy": f"{accuracy:.4f}",
        "trained_on": f"single rendered frames, {len(PRETRAINING)} stroke shapes",
    }
    state = {
        name: value.half().contiguous()
        for name, value in backbone.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as partial:
        save_file(state, partial, metadata)
    return out


def pretrain(options: PretrainOptions, log: Callable[[str], None] = print) -> Path:
    """Train and write ``options.out``: fp16 weights, with all that is needed to rebuild the network as metadata.

    Args:
        options: how.
        log: takes a line now and then.

    Returns:
        The file, which appears whole or not at all.
    """
    torch.manual_seed(options.seed)
    rng = np.random.default_rng([options.seed, 0])
    backbone = build().to(memory_format=torch.channels_last)
    head = nn.Conv2d(backbone.feature_info.channels()[-1], len(PRETRAINING) + 1, 1)
    parameters = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=options.rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=options.steps + 1, pct_start=0.15
    )
    # Most cells are empty; weighting them down keeps the shapes, not the ground, in charge of the features.
    importance = torch.ones(len(PRETRAINING) + 1)
    importance[BACKGROUND] = 0.1
    criterion = nn.CrossEntropyLoss(importance, ignore_index=IGNORE, label_smoothing=0.05)
    backbone.train()
    for step in range(1, options.steps + 1):
        pixels, labels = render_batch(options, options.batch, rng)
        loss = criterion(head(backbone(_normalised(pixels, options.size))[-1]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            log(f"step {step} of {options.steps}: loss {loss.item():.3f}")
    accuracy = _accuracy(backbone, head, options)
    log(f"cells with a glyph named right: {accuracy:.3f} of {len(PRETRAINING)} shapes")
    return _save(backbone, options, accuracy)


def main() -> None:
    parser = argparse.ArgumentParser(description="Pretrain the small glyph backbone.")
    for field in fields(PretrainOptions):
        if field.name in ("out", "steps", "batch", "rate", "seed"):
            kind = type(field.default)
            parser.add_argument(f"--{field.name}", type=kind, default=field.default)
    print(pretrain(PretrainOptions(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
