from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from whenwhere.losses import LossOptions, attention_loss, detection, detection_share

LOW = -8.0


def planted(labels: list[int], classes: int = 3, cells: int = 4) -> Tensor:
    """Maps `(B, 5, K, 6, 7)` that find their clip's class in ``cells`` cells of one frame, and nothing elsewhere."""
    maps = torch.full((len(labels), 5, classes, 6, 7), LOW)
    for clip, label in enumerate(labels):
        maps[clip, 2, label].view(-1)[:cells] = -LOW
    return maps


def test_the_loss_is_the_cross_entropy_of_the_highest_cells() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(4, 5, 3, 6, 7, generator=generator)
    target = torch.tensor([0, 2, 1, 1])
    expected = 0.0
    for clip in range(4):
        for name in range(3):
            cells = sorted(maps[clip, :, name].flatten().tolist(), reverse=True)[:21]  # a tenth of 5 x 6 x 7
            share = 1 / (1 + math.exp(-sum(cells) / 21))
            expected -= math.log(share if name == target[clip] else 1 - share) / 4
    assert float(detection(maps, target, 0.1)) == pytest.approx(expected, rel=1e-5)


def test_what_is_found_in_its_own_clips_and_nowhere_else_costs_nothing() -> None:
    labels = [0, 1, 2]
    found = float(detection(planted(labels), torch.tensor(labels), 4 / 210))
    assert found < 0.01
    assert float(detection(planted(labels), torch.tensor([1, 2, 0]), 4 / 210)) > 5
    assert float(detection(planted(labels, cells=40), torch.tensor(labels), 4 / 210)) == pytest.approx(found)


def test_the_last_class_cannot_be_told_by_the_absence_of_the_others() -> None:
    """A map of no class is the same in every clip: a softmax over classes names the third all the same."""
    labels = torch.tensor([0, 1, 2])
    found, eliminated = planted([0, 1, 2]), planted([0, 1, 2])
    found_loss = detection(found, labels, 4 / 210)
    eliminated[:, :, 2] = 0.0
    logits = eliminated.transpose(1, 2).flatten(2).max(2).values
    assert torch.equal(logits.argmax(1), labels)
    assert float(detection(eliminated, labels, 4 / 210) - found_loss) == pytest.approx(math.log(2), abs=0.01)


@pytest.mark.parametrize("absence", [0, 1, 2])
def test_nothing_is_found_in_clips_of_the_absence(absence: int) -> None:
    labels = torch.tensor([0, 1, 2])
    maps = planted(labels.tolist())
    maps[absence] = LOW
    seen = [name for name in range(3) if name != absence]
    assert float(detection(maps[:, :, seen], labels, 4 / 210, absence)) < 0.01
    maps[absence, 1, seen[0]] = -LOW
    assert float(detection(maps[:, :, seen], labels, 4 / 210, absence)) == pytest.approx(-LOW / 3, abs=0.01)


def test_all_cells_learn_at_first_and_the_highest_later() -> None:
    assert [detection_share(at, 0.005) for at in (0.0, 0.6, 0.7, 1.0)] == pytest.approx([1.0, 0.005, 0.005, 0.005])
    assert detection_share(0.3, 0.01) == pytest.approx(0.1)
    for share, cells in [(1.0, 210), (0.1, 21), (1e-6, 1)]:
        maps = torch.randn(1, 5, 2, 6, 7, generator=torch.Generator().manual_seed(1), requires_grad=True)
        detection(maps, torch.tensor([1]), share).backward()
        assert maps.grad is not None
        assert (maps.grad != 0).sum((1, 3, 4)).tolist() == [[cells, cells]]


def test_it_counts_only_where_there_are_maps_and_by_its_weight() -> None:
    logits, target = torch.zeros(3, 3), torch.tensor([0, 1, 2])
    mask, weights, maps = torch.full((3, 5, 1, 6, 7), 0.1), torch.full((3, 2, 5), 0.2), planted([1, 2, 0])

    def terms(weight: float, maps: Tensor | None) -> dict[str, Tensor]:
        options = LossOptions(detection=weight).resolved("default")
        return attention_loss(logits, target, mask, weights, options, 1.0, maps)

    without = terms(1.0, None)
    assert "detection" not in without
    assert torch.equal(terms(0.0, maps)["total"], without["total"])
    weighed = terms(0.3, maps)
    share = LossOptions().area_range[0]
    torch.testing.assert_close(weighed["detection"], detection(maps, target, share))
    torch.testing.assert_close(weighed["total"], without["total"] + 0.3 * weighed["detection"])
