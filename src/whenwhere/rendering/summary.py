"""An explanation in one plain sentence."""

from __future__ import annotations

import numpy as np

from whenwhere.rendering.strip import percent
from whenwhere.structures import Explanation, Segment

_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "middle", "right")


def mask_is_flat(explanation: Explanation) -> bool:
    """True when spatial attention varies by less than a tenth of its maximum, so it points nowhere."""
    low, high = float(explanation.masks.min()), float(explanation.masks.max())
    return high - low < 0.1 * high or high == 0


def when_phrase(explanation: Explanation) -> str:
    """Where in time the segments of the predicted label lie, such as ``mostly between 1.2 s and 2.4 s``."""
    segments = [s for s in explanation.segments if s.label == explanation.label]
    if not segments:
        return "no single stretch of time stands out"
    if sum(s.duration for s in segments) >= 0.9 * explanation.duration:
        return "throughout the video"
    best: list[Segment] = sorted(sorted(segments, key=lambda s: -s.score)[:3], key=lambda s: s.start)
    stretches = [f"{s.start:.1f} s and {s.end:.1f} s" for s in best]
    phrase = "mostly between " + ", then between ".join(stretches)
    rest = len(segments) - len(best)
    return phrase + (f", and {rest} weaker stretch{'' if rest == 1 else 'es'}" if rest else "")


def where_phrase(explanation: Explanation) -> str:
    """Which ninth of the picture holds the peak of attention, frames weighted by their importance."""
    if mask_is_flat(explanation):
        return "attention spread evenly over the picture"
    mean = np.tensordot(np.asarray(explanation.importance), explanation.masks, axes=1)
    row, column = np.unravel_index(int(mean.argmax()), mean.shape)
    x0, y0, x1, y1 = explanation.mask_area
    x = x0 + (column + 0.5) / mean.shape[1] * (x1 - x0)
    y = y0 + (row + 0.5) / mean.shape[0] * (y1 - y0)
    third_x = min(max(int(3 * x / explanation.width), 0), 2)
    third_y = min(max(int(3 * y / explanation.height), 0), 2)
    vertical, horizontal = _ROWS[third_y], _COLUMNS[third_x]
    if (vertical, horizontal) == ("middle", "middle"):
        return "attention strongest in the centre of the picture"
    if horizontal == "middle":
        return f"attention strongest in the {vertical} part of the picture"
    return f"attention strongest at the {vertical} {horizontal} of the picture"


def summary_sentence(explanation: Explanation) -> str:
    """What, when and where, such as ``fight (87 %): mostly between 1.2 s and 2.4 s; attention strongest ...``."""
    return (
        f"{explanation.label} ({percent(explanation.score)}): {when_phrase(explanation)}; {where_phrase(explanation)}."
    )
