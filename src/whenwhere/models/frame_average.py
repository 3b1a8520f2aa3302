"""The baseline: average the features over cells and frames, then a linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from whenwhere.layers import class_activation_map
from whenwhere.models.output import AttentionOutput


class FrameAverage(nn.Module):
    """Average pooling over space and time, then a linear classifier.

    It has no attention of its own: its "mask" is the class activation map of the predicted class
    (Zhou et al. 2016; for this architecture Grad-CAM is the same map), its weights are uniform.

    Shape:
        features `(B, T, C, H, W)` to :class:`AttentionOutput`.
    """

    def __init__(self, channels: int, classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, features: Tensor) -> AttentionOutput:
        logits = self.classifier(self.dropout(features.mean(dim=(1, 3, 4))))
        mask = class_activation_map(features, self.classifier.weight[logits.argmax(1)])
        weights = logits.new_full((len(features), 1, features.shape[1]), 1 / features.shape[1])
        return AttentionOutput(logits, mask, weights)
