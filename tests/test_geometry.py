from __future__ import annotations

import numpy as np
import torch

from whenwhere._torchvision import ensure_torchvision
from whenwhere.geometry import box_iou, temporal_iou, true_runs


def random_segments(count: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).random((count, 2)) * 20, axis=1)


def each_with_each(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return temporal_iou(a[:, None], b)


def test_temporal_iou_by_hand() -> None:
    a = np.array([[0.0, 2.0], [5.0, 5.0]])
    b = np.array([[1.0, 3.0], [0.0, 2.0], [2.0, 4.0], [5.0, 5.0], [0.5, 1.5]])
    # What has no length shares nothing, not even with itself.
    assert each_with_each(a, b).tolist() == [[1 / 3, 1, 0, 0, 0.5], [0, 0, 0, 0, 0]]
    assert each_with_each(a, np.zeros((0, 2))).shape == (2, 0)


def test_temporal_iou_equals_counting_moments_and_is_symmetric() -> None:
    a, b = random_segments(20, 0), random_segments(30, 1)
    moments = np.arange(0, 20, 0.002) + 0.001
    in_a, in_b = (((s[:, :1] <= moments) & (moments < s[:, 1:])) for s in (a, b))
    counted = [[(p & q).sum() / (p | q).sum() for q in in_b] for p in in_a]
    np.testing.assert_allclose(each_with_each(a, b), counted, atol=0.01)
    np.testing.assert_array_equal(each_with_each(a, b), each_with_each(b, a).T)


def test_temporal_iou_does_not_depend_on_where_time_starts_or_how_fast_it_runs() -> None:
    a, b = random_segments(10, 2), random_segments(10, 3)
    np.testing.assert_allclose(each_with_each(a * 7 + 100, b * 7 + 100), each_with_each(a, b), atol=1e-12)


def test_iou_of_boxes_agrees_with_torchvision() -> None:
    ensure_torchvision()
    from torchvision import ops

    random = np.random.default_rng(0)
    low = random.uniform(0, 5, (30, 2))
    boxes = np.hstack([low, low + random.uniform(0, 3, (30, 2))])
    expected = ops.box_iou(torch.from_numpy(boxes[:10]), torch.from_numpy(boxes[10:]))
    np.testing.assert_allclose(box_iou(boxes[:10, None], boxes[10:]), expected)
    assert box_iou(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [0]


def test_runs_of_true_by_hand() -> None:
    active = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]], dtype=bool)
    rows, bounds = true_runs(active)
    assert rows.tolist() == [0, 0, 2]
    assert bounds.tolist() == [[0, 2], [3, 4], [1, 4]]
