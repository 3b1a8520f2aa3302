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
from typing import Any

from whenwhere.evaluation.ava_protocol import ava
from whenwhere.evaluation.spatial_protocols import act_frame_map, act_video_map, frame_map, paper_boxes, video_map
from whenwhere.evaluation.temporal_protocols import activitynet, paper, per_frame, thumos14_2015

Protocol = Callable[..., dict[str, Any]]

PROTOCOLS: dict[str, Protocol] = {
    "activitynet": activitynet,
    "thumos14-2015": thumos14_2015,
    "paper": paper,
    "per-frame": per_frame,
    "frame-map": frame_map,
    "video-map": video_map,
    "act-frame-map": act_frame_map,
    "act-video-map": act_video_map,
    "paper-boxes": paper_boxes,
    "ava": ava,
}
