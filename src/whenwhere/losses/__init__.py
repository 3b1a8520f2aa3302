"""The loss: cross entropy and priors that keep both attentions coherent (Eq. 7-10)."""

from whenwhere.losses.detection import (
    detection,
    detection_share,
)
from whenwhere.losses.objective import (
    LossOptions,
    attention_loss,
    classification_loss,
    prior_share,
    soft_attention_loss,
)
from whenwhere.losses.priors import (
    AreaMeasure,
    contrast,
    contrast_sum,
    doubly_stochastic,
    effective_area,
    mask_area,
    persistence,
    total_variation,
    total_variation_sum,
    unimodality,
    unimodality_sum,
)

__all__ = [
    "AreaMeasure",
    "LossOptions",
    "attention_loss",
    "classification_loss",
    "contrast",
    "contrast_sum",
    "detection",
    "detection_share",
    "doubly_stochastic",
    "effective_area",
    "mask_area",
    "persistence",
    "prior_share",
    "soft_attention_loss",
    "total_variation",
    "total_variation_sum",
    "unimodality",
    "unimodality_sum",
]
