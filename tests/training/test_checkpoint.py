"""A fine-tuned run is all in its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_runs import quiet

from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.recognizer import load
from whenwhere.training.checkpoint import MODEL_FILE, CheckpointError, load_model
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.training.loop import train
from whenwhere.video import write_video


@pytest.fixture
def tuned(tmp_path: Path) -> tuple[Path, Path]:
    """A run, and the file of weights that its backbone started from, which ask for what no others do."""
    for label, shade in (("bright", 200), ("dark", 30)):
        (tmp_path / "clips/train" / label).mkdir(parents=True)
        for number in range(2):
            frames = (np.full((32, 48, 3), shade + number + t, np.uint8) for t in range(6))
            write_video(tmp_path / "clips/train" / label / f"{number}.mp4", frames, 6.0, preset="ultrafast")
    start = Backbone(BackboneOptions(name="test_resnet", weights="random"))
    start.metadata |= {"mean": "[0.1, 0.2, 0.3]", "interpolation": "bicubic"}
    start.preprocessing = replace(start.preprocessing, size=48)
    weights = start.save(tmp_path / "start.safetensors")
    config = TrainConfig(
        method="frame_average",
        data=DataOptions(path=str(tmp_path / "clips"), frames=2, val_share=0.0),
        backbone=BackboneOptions(weights=str(weights), feature=1, trainable=True),
        fit=FitOptions(epochs=1, batch_size=2, backbone_lr=0.1),
    )
    run = tmp_path / "run"
    run.mkdir()
    train(config, build_data(config, quiet), run, quiet=True)
    return run, weights


def test_a_fine_tuned_run_is_loaded_without_what_it_started_from(tuned: tuple[Path, Path], tmp_path: Path) -> None:
    run, weights = tuned
    before, record = load_model(run)
    assert before.backbone is not None
    started = Backbone(record.config.backbone)
    assert record.backbone_identity == started.identity
    assert before.backbone.identity != started.identity, "of the weights as they are now"
    clip = next((tmp_path / "clips").rglob("*.mp4"))
    explained = load(run).explain(clip).to_dict()
    weights.unlink()
    after = load_model(run)[0]
    assert after.backbone is not None
    assert after.backbone.preprocessing == before.backbone.preprocessing == started.preprocessing
    assert after.backbone.preprocessing.mean == (0.1, 0.2, 0.3)
    assert (after.backbone.preprocessing.size, after.backbone.preprocessing.interpolation) == (48, "bicubic")
    frames = torch.rand(1, 2, 3, 48, 48)
    assert torch.equal(before({"frames": frames}).logits, after({"frames": frames}).logits)
    assert after.backbone.identity == before.backbone.identity
    assert load(run).explain(clip).to_dict() == explained
    # What is saved of it is read like any other file of weights.
    saved = Backbone(BackboneOptions(weights=str(after.backbone.save(weights)), feature=1))
    assert saved.identity == before.backbone.identity


def test_a_run_that_does_not_know_its_architecture_needs_what_it_started_from(tuned: tuple[Path, Path]) -> None:
    """As those that were saved before."""
    run, weights = tuned
    with safe_open(str(run / MODEL_FILE), framework="pt") as file:
        metadata = {name: value for name, value in file.metadata().items() if name != "backbone_metadata"}
    expected = load_model(run)[0].state_dict()
    save_file(load_file(str(run / MODEL_FILE)), str(run / MODEL_FILE), metadata)
    found = load_model(run)[0].state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors does not say .* needed too: .*start\.safetensors"):
        load_model(run)
