"""One file per published method; features in, logits and attention out."""

from whenwhere.models.frame_average import FrameAverage
from whenwhere.models.network import Network
from whenwhere.models.spatio_temporal_attention import (
    AttentionOutput,
    SpatioTemporalAttention,
    SpatioTemporalAttentionOptions,
)

__all__ = ["AttentionOutput", "FrameAverage", "Network", "SpatioTemporalAttention", "SpatioTemporalAttentionOptions"]
