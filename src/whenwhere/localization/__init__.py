"""From attention to results: importance to segments, masks to boxes, boxes to tubes, windows to whole videos."""

from whenwhere.localization.boxes import find_boxes
from whenwhere.localization.options import LocalizationOptions
from whenwhere.localization.parts import Parts, mask_boxes, mask_parts, pairwise_iou
from whenwhere.localization.segments import (
    candidate_segments,
    contrast,
    find_class_segments,
    find_segments,
    important_frames,
    untrimmed_net_segments,
)
from whenwhere.localization.suppression import soft_nms, suppress_segments, temporal_iou
from whenwhere.localization.tubes import Tube, find_tubes, link_parts, volume_tubes
from whenwhere.localization.windows import Merged, WindowResult, merge_traces, merge_windows, plan_windows

__all__ = [
    "LocalizationOptions",
    "Merged",
    "Parts",
    "Tube",
    "WindowResult",
    "candidate_segments",
    "contrast",
    "find_boxes",
    "find_class_segments",
    "find_segments",
    "find_tubes",
    "important_frames",
    "link_parts",
    "mask_boxes",
    "mask_parts",
    "merge_traces",
    "merge_windows",
    "pairwise_iou",
    "plan_windows",
    "soft_nms",
    "suppress_segments",
    "temporal_iou",
    "untrimmed_net_segments",
    "volume_tubes",
]
