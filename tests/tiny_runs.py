"""Runs of a second, for tests of what happens around training."""

from __future__ import annotations

from pathlib import Path

from whenwhere.datasets.mosaic import MosaicOptions
from whenwhere.models import SpatioTemporalAttentionOptions
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig


def config_for(bank: Path, **fit: object) -> TrainConfig:
    """A run of a second on :func:`tiny_bank`."""
    mosaic = MosaicOptions(frames=8, action_frames=(2, 4), clips=32, eval_clips=24)
    return TrainConfig(
        data=DataOptions(source="feature_bank", path=str(bank), mosaic=mosaic, val_share=0.3),
        model=SpatioTemporalAttentionOptions(hidden=8, steps=3),
        fit=FitOptions(**{"epochs": 3, "batch_size": 8, "lr": 5e-3, **fit}),  # type: ignore[arg-type]
    )


def quiet(text: str) -> None:
    pass
