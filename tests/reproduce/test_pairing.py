from __future__ import annotations

import pytest
import torch

from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.predictions import PredictionsError
from whenwhere.reproduce.pairing import Seen, only, shared_clips


def seen(clips: str, labels: list[int]) -> Seen:
    return Seen(tuple(clips), torch.tensor(labels))


def test_clips_are_paired_by_name_in_the_order_of_the_first() -> None:
    runs = {"x": seen("abcd", [0, 1, 2, 3]), "y": seen("dba", [3, 1, 0]), "z": seen("bcad", [1, 2, 0, 3])}
    assert [place.tolist() for place in shared_clips(runs)] == [[0, 1, 3], [2, 1, 0], [2, 0, 3]]


def test_what_does_not_name_its_clips_is_paired_by_place() -> None:
    named, unnamed = seen("abc", [0, 1, 0]), Seen((), torch.tensor([0, 1, 0]))
    assert [place.tolist() for place in shared_clips({"x": named, "y": unnamed})] == [[0, 1, 2], [0, 1, 2]]
    with pytest.raises(PredictionsError, match="'x' and 'y' were tested on different clips, and do not say on which"):
        shared_clips({"x": named, "y": Seen((), torch.tensor([0, 1]))})
    with pytest.raises(PredictionsError, match="different labels; delete their predictions_test"):
        shared_clips({"x": named, "y": Seen((), torch.tensor([0, 1, 1]))})


def test_clips_that_do_not_go_together_are_told() -> None:
    with pytest.raises(PredictionsError, match="'x' and 'y' were tested on no clip in common"):
        shared_clips({"x": seen("ab", [0, 1]), "y": seen("cd", [0, 1])})
    with pytest.raises(PredictionsError, match="different labels"):
        shared_clips({"x": seen("ab", [0, 1]), "y": seen("ab", [0, 0])})


def test_some_clips_take_all_that_is_said_of_them_along() -> None:
    numbers = torch.arange(6.0).view(3, 2)
    said = Predictions(
        numbers, torch.tensor([0, 1, 2]), numbers, None, numbers, numbers, None, numbers, clips=("a", "b", "c")
    )
    some = only(said, torch.tensor([2, 0]))
    assert some.clips == ("c", "a")
    assert some.labels.tolist() == [2, 0]
    assert some.boxes is not None
    assert some.logits.tolist() == some.boxes.tolist() == [[4, 5], [0, 1]]
    assert some.active is None
