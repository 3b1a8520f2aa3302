from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from whenwhere.localization import LocalizationOptions, mask_boxes, mask_parts

PARTS = LocalizationOptions(rule="parts")
EVERY_RULE = [LocalizationOptions(rule=rule) for rule in ("peak", "parts", "paper", "scripts")]


def rectangles(*corners: tuple[int, int, int, int], frames: int = 3, size: int = 8) -> torch.Tensor:
    masks = torch.zeros(frames, size, size)
    for x0, y0, x1, y1 in corners:
        masks[:, y0:y1, x0:x1] = 1.0
    return masks


def flood(on: np.ndarray) -> Iterator[set[tuple[int, int]]]:
    """4-connected parts of `(H, W)` by plain loops."""
    left = set(zip(*np.nonzero(on), strict=True))
    while left:
        part, edge = set(), {left.pop()}
        while edge:
            part |= edge
            left -= edge
            steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
            edge = {(y + b, x + a) for y, x in edge for b, a in steps if (y + b, x + a) in left}
        yield part


def around(part: set[tuple[int, int]]) -> list[int]:
    rows, columns = zip(*part, strict=True)
    return [min(columns), min(rows), max(columns) + 1, max(rows) + 1]


def test_box_is_the_part_with_the_peak_only() -> None:
    masks = torch.zeros(1, 8, 8)
    masks[0, 1:3, 5:7] = 1.0
    masks[0, 6, 0] = 0.9  # another part, not the strongest
    (box,) = mask_boxes(masks, LocalizationOptions(upsample=1)).tolist()
    assert box == [5, 1, 7, 3]
    (fine,) = mask_boxes(masks).tolist()
    assert fine == [5, 1, 7, 3]


@pytest.mark.parametrize("options", EVERY_RULE, ids=lambda options: options.rule)
def test_mirrored_masks_give_mirrored_boxes(options: LocalizationOptions) -> None:
    masks = torch.rand(20, 6, 6, generator=torch.Generator().manual_seed(1))
    for axis in (-1, -2):
        boxes, mirrored = mask_boxes(masks, options), mask_boxes(masks.flip(axis), options)
        low, high = (0, 2) if axis == -1 else (1, 3)
        expected = boxes.clone()
        expected[:, low], expected[:, high] = 6 - boxes[:, high], 6 - boxes[:, low]
        torch.testing.assert_close(mirrored, expected)


@pytest.mark.parametrize("upsample", [1, 2, 4])
@pytest.mark.parametrize("rule", ["peak", "parts", "paper"])
@pytest.mark.parametrize("box", [(2, 1, 6, 4), (0, 0, 1, 1), (3, 0, 4, 8), (7, 7, 8, 8)])
def test_a_planted_rectangle_is_found_exactly(box: tuple[int, int, int, int], rule: str, upsample: int) -> None:
    options = LocalizationOptions(rule=rule, upsample=upsample)  # type: ignore[arg-type]
    assert mask_boxes(rectangles(box), options).tolist() == [list(box)] * 3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("upsample", [1, 4])
def test_the_part_with_the_peak_agrees_with_plain_loops(seed: int, upsample: int) -> None:
    masks = torch.rand(6, 5, 7, generator=torch.Generator().manual_seed(seed))
    fine = F.interpolate(masks[:, None], scale_factor=upsample, mode="bilinear")[:, 0].numpy()
    boxes = mask_boxes(masks, LocalizationOptions(upsample=upsample)) * upsample
    for mask, box in zip(fine, boxes.tolist(), strict=True):
        peak = np.unravel_index(mask.argmax(), mask.shape)
        (part,) = [part for part in flood(mask >= 0.5 * mask.max()) if peak in part]
        assert box == around(part)


@pytest.mark.parametrize("seed", range(5))
def test_parts_agree_with_plain_loops(seed: int) -> None:
    masks = torch.rand(6, 5, 7, generator=torch.Generator().manual_seed(seed)) ** 2
    parts = mask_parts(masks, replace(PARTS, upsample=1))
    expected = []
    for frame, mask in enumerate(masks.double().numpy()):
        for part in flood(mask >= 0.5 * float(masks.max())):
            x0, y0, x1, y1 = box = around(part)
            inside = mask[y0:y1, x0:x1]
            expected.append((frame, *box, inside.mean() / float(masks.max()) * inside.sum() / mask.sum()))
    found = np.column_stack([parts.frames, parts.boxes, parts.scores])
    np.testing.assert_allclose(sorted(found.tolist()), sorted(expected), rtol=1e-6)
    assert (np.diff(parts.frames) >= 0).all()


def test_two_blobs_are_two_parts_whose_scores_share_the_mass() -> None:
    parts = mask_parts(rectangles((0, 0, 2, 2), (4, 4, 8, 7), frames=2), replace(PARTS, upsample=1))
    assert parts.frames.tolist() == [0, 0, 1, 1]
    assert parts.boxes.tolist() == [[0, 0, 2, 2], [4, 4, 8, 7]] * 2
    assert parts.scores == pytest.approx([4 / 16, 12 / 16] * 2)


def test_a_frame_that_is_dark_for_its_clip_has_no_part() -> None:
    masks = rectangles((2, 2, 5, 5))
    masks[1] *= 0.1
    assert mask_parts(masks, PARTS).frames.tolist() == [0, 2]
    assert mask_boxes(masks, PARTS).tolist() == [[2, 2, 5, 5], [0, 0, 0, 0], [2, 2, 5, 5]]
    assert mask_boxes(masks).tolist() == [[2, 2, 5, 5]] * 3  # the peak rule looks at each frame alone


@pytest.mark.parametrize("options", [PARTS, LocalizationOptions()], ids=lambda options: options.rule)
def test_only_the_masks_shape_counts_not_its_scale(options: LocalizationOptions) -> None:
    masks = torch.rand(6, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mask_boxes(masks, options), mask_boxes(masks / 4, options))
    np.testing.assert_allclose(mask_parts(masks, options).scores, mask_parts(masks / 4, options).scores, rtol=1e-5)


def test_the_papers_box_goes_around_everything_above_one_half_of_the_mask_itself() -> None:
    masks = torch.full((3, 4, 4), 0.2)
    masks[0, 0, 0], masks[0, 2, 3] = 0.6, 0.9  # two parts, one box
    masks[1, 1, 1] = 0.5  # not above
    masks[2] = 0.8
    expected = [[0, 0, 4, 3], [0, 0, 0, 0], [0, 0, 4, 4]]
    assert mask_boxes(masks, LocalizationOptions(rule="paper")).tolist() == expected


def test_the_scripts_box_goes_around_the_largest_part_of_the_normalised_and_resized_mask() -> None:
    """On a 3 x 4 grid a cell is 80 x 80 pixels; between a cell of 1 and one of 0 the cut at 200 / 255 lies before the
    middle: of 80 steps down from 1, the first 17 are above (1 - (k + 0.5) / 80 > 0.784)."""
    masks = torch.full((2, 3, 4), 0.3)
    masks[:, 1:, 2:] = 0.4  # faint, but largest after normalisation
    masks[0, 0, 0] = 0.4
    boxes = mask_boxes(masks, LocalizationOptions(rule="scripts"))
    reach = 17 / 80
    expected = torch.tensor([2.5 - reach, 1.5 - reach, 4, 3])
    torch.testing.assert_close(boxes, torch.stack([expected, expected]), atol=1e-5, rtol=0)


def test_scripts_agree_with_labels_of_scikit_image() -> None:
    measure = pytest.importorskip("skimage.measure")
    masks = torch.rand(6, 7, 7, generator=torch.Generator().manual_seed(0))
    boxes = mask_boxes(masks, LocalizationOptions(rule="scripts"))
    for mask, box in zip(masks, boxes.tolist(), strict=True):
        normalised = (mask - mask.min()) / (mask.max() - mask.min())
        large = F.interpolate(normalised[None, None], size=(240, 320), mode="bilinear")[0, 0].numpy()
        regions = measure.regionprops(measure.label(large > 200 / 255, connectivity=2))
        y0, x0, y1, x1 = max(regions, key=lambda region: region.area).bbox
        assert box == pytest.approx([x0 * 7 / 320, y0 * 7 / 240, x1 * 7 / 320, y1 * 7 / 240], abs=1e-5)


def test_degenerate_masks_have_defined_boxes() -> None:
    dark, flat = torch.zeros(1, 4, 6), torch.full((1, 4, 6), 0.3)
    nothing, everything = [0, 0, 0, 0], [0, 0, 6, 4]
    for mask, rule, box in [
        (dark, "peak", everything),
        (dark, "parts", nothing),
        (dark, "paper", nothing),
        (dark, "scripts", nothing),
        (flat, "peak", everything),
        (flat, "parts", everything),
        (flat, "paper", nothing),
        (flat, "scripts", nothing),
    ]:
        assert mask_boxes(mask, LocalizationOptions(rule=rule)).tolist() == [box], rule  # type: ignore[arg-type]


@pytest.mark.parametrize("options", EVERY_RULE, ids=lambda options: options.rule)
def test_no_masks_give_no_boxes_and_wrong_ones_an_error(options: LocalizationOptions) -> None:
    assert mask_boxes(torch.zeros(0, 4, 4), options).shape == (0, 4)
    with pytest.raises(ValueError, match=r"masks must be \(T, H, W\), got \(4, 4\)"):
        mask_boxes(torch.zeros(4, 4), options)
    masks = torch.zeros(3, 4, 4)
    masks[1, 0] = float("nan")
    with pytest.raises(ValueError, match="masks of 1 of 3 frames hold values that are not finite"):
        mask_boxes(masks, options)


def test_evidence_against_counts_as_none() -> None:
    masks = rectangles((2, 2, 5, 5)) - 3 * rectangles((6, 0, 8, 8))
    parts = mask_parts(masks, replace(PARTS, upsample=1))
    assert parts.boxes.tolist() == [[2, 2, 5, 5]] * 3
    assert parts.scores == pytest.approx(np.ones(3))


def test_many_frames_are_as_few_at_a_time() -> None:
    masks = torch.rand(270, 4, 4, generator=torch.Generator().manual_seed(0))
    for rule in ("peak", "paper", "scripts"):
        options = LocalizationOptions(rule=rule)  # type: ignore[arg-type]
        torch.testing.assert_close(mask_boxes(masks, options)[250:260], mask_boxes(masks[250:260], options))
