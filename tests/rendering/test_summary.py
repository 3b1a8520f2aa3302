from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from whenwhere.rendering import summary_sentence
from whenwhere.rendering.summary import when_phrase, where_phrase
from whenwhere.structures import Explanation, Segment


def with_segments(explanation: Explanation, *spans: tuple[float, float, float]) -> Explanation:
    return replace(explanation, segments=tuple(Segment(a, b, explanation.label, score) for a, b, score in spans))


def test_sentence_says_what_when_and_where(explanation: Explanation) -> None:
    assert summary_sentence(explanation) == (
        "slide <right> (87 %): mostly between 0.9 s and 1.5 s; attention strongest at the upper left of the picture."
    )


def test_when(explanation: Explanation) -> None:
    assert when_phrase(with_segments(explanation)) == "no single stretch of time stands out"
    assert when_phrase(with_segments(explanation, (0, 2.9, 1))) == "throughout the video"
    two = with_segments(explanation, (0.2, 0.5, 0.3), (1, 1.5, 0.9))
    assert when_phrase(two) == "mostly between 0.2 s and 0.5 s, then between 1.0 s and 1.5 s"
    four = with_segments(explanation, *((i * 0.5, i * 0.5 + 0.1, 1 - 0.1 * i) for i in range(4)))
    assert when_phrase(four).endswith("then between 1.0 s and 1.1 s, and 1 weaker stretch")


def test_segments_of_other_labels_do_not_count(explanation: Explanation) -> None:
    other = replace(explanation, segments=(Segment(0, 1, "slide left"),))
    assert when_phrase(other) == "no single stretch of time stands out"


@pytest.mark.parametrize(
    "cell, phrase",
    [
        ((0, 0), "at the upper left"),
        ((0, 2), "in the upper part"),
        ((2, 2), "in the centre"),
        ((2, 4), "at the middle right"),
        ((4, 0), "at the lower left"),
    ],
)
def test_where_follows_the_peak(explanation: Explanation, cell: tuple[int, int], phrase: str) -> None:
    masks = np.full((5, 5, 5), 0.1)
    masks[:, *cell] = 0.8
    masks[4, 4, 4] = 1.0  # in a frame that hardly counts
    placed = replace(explanation, masks=masks, mask_area=(0, 0, 320, 240))
    assert where_phrase(placed) == f"attention strongest {phrase} of the picture"


def test_where_speaks_of_the_picture_not_of_the_area_the_model_saw(explanation: Explanation) -> None:
    masks = np.zeros((5, 4, 4))
    masks[:, 0, 0] = 1
    lower_right = replace(explanation, masks=masks, mask_area=(240, 180, 320, 240))
    assert where_phrase(lower_right) == "attention strongest at the lower right of the picture"


@pytest.mark.parametrize("level", [0.0, 0.03, 1.0])
def test_flat_masks_point_nowhere(explanation: Explanation, level: float) -> None:
    masks = np.full((5, 4, 4), level)
    masks[0, 0, 0] *= 0.95
    assert where_phrase(replace(explanation, masks=masks)) == "attention spread evenly over the picture"
