"""Walls whose truth is planted: every stored clip is one constant, so every cell can be read back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, ks_2samp

from whenwhere.datasets.mosaic import ClipBank, Layout, MosaicDataset, MosaicOptions, compose, draw_layout, truth

CLASSES, PER_CLASS, FILLERS, LENGTH = 3, 4, 20, 9
OPTIONS = MosaicOptions(rows=2, columns=3, frames=24, action_frames=(6, 12))
CELLS = OPTIONS.rows * OPTIONS.columns


def bank(first: int, clips: int, labels: torch.Tensor, length: int = LENGTH) -> ClipBank:
    """Clip n holds the value ``first + n`` in its first channel, and the frame's index in its second."""
    features = torch.zeros(clips, length, 2, 2, 3)
    features[:, :, 0] = torch.arange(first, first + clips).view(-1, 1, 1, 1)
    features[:, :, 1] = torch.arange(length).view(1, -1, 1, 1)
    return ClipBank(features, labels)


TARGETS = bank(1, CLASSES * PER_CLASS, torch.arange(CLASSES).repeat(PER_CLASS))
BACKGROUND = bank(1000, FILLERS, torch.zeros(FILLERS, dtype=torch.long))


def dataset(options: MosaicOptions = OPTIONS, seed: int = 0, length: int = 40) -> MosaicDataset:
    return MosaicDataset(TARGETS, BACKGROUND, CLASSES, options, length, seed)


def layouts(count: int, options: MosaicOptions = OPTIONS) -> list[Layout]:
    walls = dataset(options)
    return [walls.layout(index) for index in range(count)]


def cell_values(wall: torch.Tensor, row: int, column: int) -> torch.Tensor:
    """Clip values `(T,)` of one cell, which must be constant over it."""
    cell = wall[:, 0, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3].flatten(1)
    assert torch.equal(cell.amin(1), cell.amax(1))
    return cell[:, 0]


def test_the_action_is_exactly_where_and_when_the_truth_says() -> None:
    walls = dataset(replace(OPTIONS, absent=0.3))
    for index in range(len(walls)):
        sample = walls[index]
        features, active, boxes = sample["features"], sample["active"], sample["boxes"]
        assert features.shape == (24, 2, 2 * 2, 3 * 3)
        is_target = features[:, 0] < 1000
        assert torch.equal(is_target.flatten(1).any(1), active)
        assert torch.equal(boxes.isnan().all(1), ~active)
        assert (sample["label"] == CLASSES) == (not active.any())
        for time in active.nonzero().flatten():
            x0, y0, x1, y1 = (boxes[time] * torch.tensor([9, 4, 9, 4])).round().int().tolist()
            inside = torch.zeros(4, 9, dtype=torch.bool)
            inside[y0:y1, x0:x1] = True
            assert torch.equal(is_target[time], inside)
            clips = features[time, 0][inside].unique()
            assert len(clips) == 1
            assert TARGETS.labels[int(clips) - 1] == sample["label"]


def test_the_same_seed_epoch_and_index_give_the_same_mosaic() -> None:
    first, again = dataset(), dataset()
    for _ in range(3):  # whatever else was drawn from the same data set before
        first[7]
    for name, value in first[5].items():
        torch.testing.assert_close(again[5][name], value, equal_nan=True)
    others = [dataset()[6], dataset(seed=1)[5]]
    again.epoch = 1
    others.append(again[5])
    for other in others:
        assert not torch.equal(other["features"], first[5]["features"])


def test_every_cell_switches_to_another_clip_and_back_once() -> None:
    walls = dataset(replace(OPTIONS, absent=0.5))
    for index in range(len(walls)):
        layout, wall = walls.layout(index), walls[index]["features"]
        for cell, (_, run, start) in enumerate(layout.insert):
            values = cell_values(wall, *divmod(cell, OPTIONS.columns))
            switched = values != layout.background[cell][0] + 1000
            assert switched.nonzero().flatten().tolist() == list(range(start, start + len(run)))
            assert len(values[switched].unique()) == 1
        clips = [clip for clip, _ in layout.background]
        clips += [clip for cell, (clip, _, _) in enumerate(layout.insert) if cell != layout.cell]
        assert len(set(clips)) == len(clips)


def test_cuts_tell_neither_cell_nor_class() -> None:
    """Intervals of the target's cell and of the others have one distribution, for every class."""
    durations: dict[bool, list[int]] = {True: [], False: []}
    middles: dict[bool, list[float]] = {True: [], False: []}
    by_class: dict[int, list[int]] = {label: [] for label in range(CLASSES)}
    for layout in layouts(1500):
        for cell, (_, run, start) in enumerate(layout.insert):
            durations[cell == layout.cell].append(len(run))
            middles[cell == layout.cell].append(start + len(run) / 2)
        by_class[layout.label].append(len(layout.insert[layout.cell][1]))  # type: ignore[index]
    assert ks_2samp(durations[True], durations[False]).pvalue > 1e-3
    assert ks_2samp(middles[True], middles[False]).pvalue > 1e-3
    assert ks_2samp(by_class[0], by_class[1] + by_class[2]).pvalue > 1e-3


def test_intervals_cells_and_classes_are_uniform() -> None:
    drawn = layouts(2000)
    intervals = [layout.interval for layout in drawn]
    lengths = Counter(end - start for start, end in intervals)  # type: ignore[misc]
    assert sorted(lengths) == list(range(6, 13))
    counts = [
        lengths.values(),
        Counter(layout.cell for layout in drawn).values(),
        Counter(layout.label for layout in drawn).values(),
        Counter(layout.insert[layout.cell][0] for layout in drawn).values(),  # type: ignore[index]
    ]
    assert [len(values) for values in counts] == [7, CELLS, CLASSES, CLASSES * PER_CLASS]
    for values in counts:
        assert chisquare(list(values)).pvalue > 1e-3


def test_starts_are_uniform_for_every_length() -> None:
    for duration in (6, 24):
        starts = Counter(
            start
            for layout in layouts(300, replace(OPTIONS, action_frames=(duration, duration)))
            for _, _, start in layout.insert
        )
        assert sorted(starts) == list(range(24 - duration + 1))
        assert chisquare(list(starts.values())).pvalue > 1e-3 if len(starts) > 1 else True


@pytest.mark.parametrize("absent", [0.0, 0.25, 1.0])
def test_share_of_absent_actions(absent: float) -> None:
    drawn = layouts(1000, replace(OPTIONS, absent=absent))
    share = sum(layout.cell is None for layout in drawn) / len(drawn)
    assert abs(share - absent) <= 4 * (absent * (1 - absent) / 1000) ** 0.5
    for layout in drawn:
        assert (layout.label == CLASSES) == (layout.cell is None) == (layout.interval is None)


def test_clips_play_forward_and_at_least_half_of_them() -> None:
    for layout in layouts(200):
        for _, frames in layout.background:
            assert len(frames) == OPTIONS.frames
            assert (np.diff(frames) >= 0).all()
            assert 0 <= frames[0] <= frames[-1] < LENGTH
            assert frames[-1] - frames[0] + 1 >= LENGTH // 2
        for _, run, _ in layout.insert:
            assert (np.diff(run) >= 0).all()
            assert 0 <= run[0] <= run[-1] < LENGTH


def test_banks_may_hold_different_numbers_of_frames() -> None:
    short = bank(1, CLASSES, torch.arange(CLASSES), length=5)
    walls = MosaicDataset(short, BACKGROUND, CLASSES, OPTIONS, 30, 0)
    for index in range(30):
        sample = walls[index]
        target = sample["features"][:, 0] < 1000
        assert sample["features"][:, 1][target].max() < 5


def test_few_fillers_are_used_more_than_once() -> None:
    rng = np.random.default_rng(0)
    two = ClipBank(BACKGROUND.features[:2], BACKGROUND.labels[:2])
    layout = draw_layout(rng, TARGETS, two, CLASSES, OPTIONS)
    assert {clip for clip, _ in layout.background} <= {0, 1}
    assert len(layout.background) == CELLS


def test_compose_places_cells_row_by_row() -> None:
    still = np.zeros(2, dtype=int)
    layout = Layout([(clip, still) for clip in range(6)], [(7, still[:1], 1)] * 6, cell=4, label=0)
    wall = compose(layout, TARGETS.features.__getitem__, BACKGROUND.features.__getitem__, rows=2, columns=3)
    assert wall.shape == (2, 2, 4, 9)
    assert [float(cell_values(wall, *divmod(cell, 3))[0]) for cell in range(6)] == [1000.0 + i for i in range(6)]
    second = [float(cell_values(wall, *divmod(cell, 3))[1]) for cell in range(6)]
    assert second == [1007.0, 1007.0, 1007.0, 1007.0, 8.0, 1007.0]
    active, boxes = truth(layout, 2, 3, 2)
    assert active.tolist() == [False, True]
    torch.testing.assert_close(boxes[1], torch.tensor([1 / 3, 1 / 2, 2 / 3, 1.0]))
    assert boxes[0].isnan().all()


def test_drawing_leaves_the_banks_alone() -> None:
    before = BACKGROUND.features.clone()
    walls = dataset()
    walls[0]["features"].zero_()
    assert torch.equal(BACKGROUND.features, before)


def test_mistakes_are_named() -> None:
    empty = ClipBank(TARGETS.features[:0], TARGETS.labels[:0])
    wide = ClipBank(torch.zeros(5, LENGTH, 7, 2, 3), torch.zeros(5, dtype=torch.long))
    cases = [
        ((empty, BACKGROUND, CLASSES, OPTIONS), "needs target clips, found none"),
        ((TARGETS, empty, CLASSES, OPTIONS), "needs filler clips, found none"),
        ((TARGETS, wide, CLASSES, OPTIONS), r"same \(C, h, w\), got \(2, 2, 3\) and \(7, 2, 3\)"),
        ((TARGETS, BACKGROUND, CLASSES + 2, OPTIONS), r"found none for classes \[3, 4\]"),
        ((TARGETS, BACKGROUND, CLASSES, replace(OPTIONS, frames=11)), "longest <= frames = 11, got"),
        ((TARGETS, BACKGROUND, CLASSES, replace(OPTIONS, action_frames=(0, 3))), "1 <= shortest"),
        ((TARGETS, BACKGROUND, CLASSES, replace(OPTIONS, action_frames=(5, 3))), "shortest <= longest"),
    ]
    for (targets, fillers, classes, options), message in cases:
        with pytest.raises(ValueError, match=message):
            MosaicDataset(targets, fillers, classes, options, 4, 0)


def test_training_mosaics_may_have_another_grid_and_longer_actions() -> None:
    options = MosaicOptions(rows=2, columns=3, action_frames=(2, 3), train_action_frames=(4, 5), train_grid=(1, 2))
    training = options.for_training()
    assert (training.rows, training.columns, training.action_frames) == (1, 2, (4, 5))
    assert MosaicOptions().for_training() == MosaicOptions()


def test_a_mirrored_cell_stays_in_its_place() -> None:
    ramp = torch.arange(3.0).expand(2, 1, 2, 3)
    still = np.zeros(2, dtype=int)
    sides = (False, True, False, True)
    layout = Layout([(0, still)] * 4, [(0, still[:1], 1)] * 4, cell=2, label=0, mirrored=sides)
    wall = compose(layout, {0: ramp}.__getitem__, {0: ramp}.__getitem__, rows=2, columns=2)
    assert wall[0, 0, 0].tolist() == wall[1, 0, 3].tolist() == [0, 1, 2, 2, 1, 0]


def test_half_of_the_cells_are_mirrored_when_asked_for() -> None:
    assert all(layout.mirrored == () for layout in layouts(5))
    share = np.mean([layout.mirrored for layout in layouts(200, replace(OPTIONS, mirror=True))])
    assert 0.45 < share < 0.55
