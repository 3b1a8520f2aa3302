"""The rendered clips: truth against pixels, no shortcut in A, order and nothing but order in B."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import gaussian_filter
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from whenwhere.datasets.glyphs import DISTRACTORS, TARGETS
from whenwhere.datasets.manifest import read_clips
from whenwhere.datasets.scenes import DIRECTIONS, SyntheticOptions, draw_scene, sample_scene
from whenwhere.datasets.synthetic import SyntheticDataset, render_clip, reverse, write_dataset
from whenwhere.video import iter_frames

A, B = SyntheticOptions(tier="A"), SyntheticOptions(tier="B")


def classify(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """Accuracy of a linear classifier."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=300))
    return float(model.fit(train, train_labels).score(test, test_labels))


def chance_bound(clips: int, classes: int) -> float:
    """Accuracy that guessing exceeds once in ten thousand runs."""
    return float(stats.binom.ppf(1 - 1e-4, clips, 1 / classes)) / clips


def crop(image: np.ndarray, center: np.ndarray, half: int) -> np.ndarray:
    """Square of ``2 * half`` pixels about ``center`` of `(..., H, W)`, edges repeated."""
    x, y = np.rint(center).astype(int)
    padded = np.pad(image, [(0, 0)] * (image.ndim - 2) + [(half, half)] * 2, mode="edge")
    return padded[..., y : y + 2 * half, x : x + 2 * half]


# --- both tiers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [A, B], ids="AB")
def test_same_index_same_clip(options: SyntheticOptions) -> None:
    first, second = render_clip(options, 5, "val"), render_clip(options, 5, "val")
    for name in ("pixels", "boxes", "active"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.label, first.interval) == (second.label, second.interval)


@pytest.mark.parametrize("options", [A, B], ids="AB")
def test_clips_do_not_depend_on_how_many_there_are(options: SyntheticOptions) -> None:
    few = render_clip(replace(options, clips=6), 5, "test")
    np.testing.assert_array_equal(few.pixels, render_clip(options, 5, "test").pixels)


@pytest.mark.parametrize("options", [A, B], ids="AB")
def test_splits_seeds_and_indices_share_no_frame(options: SyntheticOptions) -> None:
    seen = set()
    clips = [render_clip(options, index, split) for split in ("train", "val", "test") for index in range(8)]
    clips += [render_clip(replace(options, seed=1), index, "train") for index in range(8)]
    for clip in clips:
        seen |= {frame.tobytes() for frame in clip.pixels}
    assert len(seen) == 32 * options.frames


@pytest.mark.parametrize("options", [A, B], ids="AB")
def test_truth_is_where_and_when_the_pixels_change_without_the_target(options: SyntheticOptions) -> None:
    for index in range(8):
        clip, scene = render_clip(options, index, "train"), sample_scene(options, index, "train")
        target = scene.tracks[scene.target]
        assert clip.interval == scene.interval
        np.testing.assert_array_equal(np.flatnonzero(clip.active), np.arange(*clip.interval))
        np.testing.assert_array_equal(np.isnan(clip.boxes).any(1), ~clip.active)
        alone = replace(scene, tracks=(target,), target=0)
        absent = replace(alone, tracks=(replace(target, visible=np.zeros_like(target.visible)),))
        drawn, empty = (draw_scene(s, np.random.default_rng(0), noise=0.0) for s in (alone, absent))
        changed = (drawn != empty).any(axis=1)
        if options.tier == "A":
            np.testing.assert_array_equal(changed.any(axis=(1, 2)), clip.active)
        for t in np.flatnonzero(clip.active):
            rows, columns = np.nonzero(changed[t])
            found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            np.testing.assert_allclose(clip.boxes[t], found, atol=1.5)


@pytest.mark.parametrize("options", [A, B], ids="AB")
def test_intervals_are_uniform_in_start_and_length(options: SyntheticOptions) -> None:
    intervals = np.array([sample_scene(options, index, "train").interval for index in range(400)])
    lengths = intervals[:, 1] - intervals[:, 0]
    shortest, longest = options.interval_lengths
    assert (lengths.min(), lengths.max()) == (shortest, longest)
    assert intervals.min() >= 0
    assert intervals.max() <= options.frames
    assert stats.chisquare(np.bincount(lengths)[shortest:]).pvalue > 0.01
    spread = np.random.default_rng(0).uniform(size=400)  # makes the discrete start continuous
    share = (intervals[:, 0] + spread) / (options.frames - lengths + 1)
    assert stats.kstest(share, "uniform").pvalue > 0.01


def test_classes_are_balanced() -> None:
    labels = [sample_scene(A, index, "train").label for index in range(60)]
    np.testing.assert_array_equal(np.bincount(labels), 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"tier": "C"}, "tier"), ({"frames": 8}, "frames"), ({"size": 20}, "size"), ({"seed": -1}, "seed")],
)
def test_bad_options_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(A, **changes)
    with pytest.raises(IndexError):
        render_clip(A, A.clips, "train")
    with pytest.raises(ValueError, match="split"):
        render_clip(A, 0, "validation")


# --- tier A -----------------------------------------------------------------------------------------------------


def test_a_positions_are_uniform_and_trivial_answers_fail() -> None:
    places, center_iou, all_frames = [], [], []
    centre = np.array([16, 16, 48, 48])
    for index in range(400):
        scene = sample_scene(A, index, "train")
        boxes = scene.tracks[scene.target].boxes[slice(*scene.interval)]
        side = boxes[:, 2:] - boxes[:, :2]
        places.append(((boxes[:, :2] - 1) / (A.size - 2 - side))[0])
        common = np.clip(np.minimum(boxes[:, 2:], centre[2:]) - np.maximum(boxes[:, :2], centre[:2]), 0, None).prod(1)
        center_iou.append((common / (side.prod(1) + 32 * 32 - common)).mean())
        all_frames.append(len(boxes) / A.frames)
    for axis in range(2):
        assert stats.kstest(np.array(places)[:, axis], "uniform").pvalue > 0.01
    assert np.mean(center_iou) < 0.15
    assert 0.33 < np.mean(all_frames) < 0.43


def test_a_distractors_look_and_come_and_go_as_targets_do() -> None:
    scenes = [sample_scene(A, index, "train") for index in range(200)]
    targets = [scene.tracks[0] for scene in scenes]
    others = [track for scene in scenes for track in scene.tracks[1:]]
    assert {track.glyph for track in targets} == set(TARGETS)
    assert {track.glyph for track in others} == set(DISTRACTORS)
    for measure in (
        lambda track: track.size,
        lambda track: track.angle,
        lambda track: track.color[0],
        lambda track: np.argmax(track.visible),
        lambda track: track.visible.sum(),
        lambda track: np.hypot(*(track.centers[1] - track.centers[0])),
    ):
        a, b = ([float(measure(track)) for track in tracks] for tracks in (targets, others))
        assert stats.ks_2samp(a, b).pvalue > 0.01


def test_a_glyphs_shown_together_do_not_touch() -> None:
    for index in range(40):
        tracks = sample_scene(A, index, "train").tracks
        for i, first in enumerate(tracks):
            for second in tracks[:i]:
                low = np.maximum(first.boxes[:, :2], second.boxes[:, :2])
                high = np.minimum(first.boxes[:, 2:], second.boxes[:, 2:])
                assert not ((low < high).all(1) & first.visible & second.visible).any()


def outline(clip_pixels: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Gradient histograms of the 20 x 20 pixels about ``center`` of a frame `(3, H, W)`."""
    patch = crop(clip_pixels.astype(float), center, 10).max(axis=0)
    return hog(patch, orientations=9, pixels_per_cell=(4, 4), cells_per_block=(2, 2))


@pytest.mark.slow
def test_a_crop_of_one_frame_of_the_target_tells_the_class() -> None:
    features, labels = [], []
    for index in range(500):
        clip = render_clip(A, index, "train")
        t = sum(clip.interval) // 2
        features.append(outline(clip.pixels[t], (clip.boxes[t, :2] + clip.boxes[t, 2:]) / 2))
        labels.append(clip.label)
    x, y = np.array(features), np.array(labels)
    assert classify(x[:350], y[:350], x[350:], y[350:]) > 0.95


# --- tier B -----------------------------------------------------------------------------------------------------


def test_b_target_sweeps_at_constant_velocity_inside_the_interval() -> None:
    for index in range(40):
        clip = render_clip(B, index, "train")
        steps = np.diff(clip.boxes[clip.active], axis=0)
        np.testing.assert_allclose(steps, steps[:1].repeat(len(steps), 0), atol=1e-4)
        dx, dy = DIRECTIONS[B.classes[clip.label]]
        speed = steps[0, 0] * dx + steps[0, 1] * dy
        np.testing.assert_allclose(steps[0], np.tile([dx * speed, dy * speed], 2), atol=1e-4)
        assert B.speed[0] - 1e-3 <= speed <= B.speed[1] + 1e-3
        assert len(steps) >= 5
        assert np.nanmin(clip.boxes) >= 0
        assert np.nanmax(clip.boxes) <= B.size


def test_b_reversed_clip_is_the_opposite_clip_with_the_same_frames() -> None:
    clip = render_clip(B, 0, "train")
    back = reverse(clip)
    assert B.classes[clip.label] == "right"
    assert B.classes[back.label] == "left"
    assert sorted(f.tobytes() for f in back.pixels) == sorted(f.tobytes() for f in clip.pixels)
    steps = np.diff(back.boxes[slice(*back.interval)], axis=0)
    assert (steps[:, 0] < -B.speed[0] + 1e-3).all()
    np.testing.assert_array_equal(np.flatnonzero(back.active), np.arange(*back.interval))
    again = reverse(back)
    assert (again.label, again.interval) == (clip.label, clip.interval)
    np.testing.assert_array_equal(again.pixels, clip.pixels)
    np.testing.assert_array_equal(again.boxes, clip.boxes)


@pytest.mark.parametrize("label", range(4))
def test_b_every_glyph_visits_one_cross_of_points_whatever_the_class(label: int) -> None:
    """Per track: as many points on a row and on a column as the interval is long, evenly spaced."""
    for index in range(label, 60, 4):
        scene = sample_scene(B, index, "train")
        length = scene.interval[1] - scene.interval[0]
        for track in scene.tracks:
            for axis in range(2):
                lines, counts = np.unique(np.round(track.centers[:, 1 - axis], 6), return_counts=True)
                candidates = [np.round(track.centers[:, 1 - axis], 6) == line for line in lines[counts >= length]]
                stops = [np.unique(np.round(track.centers[on, axis], 6)) for on in candidates]
                assert any(len(stop) == length and np.ptp(np.diff(stop)) < 1e-4 for stop in stops)


def test_b_jumps_outside_the_interval_have_no_direction() -> None:
    right = [sample_scene(B, index, "train") for index in range(0, 600, 4)]
    signs = []
    for scene in right:
        for track in scene.tracks:
            inside = np.arange(*scene.interval) if track is scene.tracks[scene.target] else []
            kept = [t for t in range(B.frames - 1) if t not in inside and t + 1 not in inside]
            signs += list(np.sign(np.diff(track.centers[:, 0])[kept]))
    rising, falling = signs.count(1.0), signs.count(-1.0)
    assert stats.binomtest(rising, rising + falling).pvalue > 0.01


def motion(pixels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """How well each step of the way fits a move of three pixels to each of the four sides, mean over the steps.

    Every step is looked at about the middle between the two centres, so only the pixels know the direction.
    """
    gray = [gaussian_filter(frame.astype(float).max(0), 1.0) for frame in pixels]
    fits = []
    for t in range(len(gray) - 1):
        middle = (centers[t] + centers[t + 1]) / 2
        for move in DIRECTIONS.values():
            before = crop(gray[t], middle - 1.6 * np.array(move), 7)
            after = crop(gray[t + 1], middle + 1.6 * np.array(move), 7)
            fits.append(np.corrcoef(before.ravel(), after.ravel())[0, 1])
    return np.mean(np.reshape(fits, (-1, 4)), axis=0)


@pytest.mark.slow
def test_b_true_crop_in_order_tells_the_class_and_shuffled_tells_nothing() -> None:
    ordered, shuffled, labels = [], [], []
    rng = np.random.default_rng(0)
    for index in range(400):
        scene, clip = sample_scene(B, index, "train"), render_clip(B, index, "train")
        centers, window = scene.tracks[scene.target].centers, slice(*clip.interval)
        order = rng.permutation(B.frames)
        ordered.append(motion(clip.pixels[window], centers[window]))
        shuffled.append(motion(clip.pixels[order][window], centers[order][window]))
        labels.append(clip.label)
    y = np.array(labels)
    assert classify(np.array(ordered)[:260], y[:260], np.array(ordered)[260:], y[260:]) > 0.95
    assert classify(np.array(shuffled)[:260], y[:260], np.array(shuffled)[260:], y[260:]) < chance_bound(140, 4)


@pytest.mark.slow
def test_b_frames_as_a_set_and_single_frames_tell_nothing() -> None:
    """With the true place of the target given: a model that must find it first can only do worse."""
    sets, singles, labels = [], [], []
    rng = np.random.default_rng(1)
    for index in range(600):
        scene, clip = sample_scene(B, index, "train"), render_clip(B, index, "train")
        centers = scene.tracks[scene.target].centers
        small = clip.pixels.reshape(B.frames, 3, 16, 4, 16, 4).mean(axis=(1, 3, 5)).reshape(B.frames, -1)
        spread = [centers.std(0), centers.mean(0), centers.min(0), centers.max(0), np.cov(centers.T).ravel()]
        sets.append(np.concatenate([small.mean(0), small.max(0), *spread]))
        t = int(rng.integers(*clip.interval))
        singles.append(np.concatenate([small[t], centers[t], centers[t] ** 2]))
        labels.append(clip.label)
    y = np.array(labels)
    for features in (np.array(sets), np.array(singles)):
        assert classify(features[:400], y[:400], features[400:], y[400:]) < chance_bound(200, 4)


# --- as a data set and as files -----------------------------------------------------------------------------------


def test_dataset_gives_the_clips_as_tensors() -> None:
    dataset = SyntheticDataset(replace(B, clips=6), "val")
    batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=6)))
    assert len(dataset) == 6
    assert dataset.classes == ("right", "left", "up", "down")
    assert batch["pixels"].shape == (6, 16, 3, 64, 64)
    assert batch["pixels"].dtype == torch.uint8
    assert batch["label"].tolist() == [0, 1, 2, 3, 0, 1]
    np.testing.assert_array_equal(batch["pixels"][3].numpy(), dataset.clip(3).pixels)
    assert (batch["interval"][:, 1] - batch["interval"][:, 0] == batch["active"].sum(1)).all()
    assert sum(1 for _ in dataset) == 6


def test_written_files_hold_the_clips_and_the_manifest_the_truth(tmp_path: Path) -> None:
    manifest = write_dataset(replace(A, clips=3), tmp_path / "clips", {"train": 3, "test": 1}, scale=2)
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "split", "group", "segments", "boxes"]
    assert json.loads(rows[0]["boxes"])[0].keys() == {"time", "x0", "y0", "x1", "y1", "label"}
    clips = read_clips(tmp_path / "clips")
    assert [clip.split for clip in clips] == ["train"] * 3 + ["test"]
    assert len({clip.group for clip in clips}) == 4
    for clip, index in zip(clips, (0, 1, 2, 0), strict=True):
        truth = render_clip(A, index, clip.split or "")
        assert Path(clip.path).parent.name == clip.label == A.classes[truth.label]
        times, frames = zip(*iter_frames(clip.path))
        np.testing.assert_allclose(times, np.arange(16) / 8, atol=1e-3)
        small = np.stack(frames).reshape(16, 64, 2, 64, 2, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2)
        assert np.abs(small - truth.pixels).mean() < 8
        assert (clip.segments[0].start, clip.segments[0].end) == tuple(frame / 8 for frame in truth.interval)
        assert [box.time for box in clip.boxes] == [t / 8 for t in np.flatnonzero(truth.active)]
        np.testing.assert_allclose([box.xyxy for box in clip.boxes], truth.boxes[truth.active] * 2, rtol=1e-5)
    assert not list((tmp_path / "clips").rglob("*.partial"))
