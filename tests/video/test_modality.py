from __future__ import annotations

from pathlib import Path

import pytest
import torch
from moving import write_moving

from whenwhere.structures import Clip
from whenwhere.video import (
    Augmentation,
    DynamicImageOptions,
    InputReader,
    Preprocessing,
    Uniform,
    VideoError,
    read_frames,
)

FLOW = Preprocessing(size=32, resize="crop", mean=(0.5,) * 10, std=(0.226,) * 10, flow=True)


def test_a_reader_reads_what_its_modality_says(tmp_path: Path) -> None:
    path = str(write_moving(tmp_path / "moving.mp4", count=4))
    clip = Clip(path, flow="somewhere.flow")
    assert [InputReader(name).channels for name in ("rgb", "flow", "dynamic")] == [3, 10, 3]
    assert [InputReader(name).file(clip) for name in ("rgb", "flow", "dynamic")] == [path, "somewhere.flow", path]
    assert torch.equal(InputReader()(path, Uniform(2)).pixels, read_frames(path, Uniform(2)).pixels)
    with pytest.raises(VideoError, match=r"moving\.mp4: has no optical flow.*`whenwhere flow`"):
        InputReader("flow").file(Clip(path))


def test_what_is_read_is_part_of_the_description() -> None:
    readers = [
        InputReader(),
        InputReader("flow"),
        InputReader("dynamic"),
        InputReader("dynamic", DynamicImageOptions(window=20)),
        InputReader("dynamic", DynamicImageOptions(pooling="harmonic")),
    ]
    assert len({reader.describe("uniform 8") for reader in readers}) == 5
    assert readers[0].describe("uniform 8") == "uniform 8", "stores made before there were others stay valid"


def test_ten_crops_of_flow_negate_x_where_they_mirror() -> None:
    stack = torch.full((2, 10, 40, 60), 128, dtype=torch.uint8)
    stack[:, 0::2], stack[:, 1::2] = 200, 90
    crops = FLOW.crops(stack, 10)
    assert crops.shape == (10, 2, 10, 32, 32)
    levels = ((crops * 0.226 + 0.5) * 255).round()
    assert levels[:5, :, 0::2].unique().tolist() == [200]
    assert levels[5:, :, 0::2].unique().tolist() == [55]
    assert levels[:, :, 1::2].unique().tolist() == [90]


@pytest.mark.parametrize("flip, level", [(0.0, 200), (1.0, 55)])
def test_augmentation_of_flow_negates_x_where_it_mirrors(flip: float, level: int) -> None:
    stack = torch.full((2, 10, 40, 60), 200, dtype=torch.uint8)
    augmented = Augmentation(flip=flip)(stack, FLOW, torch.Generator().manual_seed(0))
    assert ((augmented[:, 0::2] * 0.226 + 0.5) * 255).round().unique().tolist() == [level]
    assert ((augmented[:, 1::2] * 0.226 + 0.5) * 255).round().unique().tolist() == [200]
    with pytest.raises(ValueError, match="jitter is of colours"):
        Augmentation(jitter=0.2)(stack, FLOW, torch.Generator())


def test_pictures_are_mirrored_as_they_are() -> None:
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Preprocessing().mirror(pixels), pixels.flip(-1))


@pytest.mark.parametrize(
    "values", [{"mean": (0.5,) * 10}, {"mean": (0.5,) * 3, "flow": True}, {"mean": (0.5,) * 10, "flow": True}]
)
def test_channels_that_do_not_fit_are_errors(values: dict) -> None:
    with pytest.raises(ValueError, match="Preprocessing needs mean and std"):
        Preprocessing(**values)
