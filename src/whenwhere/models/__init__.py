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
from whenwhere.models.trn import TRN, TRNOptions
from whenwhere.models.tsn import TSN, TSNOptions
from whenwhere.models.untrimmed_net import UntrimmedNet, UntrimmedNetOptions

# By the names a configuration calls them.
METHODS: dict[str, type[nn.Module]] = {
    "spatio_temporal_attention": SpatioTemporalAttention,
    "frame_average": FrameAverage,
    "soft_attention_lstm": SoftAttentionLSTM,
    "tsn": TSN,
    "trn": TRN,
    "untrimmed_net": UntrimmedNet,
}

__all__ = [
    "METHODS",
    "TRN",
    "TSN",
    "AttentionOutput",
    "FrameAverage",
    "Network",
    "SoftAttentionLSTM",
    "SoftAttentionLSTMOptions",
    "SpatioTemporalAttention",
    "SpatioTemporalAttentionOptions",
    "TRNOptions",
    "TSNOptions",
    "UntrimmedNet",
    "UntrimmedNetOptions",
]
