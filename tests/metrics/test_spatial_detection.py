"""Frame- and video-mAP against plain loops, against torchmetrics, and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from whenwhere.metrics.average_precision import average_precision
from whenwhere.metrics.ranking import mean_average_precision
from whenwhere.metrics.spatial_detection import (
    ACT,
    AVA,
    UCF101_24,
    Boxes,
    DetectionProtocol,
    Tubes,
    rank_boxes,
    rank_tubes,
    tube_iou,
)

PROTOCOLS = pytest.mark.parametrize("protocol", [UCF101_24, ACT, AVA], ids=lambda protocol: protocol.name[:3])
THRESHOLDS = (0.3, 0.5, 0.7)
LongTube = tuple[int, int, float, dict[int, list[float]]]  # video, label, score, box by frame


def random_tubes(random: np.random.Generator, count: int, near: list[LongTube] | None = None) -> list[LongTube]:
    """Tubes in 3 videos and 2 classes; some close to one of ``near``, some with gaps or of a single frame."""
    tubes = []
    for _ in range(count):
        video, label = (int(value) for value in random.integers(0, (3, 2)))
        start, length = int(random.integers(0, 12)), int(random.integers(1, 10))
        first = random.uniform(0, 60, 2)
        box = np.concatenate([first, first + random.uniform(20, 60, 2)])
        if near and random.random() < 0.8:
            video, label, _, boxes = near[random.integers(len(near))]
            start, length, box = min(boxes), max(boxes) - min(boxes) + 1, np.array(next(iter(boxes.values())))
            start = max(0, start + int(random.integers(-1, 2)))
        frames = [frame for frame in range(start, start + length) if frame == start or random.random() < 0.9]
        boxes = {frame: np.round(box + random.normal(0, 4, 4), 1).tolist() for frame in frames}
        tubes.append((video, label, float(np.round(random.random(), 1)), boxes))  # rounded: ties in score
    return tubes


def table(tubes: list[LongTube]) -> Tubes:
    rows = [(index, frame, box) for index, tube in enumerate(tubes) for frame, box in tube[3].items()]
    rows = [rows[index] for index in np.random.default_rng(0).permutation(len(rows))]  # in no order
    return Tubes(
        np.array([tube[0] for tube in tubes], dtype=int),
        np.array([tube[1] for tube in tubes], dtype=int),
        np.array([tube[2] for tube in tubes], dtype=float),
        np.array([row[0] for row in rows], dtype=int),
        np.array([row[1] for row in rows], dtype=int),
        np.array([row[2] for row in rows], dtype=float).reshape(-1, 4),
    )


def loop_box_iou(a: list[float], b: list[float], extra: int) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + extra, 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + extra, 0)
    areas = [(box[2] - box[0] + extra) * (box[3] - box[1] + extra) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def loop_tube_iou(a: dict[int, list[float]], b: dict[int, list[float]], extra: int) -> float:
    shared = sorted(set(a) & set(b))
    if not shared:
        return 0.0
    spatial = sum(loop_box_iou(a[frame], b[frame], extra) for frame in shared) / len(shared)
    return spatial * len(shared) / len(set(a) | set(b))


def loop_average_precision(found, wanted, overlap, threshold: float, protocol: DetectionProtocol) -> float:
    """``found`` ``(score, group, thing)`` and ``wanted`` ``(group, thing)`` of one class, one after the other."""
    taken, correct = set(), []
    found = sorted(found, key=lambda item: -item[0])
    for _, group, thing in found:
        best, chosen = -1.0, None
        for index, (other, truth) in enumerate(wanted):
            if other == group and not (protocol.matching == "greedy" and index in taken):
                value = overlap(thing, truth)
                if value > best:
                    best, chosen = value, index
        correct.append(best >= threshold and chosen not in taken)
        if correct[-1]:
            taken.add(chosen)
    scores = np.array([item[0] for item in found])
    return average_precision(scores, np.array(correct, dtype=bool), len(wanted), protocol.rule)


@PROTOCOLS
def test_frame_and_video_map_equal_plain_loops(protocol: DetectionProtocol) -> None:
    extra, compared = int(protocol.inclusive), 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        truth = random_tubes(random, int(random.integers(1, 8)))
        found = random_tubes(random, int(random.integers(0, 16)), near=truth)
        wanted, detected = table(truth), table(found)
        by_tube = mean_average_precision(rank_tubes(detected, wanted, 3, THRESHOLDS, protocol), protocol.rule)
        # The boxes are in no order, so of equal scores another may come first: each gets a score of its own.
        boxes = replace(detected.boxes(), scores=random.permutation(len(detected.members)) / 7)
        by_frame = mean_average_precision(rank_boxes(boxes, wanted.boxes(), 3, THRESHOLDS, protocol), protocol.rule)
        true_boxes = wanted.boxes()
        for label in sorted({tube[1] for tube in truth}):
            for column, threshold in enumerate(THRESHOLDS):
                expected = loop_average_precision(
                    [(score, video, tube) for video, own, score, tube in found if own == label],
                    [(video, tube) for video, own, _, tube in truth if own == label],
                    lambda a, b: loop_tube_iou(a, b, extra),
                    threshold,
                    protocol,
                )
                assert by_tube.per_class[label][column] == pytest.approx(expected, abs=1e-12), (seed, label)
                rows = zip(boxes.scores, boxes.labels, boxes.videos, boxes.frames, boxes.corners.tolist())
                true_rows = zip(true_boxes.labels, true_boxes.videos, true_boxes.frames, true_boxes.corners.tolist())
                expected = loop_average_precision(
                    [(score, (video, frame), box) for score, own, video, frame, box in rows if own == label],
                    [((video, frame), box) for own, video, frame, box in true_rows if own == label],
                    lambda a, b: loop_box_iou(a, b, extra),
                    threshold,
                    protocol,
                )
                assert by_frame.per_class[label][column] == pytest.approx(expected, abs=1e-12), (seed, label)
                compared += 0 < expected < 1
    assert compared > 50


def crowded_case(random: np.random.Generator) -> tuple[Boxes, Boxes]:
    """One case of 3 pictures and 2 classes, with truths that overlap one another and up to 6 of a class."""
    count = int(random.integers(1, 13))
    label = np.arange(count) % 2
    corner = random.uniform(0, 30, (count, 2))
    corners = np.concatenate([corner, corner + random.uniform(20, 50, (count, 2))], axis=1)
    truth = Boxes(np.zeros(count, int), random.integers(0, 3, count), label, corners, np.ones(count))
    source = random.integers(0, count, 2 * count)
    moved = corners[source] + random.normal(0, 6, (2 * count, 4))
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)  # COCO passes over boxes of negative area
    frames = np.where(random.random(2 * count) < 0.9, truth.frames[source], 0)
    scores = random.permutation(2 * count) / (2 * count)
    return Boxes(np.zeros(2 * count, int), frames, label[source], moved, scores), truth


def test_greedy_matching_equals_torchmetrics_on_200_cases() -> None:
    """COCO averages the highest precision at or beyond each recall threshold. With P positives that curve is constant
    between multiples of 1/P; thresholds in the middle of 1/60ths (60: every P up to 6 divides it) therefore sample each
    step equally often, never on its edge, and their mean is the area. All cases are classes of the same 3 pictures.
    """
    pytest.importorskip("pycocotools")
    from whenwhere._torchvision import ensure_torchvision

    ensure_torchvision()
    detection = pytest.importorskip("torchmetrics.detection")
    cases = [crowded_case(np.random.default_rng(seed)) for seed in range(200)]
    metric = detection.MeanAveragePrecision(
        iou_thresholds=[0.5], rec_thresholds=((np.arange(60) + 0.5) / 60).tolist(), extended_summary=True
    )
    metric.warn_on_many_detections = False  # the limit is 100 of one class, and there are at most 12

    def pictures(tables: list[Boxes]) -> list[dict[str, torch.Tensor]]:
        labels = np.concatenate([2 * case + one.labels for case, one in enumerate(tables)])
        frames, corners, scores = (
            np.concatenate([getattr(one, name) for one in tables]) for name in ("frames", "corners", "scores")
        )
        return [
            {
                "boxes": torch.tensor(corners[frames == frame], dtype=torch.float32),
                "labels": torch.tensor(labels[frames == frame]),
                "scores": torch.tensor(scores[frames == frame], dtype=torch.float32),
            }
            for frame in range(3)
        ]

    metric.update(pictures([found for found, _ in cases]), pictures([truth for _, truth in cases]))
    result = metric.compute()
    # Precision by threshold, recall, class, size of the object and limit of detections; all sizes, the largest limit.
    theirs = dict(zip(result["classes"].tolist(), result["precision"][0, :, :, 0, -1].mean(0).tolist()))
    ours, argmax = {}, {}
    for case, (found, truth) in enumerate(cases):
        for label, ranked in rank_boxes(found, truth, 1, (0.5,), UCF101_24).items():
            ours[2 * case + label] = mean_average_precision({0: ranked}).mean[0]
        for label, ranked in rank_boxes(found, truth, 1, (0.5,), AVA).items():
            argmax[2 * case + label] = mean_average_precision({0: ranked}).mean[0]
    assert theirs.keys() == ours.keys()
    np.testing.assert_allclose([ours[key] for key in theirs], list(theirs.values()), atol=1e-6)
    differing = sum(abs(argmax[key] - ours[key]) > 1e-6 for key in ours)
    assert len(ours) > 380
    assert differing > 20  # the form of matching shows in these cases


def one_tube(frames: range | list[int], box: list[float], score: float = 1.0, video: int = 0) -> LongTube:
    return video, 0, score, dict.fromkeys(frames, box)


def overlap(a: LongTube, b: LongTube, inclusive: bool = False) -> float:
    return float(tube_iou(table([a]), table([b]), np.zeros(1, int), np.zeros(1, int), inclusive)[0])


def test_tube_iou_is_temporal_iou_times_mean_spatial_iou() -> None:
    box, half = [0.0, 0, 10, 10], [0.0, 0, 10, 5]
    truth = one_tube(range(10, 20), box)
    assert overlap(truth, truth) == 1
    assert overlap(one_tube(range(10, 20), half), truth) == 0.5
    assert overlap(one_tube(range(15, 25), half), truth) == pytest.approx(5 / 15 * 0.5)
    mixed = (0, 0, 1.0, {frame: box if frame < 15 else half for frame in range(10, 20)})
    assert overlap(mixed, truth) == pytest.approx(0.75)
    assert overlap(one_tube(range(10, 20), half), truth, inclusive=True) == pytest.approx(6 / 11)


def test_tubes_that_share_no_frame_one_frame_or_have_gaps() -> None:
    box = [0.0, 0, 10, 10]
    truth = one_tube(range(10, 20), box)
    assert overlap(one_tube(range(20, 30), box), truth) == 0
    assert overlap(one_tube([12], box), one_tube([12], box)) == 1
    assert overlap(one_tube([19], box), truth) == pytest.approx(1 / 10)
    # First and last frame do not stand for those between.
    assert overlap(one_tube([10, 19], box), truth) == pytest.approx(2 / 10)


def score(found: list[LongTube], truth: list[LongTube], protocol: DetectionProtocol = UCF101_24) -> tuple[float, float]:
    """Frame-mAP and video-mAP at 0.5."""
    a, b = table(found), table(truth)
    ranked = rank_boxes(a.boxes(), b.boxes(), 2, (0.5,), protocol), rank_tubes(a, b, 2, (0.5,), protocol)
    return tuple(float(mean_average_precision(classes, protocol.rule).mean[0]) for classes in ranked)  # type: ignore


@PROTOCOLS
def test_perfect_empty_duplicate_and_misplaced_detections(protocol: DetectionProtocol) -> None:
    box = [0.0, 0, 10, 10]
    truth = [one_tube(range(4), box), one_tube(range(6), [20.0, 20, 40, 40], video=1)]
    assert score(truth, truth, protocol) == (1, 1)
    assert score([], truth, protocol) == (0, 0)
    assert score([truth[0]], truth, protocol) == (pytest.approx(4 / 10), pytest.approx(1 / 2))
    # A duplicate of the surest, ranked above the second: precision 1, 1/2, 2/3.
    surest, second = one_tube(range(4), box, 0.9), one_tube(range(6), [20.0, 20, 40, 40], 0.5, video=1)
    duplicate = score([surest, one_tube(range(4), box, 0.8), second], truth, protocol)
    assert 0.5 < duplicate[1] < 1
    assert score([surest, second, one_tube(range(4), box, 0.1)], truth, protocol) == (1, 1)
    assert score([one_tube(range(4), box, video=1)], truth, protocol) == (0, 0)  # right place, wrong video
    assert score([(0, 1, 1.0, truth[0][3])], truth, protocol) == (0, 0)  # wrong class


def test_empty_truth_is_nan_and_nothing_at_all_has_no_classes() -> None:
    assert np.isnan(score([one_tube(range(3), [0.0, 0, 1, 1])], [])).all()
    assert rank_tubes(table([]), table([]), 1, (0.5,)) == {}


def test_boxes_beyond_the_frame_are_taken_as_they_are_and_empty_ones_are_wrong() -> None:
    truth = [one_tube(range(2), [0.0, 0, 10, 10])]
    assert score([one_tube(range(2), [-10.0, 0, 10, 10])], truth) == (1, 1)  # IoU 1/2
    assert score([one_tube(range(2), [-10.1, 0, 10, 10])], truth) == (0, 0)
    assert score([one_tube(range(2), [5.0, 5, 5, 9])], truth) == (0, 0)
    assert score([one_tube(range(2), [10.0, 10, 0, 0])], truth) == (0, 0)


def test_of_equal_scores_the_first_given_is_matched_first() -> None:
    truth = [one_tube(range(4), [0.0, 0, 10, 10])]
    good, better = one_tube(range(4), [0.0, 0, 10, 8], 0.5), one_tube(range(4), [0.0, 0, 10, 10], 0.5)
    for first in ([good, better], [better, good]):
        ranked = rank_tubes(table(first), table(truth), 1, (0.5,))[0]
        assert ranked.correct[:, 0].tolist() == [True, False]


def test_tubes_may_score_each_box() -> None:
    tubes = replace(table([one_tube([3], [0.0, 0, 1, 1], 0.2)]), box_scores=np.array([0.7]))
    assert tubes.boxes().scores.tolist() == [0.7]
    assert table([one_tube([3], [0.0, 0, 1, 1], 0.2)]).boxes().scores.tolist() == [0.2]


def test_a_resample_of_videos_needs_no_matching() -> None:
    random = np.random.default_rng(3)
    truth = random_tubes(random, 8)
    found = [(*tube[:2], index / 20, tube[3]) for index, tube in enumerate(random_tubes(random, 20, near=truth))]
    ranked = rank_tubes(table(found), table(truth), 3, THRESHOLDS)
    drawn = [2, 0, 2]
    copies = [
        [(new, *tube[1:]) for new, old in enumerate(drawn) for tube in tubes if tube[0] == old]
        for tubes in (found, truth)
    ]
    expected = mean_average_precision(rank_tubes(table(copies[0]), table(copies[1]), 3, THRESHOLDS))
    counts = np.bincount(drawn, minlength=3)
    np.testing.assert_allclose(mean_average_precision(ranked, counts=counts).mean, expected.mean, atol=1e-12)
    assert (mean_average_precision(ranked).mean != expected.mean).any()


@pytest.mark.parametrize(
    "column, value, words",
    [
        ("scores", np.array([np.nan]), "Tubes.scores must be finite, got nan in row 0"),
        ("labels", np.array([0.0]), "Tubes.labels must be whole numbers"),
        ("videos", np.array([-1]), "Tubes.videos must be whole numbers >= 0"),
        ("labels", np.array([0, 1]), r"Tubes.labels must be \(1,\)"),
        ("frames", np.array([3, 3]), "tube 0 has more than one box in frame 3"),
        ("members", np.array([0, 1]), "tube 1, but there are only 1 tubes"),
        ("corners", np.array([[0, 0, 1, 1], [0, np.nan, 1, 1]]), "box 1 is not finite"),
        ("corners", np.zeros((2, 3)), r"corners must be \(2, 4\)"),
        ("box_scores", np.array([0.1, np.inf]), "Tubes.box_scores must be finite, got inf in row 1"),
    ],
)
def test_tubes_that_cannot_be_are_errors(column: str, value: np.ndarray, words: str) -> None:
    good = table([one_tube([3, 4], [0.0, 0, 1, 1])])
    with pytest.raises(ValueError, match=words):
        replace(good, **{column: value})


def test_a_tube_without_boxes_is_an_error() -> None:
    empty = np.zeros(0, int)
    with pytest.raises(ValueError, match="tube 0 has no boxes"):
        Tubes(np.zeros(1, int), np.zeros(1, int), np.ones(1), empty, empty, np.zeros((0, 4)))


def test_truth_that_cannot_be_found_and_unknown_videos_are_errors() -> None:
    good, flat = table([one_tube([3], [0.0, 0, 1, 1])]), table([one_tube([3], [0.0, 0, 1, 0])])
    with pytest.raises(ValueError, match="true box 0 has no area"):
        rank_tubes(good, flat, 1, (0.5,))
    with pytest.raises(ValueError, match="true box 0 has no area"):
        rank_boxes(good.boxes(), flat.boxes(), 1, (0.5,))
    assert rank_tubes(good, flat, 1, (0.5,), ACT)[0].positives.tolist() == [1]  # there it is a row of pixels
    with pytest.raises(ValueError, match="detections has video number 1, but there are only 1"):
        rank_tubes(table([one_tube([3], [0.0, 0, 1, 1], video=1)]), good, 1, (0.5,))
