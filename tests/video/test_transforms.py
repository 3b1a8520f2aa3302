from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from whenwhere._torchvision import ensure_torchvision
from whenwhere.video import Augmentation, Preprocessing, grid_to_pixels, pixels_to_grid, resize

SIZES = [(320, 240), (240, 320), (224, 224), (333, 97), (64, 48), (640, 360)]
PREPROCESSINGS = [
    Preprocessing(size=112),
    Preprocessing(size=112, resize="crop"),
    Preprocessing(size=112, resize="crop", resize_short=112),
    Preprocessing(size=112, interpolation="bicubic"),
    Preprocessing(size=112, frame_size=(340, 256)),
    Preprocessing(size=112, resize="crop", frame_size=(340, 256)),
]
EXACT = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(height: int, width: int, frames: int = 1) -> torch.Tensor:
    """(frames, 3, height, width): red rises to the right, green downwards, blue is flat."""
    y, x = torch.meshgrid(torch.linspace(0, 255, height), torch.linspace(0, 255, width), indexing="ij")
    return torch.stack([x, y, torch.full_like(x, 100)]).to(torch.uint8).expand(frames, 3, height, width)


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
@pytest.mark.parametrize("width, height", SIZES)
def test_the_input_shows_its_area(preprocessing: Preprocessing, width: int, height: int) -> None:
    """A bright box of the frame turns up where the area says it is: the planted truth of what the model sees."""
    x0, y0, x1, y1 = preprocessing.area(width, height)
    box = (0.6 * x0 + 0.4 * x1, 0.7 * y0 + 0.3 * y1, 0.3 * x0 + 0.7 * x1, 0.4 * y0 + 0.6 * y1)
    left, top, right, bottom = (round(value) for value in box)
    pixels = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    pixels[..., top:bottom, left:right] = 255
    seen = preprocessing.normalise(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))
    mask = (preprocessing(pixels) - seen).mean(dim=(0, 1)) > 0.5 / 0.226
    rows, columns = torch.nonzero(mask.any(1)).flatten(), torch.nonzero(mask.any(0)).flatten()
    found = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], dtype=float)
    back = grid_to_pixels(found, (preprocessing.size, preprocessing.size), (x0, y0, x1, y1))[0]
    step = max((x1 - x0), (y1 - y0)) / preprocessing.size
    np.testing.assert_allclose(back, [left, top, right, bottom], atol=0.75 * step + 0.01)


@pytest.mark.parametrize("width, height", SIZES)
def test_areas(width: int, height: int) -> None:
    assert Preprocessing(size=112).area(width, height) == pytest.approx((0, 0, width, height))
    x0, y0, x1, y1 = Preprocessing(size=112, resize="crop").area(width, height)
    short = min(width, height)
    assert x1 - x0 == pytest.approx(0.875 * short, rel=0.01)
    assert y1 - y0 == pytest.approx(0.875 * short, rel=0.01)
    # Centred to within the one pixel by which an odd margin cannot be halved.
    pixel = short / 128
    assert (x0 + x1) / 2 == pytest.approx(width / 2, abs=0.51 * pixel)
    assert (y0 + y1) / 2 == pytest.approx(height / 2, abs=0.51 * pixel)


@pytest.mark.parametrize("width, height", SIZES)
def test_crop_agrees_with_the_reference_pipeline(width: int, height: int) -> None:
    ensure_torchvision()
    from torchvision.transforms import v2

    pixels = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=seeded())
    ours = Preprocessing(size=112, resize="crop", resize_short=128)
    resized = v2.functional.resize(pixels, [128], antialias=True)
    expected = v2.functional.normalize(
        v2.functional.to_dtype(v2.functional.center_crop(resized, [112, 112]), torch.float32, scale=True),
        list(ours.mean),
        list(ours.std),
    )
    torch.testing.assert_close(ours(pixels), expected)


def test_normalisation() -> None:
    grey = torch.full((1, 3, 10, 10), 51, dtype=torch.uint8)
    result = Preprocessing(size=4, mean=(0.2, 0.1, 0.0), std=(1.0, 0.5, 0.1))(grey)
    assert result.dtype == torch.float32
    assert result.shape == (1, 3, 4, 4)
    torch.testing.assert_close(result[0, :, 0, 0], torch.tensor([0.0, 0.2, 2.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
@pytest.mark.parametrize("width, height", SIZES)
def test_grid_and_pixels_are_inverses(preprocessing: Preprocessing, width: int, height: int) -> None:
    area = preprocessing.area(width, height)
    boxes = np.random.default_rng(0).uniform(-50, 400, (20, 4))
    for grid in [(7, 7), (14, 9)]:
        np.testing.assert_allclose(grid_to_pixels(pixels_to_grid(boxes, grid, area), grid, area), boxes)
        whole = np.array([[0, 0, grid[1], grid[0]]])
        np.testing.assert_allclose(grid_to_pixels(whole, grid, area), [area], atol=1e-9)
        assert pixels_to_grid(np.zeros((0, 4)), grid, area).shape == (0, 4)


def test_grid_cells_by_hand() -> None:
    """A 320 x 240 frame squashed onto 4 columns and 3 rows: cells of 80 x 80 pixels."""
    boxes = grid_to_pixels(np.array([[1, 2, 2, 3]]), (3, 4), Preprocessing().area(320, 240))
    np.testing.assert_allclose(boxes, [[80, 160, 160, 240]])
    # Its centre crop at 224 of 256 covers 210 x 210 pixels, 15 from the top, to within one resized pixel.
    area = Preprocessing(resize="crop").area(320, 240)
    np.testing.assert_allclose(area, (55, 15, 265, 225), atol=0.94)
    np.testing.assert_allclose(grid_to_pixels(np.array([[0, 0, 1, 1]]), (7, 7), area), [[55, 15, 85, 45]], atol=0.94)


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(jitter=0.4), Augmentation(scale=(1, 1))])
def test_all_frames_are_augmented_alike(augmentation: Augmentation) -> None:
    clip = torch.randint(0, 256, (1, 3, 60, 80), dtype=torch.uint8, generator=seeded(9)).expand(5, 3, 60, 80)
    for seed in range(5):
        result = augmentation(clip, Preprocessing(size=32), seeded(seed))
        assert result.shape == (5, 3, 32, 32)
        assert result.dtype == torch.float32
        for frame in result[1:]:
            torch.testing.assert_close(frame, result[0], rtol=0, atol=0)


def test_augmentation_is_random_by_its_generator_only() -> None:
    clip, preprocessing, augmentation = smooth(60, 80, 2), Preprocessing(size=32), Augmentation(jitter=0.4)
    torch.manual_seed(1)
    first = augmentation(clip, preprocessing, seeded(3))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(augmentation(clip, preprocessing, seeded(3)), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(augmentation(clip, preprocessing, seeded(4)), first)


def test_cuts_keep_to_their_ranges_and_reach_everywhere() -> None:
    augmentation, generator = Augmentation(scale=(0.2, 0.6)), seeded()
    cuts = np.array([augmentation.draw_cut(400, 300, generator) for _ in range(2000)], dtype=float)
    left, top, width, height = cuts.T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (left + width <= 400).all()
    assert (top + height <= 300).all()
    share, ratio = width * height / (400 * 300), width / height
    assert share.min() == pytest.approx(0.2, abs=0.01)
    assert share.max() == pytest.approx(0.6, abs=0.01)
    assert 0.74 < ratio.min() < 0.78
    assert 1.28 < ratio.max() < 1.35
    assert left.min() == 0
    assert (left + width).max() == 400
    assert Augmentation(scale=(1, 1), ratio=(4, 4)).draw_cut(400, 300, generator) == (0, 0, 400, 300)


def test_flip_mirrors_left_and_right() -> None:
    clip, preprocessing = smooth(64, 64), Preprocessing(size=64, **EXACT)
    whole = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
    kept = Augmentation(flip=0, **whole)(clip, preprocessing, seeded())
    flipped = Augmentation(flip=1, **whole)(clip, preprocessing, seeded())
    torch.testing.assert_close(kept, clip / 255)
    torch.testing.assert_close(flipped, kept.flip(-1))
    results = [Augmentation(**whole)(clip, preprocessing, seeded(seed)) for seed in range(200)]
    assert 70 < sum(torch.equal(result, flipped) for result in results) < 130


def test_jitter_changes_colour_not_place() -> None:
    """The flat blue channel stays flat and red still rises to the right, whatever the factors."""
    preprocessing = Preprocessing(size=64, **EXACT)
    augmentation = Augmentation(scale=(1, 1), ratio=(1, 1), flip=0, jitter=0.4)
    brightness = set()
    for seed in range(10):
        result = augmentation(smooth(64, 64), preprocessing, seeded(seed))[0]
        brightness.add(round(float(result.mean()), 3))
        assert (result[0].mean(0).diff() >= -1e-3).all()
        assert result.min() >= 0
        assert result.max() <= 1
    assert len(brightness) == 10


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"resize": "stretch"},
        {"interpolation": "cubic"},
        {"resize": "crop", "resize_short": 100},
        {"std": (1, 1, 0)},
        {"mean": (0, 0)},
    ],
)
def test_impossible_preprocessing(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Preprocessing(**options)


@pytest.mark.parametrize("options", [{"scale": (0, 1)}, {"ratio": (2, 1)}, {"flip": 2}, {"jitter": 1.0}])
def test_impossible_augmentation(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Augmentation(**options)


@pytest.mark.parametrize("resize_how", ["squash", "crop"])
def test_frames_are_brought_to_one_size_first(resize_how: str) -> None:
    clip = smooth(120, 90, 2)
    alone = Preprocessing(size=64, resize=resize_how)
    ours = replace(alone, frame_size=(85, 64))
    assert torch.equal(ours(clip), alone(resize(clip, (64, 85))))
    assert torch.equal(Augmentation()(clip, ours, seeded(1)), Augmentation()(resize(clip, (64, 85)), alone, seeded(1)))


def test_the_area_is_in_pixels_of_the_original_whatever_the_size_in_between() -> None:
    assert Preprocessing(size=64, frame_size=(340, 256)).area(720, 1280) == pytest.approx((0, 0, 720, 1280))
    x0, y0, x1, y1 = Preprocessing(size=256, resize="crop", resize_short=256, frame_size=(340, 256)).area(680, 1024)
    assert (x0, y0, x1, y1) == pytest.approx((84, 0, 596, 1024))


def test_an_impossible_frame_size_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"frame_size must be \(width, height\)"):
        Preprocessing(frame_size=(0, 256))
