from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import quiet

from whenwhere.datasets.synthetic import SyntheticOptions
from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.features.device import best_device, on_best_device
from whenwhere.features.extract import frame_features
from whenwhere.features.projection import Projection
from whenwhere.training.config import DataOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.video import write_video


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where backbones are moved, in order; none is moved to a GPU that is not there."""
    seen: list[str] = []

    def to(self: Backbone, device: Any) -> Backbone:
        seen.append(str(device))
        return self

    monkeypatch.setattr(Backbone, "to", to)
    return seen


@pytest.mark.parametrize("name", ["cuda", "cpu"])
def test_a_network_is_on_the_gpu_meanwhile_and_on_the_processor_afterwards(
    name: str, moves: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: name == "cuda")
    assert best_device() == torch.device(name)
    backbone = Backbone(BackboneOptions(name="test_resnet", weights="random", size=32))
    with on_best_device(backbone):
        assert moves == [name]
    assert moves == [name, "cpu"]


def test_features_are_computed_there_and_stay_on_the_processor(moves: list[str]) -> None:
    synthetic = SyntheticOptions(tier="A", clips=2, frames=12)
    config = TrainConfig(
        data=DataOptions(source="synthetic", synthetic=synthetic),
        backbone=BackboneOptions(name="test_resnet", weights="random", size=32),
    )
    data = build_data(config, quiet)
    assert moves == [str(best_device()), "cpu"]
    assert data.train.features.device.type == "cpu"  # type: ignore[attr-defined]


def test_features_of_files_are_computed_there_and_stay_on_the_processor(tmp_path: Path, moves: list[str]) -> None:
    for label, shade in (("bright", 200), ("dark", 30)):
        (tmp_path / "train" / label).mkdir(parents=True)
        frames = (np.full((32, 48, 3), shade, np.uint8) for _ in range(6))
        write_video(tmp_path / "train" / label / "0.mp4", frames, 6.0, preset="ultrafast")
    options = DataOptions(path=str(tmp_path), frames=3, val_share=0.0)
    data = build_data(TrainConfig(data=options, backbone=BackboneOptions("test_resnet", "random", size=32)), quiet)
    assert moves == [str(best_device()), "cpu"]
    assert data.train.features.device.type == "cpu"  # type: ignore[attr-defined]


def test_a_projection_need_not_be_on_the_backbone_s_device() -> None:
    backbone = Backbone(BackboneOptions("test_resnet", "random", size=32))
    projection = Projection(backbone.channels, 4).to("meta")
    features = frame_features(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), backbone, projection)
    assert features.device.type == "meta"
    assert features.shape[:2] == (2, 4)
