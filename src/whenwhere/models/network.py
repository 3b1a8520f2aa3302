"""A backbone, a projection and a head as one module."""

from __future__ import annotations

from torch import Tensor, nn

from whenwhere.features.backbone import Backbone
from whenwhere.models.output import AttentionOutput


class Network(nn.Module):
    """Frames or features in, attention out.

    Args:
        head: features `(B, T, C, H, W)` to :class:`AttentionOutput`.
        backbone: frames to feature maps; None when only features are ever given.
        projection: reduces the backbone's channels; None: no reduction.
    """

    def __init__(self, head: nn.Module, backbone: Backbone | None = None, projection: nn.Module | None = None) -> None:
        super().__init__()
        self.head, self.backbone, self.projection = head, backbone, projection

    def forward(self, batch: dict[str, Tensor]) -> AttentionOutput:
        """``batch`` holds ``features`` `(B, T, C, H, W)`, or ``frames`` `(B, T, 3, size, size)` normalised."""
        return self.head(self.features(batch))

    def features(self, batch: dict[str, Tensor]) -> Tensor:
        """What the head is given, `(B, T, C, H, W)`."""
        if "features" in batch:
            return batch["features"]
        if self.backbone is None:
            raise ValueError("this model was trained on given features and has no backbone to look at frames with")
        frames = batch["frames"]
        features = self.backbone(frames.flatten(0, 1))
        if self.projection is not None:
            features = self.projection(features)
        return features.unflatten(0, frames.shape[:2])
