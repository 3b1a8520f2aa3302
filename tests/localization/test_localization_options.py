from __future__ import annotations

from typing import Any

import pytest

from whenwhere.localization import LocalizationOptions


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"rule": "best"}, "rule must be one of peak, parts, paper, scripts, untrimmed_net, got 'best'"),
        ({"nms": "soft"}, "nms must be one of gaussian, linear, hard, none, got 'soft'"),
        ({"tubes": "3d"}, "tubes must be one of linked, volume, got '3d'"),
        ({"time_threshold": 1.0}, r"time_threshold must be in \[0, 1\), got 1.0"),
        ({"mask_threshold": float("nan")}, r"mask_threshold must be in \[0, 1\), got nan"),
        ({"thresholds": ()}, "thresholds must be one or more numbers"),
        ({"thresholds": (0.5, 1.5)}, "thresholds must be one or more numbers"),
        ({"inflation": 0.0}, "inflation must be positive"),
        ({"nms_sigma": -1.0}, "nms_sigma must be positive"),
        ({"min_seconds": -1.0}, "min_seconds must be at least 0"),
        ({"upsample": 0}, "upsample must be a whole number of at least 1"),
        ({"tube_gap": 1.5}, "tube_gap must be a whole number of at least 0"),
    ],
)
def test_what_makes_no_sense_is_an_error_that_says_what_does(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LocalizationOptions(**wrong)
