"""Protocols by name: each scores a file of predictions against a file of truth, without a model.

A protocol is called with the two paths and thresholds on the overlap (None: those its numbers are published at), and
with those of its own keywords that are needed. It returns what JSON can hold, scores in [0, 1]:

=================  ======================================================================
``protocol``       its name
``tiou``           thresholds on temporal IoU (``iou`` for boxes), empty where it has none
``map``            one score a threshold, or a single one; mean over classes
``low``, ``high``  95 % bootstrap interval of each, videos drawn anew; None where there is none
``resamples``      how many draws that stands on, 0: none was made
``per_class``      the same as ``map`` by class, None where a class could not be scored
``controls``       what trivial answers score, by name; their names say what is given away
``n``, ``unit``    how many of what in the truth that stands on, in ``videos`` videos
``predictions``    how many there are: segments, boxes or tubes
``notes``          what a reader must know, in words
=================  ======================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

Protocol = Callable[..., dict[str, Any]]

# Names, and the modules that hold them.
PROTOCOLS = {
    **dict.fromkeys(("activitynet", "thumos14-2015", "paper", "per-frame"), "temporal_protocols"),
    **dict.fromkeys(("frame-map", "video-map", "act-frame-map", "act-video-map", "paper-boxes"), "spatial_protocols"),
    "ava": "ava_protocol",
}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name, imported only now: those of *when* do without torch."""
    found: Protocol = getattr(import_module(f"whenwhere.evaluation.{PROTOCOLS[name]}"), name.replace("-", "_"))
    return found
