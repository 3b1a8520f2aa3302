"""One file per published method; features in, logits and attention out."""

from torch import nn

from whenwhere.models.frame_average import FrameAverage
from whenwhere.models.network import Network
from whenwhere.models.soft_attention_lstm import SoftAttentionLSTM, SoftAttentionLSTMOptions
from whenwhere.models.spatio_temporal_attention import (
    AttentionOutput,
    SpatioTemporalAttention,
    SpatioTemporalAttentionOptions,
)
from whenwhere.models.untrimmed_net import UntrimmedNet, UntrimmedNetOptions

METHODS: dict[str, type[nn.Module]] = {
    "frame_average": FrameAverage,
    "soft_attention_lstm": SoftAttentionLSTM,
    "spatio_temporal_attention": SpatioTemporalAttention,
    "untrimmed_net": UntrimmedNet,
}

__all__ = [
    "METHODS",
    "AttentionOutput",
    "FrameAverage",
    "Network",
    "SoftAttentionLSTM",
    "SoftAttentionLSTMOptions",
    "SpatioTemporalAttention",
    "SpatioTemporalAttentionOptions",
    "UntrimmedNet",
    "UntrimmedNetOptions",
]
