"""Attention and recurrence, each usable alone."""

from whenwhere.layers.class_activation import class_activation_map
from whenwhere.layers.conv_lstm import ConvLSTM
from whenwhere.layers.importance import frame_contribution, frame_importance, power_mean
from whenwhere.layers.spatial_attention import SpatialAttention, mask_of_maps, scale_mask_by_clip_mean, smooth_mask
from whenwhere.layers.temporal_attention import TemporalAttention
from whenwhere.layers.temporal_order import TemporalConvolution, temporal_difference, temporal_encoding

__all__ = [
    "ConvLSTM",
    "SpatialAttention",
    "TemporalAttention",
    "TemporalConvolution",
    "class_activation_map",
    "frame_contribution",
    "frame_importance",
    "mask_of_maps",
    "power_mean",
    "scale_mask_by_clip_mean",
    "smooth_mask",
    "temporal_difference",
    "temporal_encoding",
]
