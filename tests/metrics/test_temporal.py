from __future__ import annotations

import torch

from whenwhere.metrics.temporal import frame_iou


def test_frame_iou_by_hand_and_symmetric() -> None:
    a = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()
    b = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]).bool()
    torch.testing.assert_close(frame_iou(a, b), torch.tensor([1 / 3, 0.5, 0.0, 0.0]))
    torch.testing.assert_close(frame_iou(a, b), frame_iou(b, a))
