from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import whenwhere
from whenwhere.datasets.synthetic import SyntheticOptions
from whenwhere.features.backbone import BackboneOptions
from whenwhere.models import SpatioTemporalAttentionOptions
from whenwhere.recognizer import _merge_repeats, load
from whenwhere.structures import Explanation
from whenwhere.training.checkpoint import MODEL_FILE, CheckpointError, ModelRecord
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.training.loop import train
from whenwhere.video import VideoError, write_video


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of no skill, but of all parts."""
    config = TrainConfig(
        data=DataOptions(source="synthetic", synthetic=SyntheticOptions(clips=12, frames=12)),
        backbone=BackboneOptions(name="test_resnet", weights="random", size=64),
        model=SpatioTemporalAttentionOptions(hidden=8, steps=2),
        fit=FitOptions(epochs=1, batch_size=6),
    )
    out = tmp_path_factory.mktemp("run")
    train(config, build_data(config, lambda text: None), out, quiet=True)
    return out


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "noise.mp4"
    generator = np.random.default_rng(0)
    write_video(path, (generator.integers(0, 255, (60, 80, 3), dtype=np.uint8) for _ in range(30)), 10.0)
    return path


def test_explains_a_video_file(run: Path, video: Path, tmp_path: Path) -> None:
    explanation = whenwhere.load(run).explain(video, top=3)
    assert (explanation.width, explanation.height) == (80, 60)
    assert explanation.duration == pytest.approx(3.0, abs=0.01)
    assert len(explanation.labels) == 3
    assert [score for _, score in explanation.labels] == sorted((s for _, s in explanation.labels), reverse=True)
    assert len(explanation.times) == 12
    assert explanation.mask_area == (0, 0, 80, 60)
    assert explanation.segments
    assert all(0 <= s.start < s.end <= explanation.duration + 1e-6 for s in explanation.segments)
    assert all(0 <= box.x0 < box.x1 <= 80 and 0 <= box.y0 < box.y1 <= 60 for box in explanation.boxes)
    explanation.save(tmp_path / "e.json")
    assert Explanation.load(tmp_path / "e.json").to_dict() == explanation.to_dict()


def test_same_answer_twice_and_after_loading_again(run: Path, video: Path) -> None:
    recognizer = load(run)
    first = recognizer.explain(video).to_dict()
    assert recognizer.explain(video).to_dict() == first
    assert load(run / MODEL_FILE).explain(video).to_dict() | {"model": ""} == first | {"model": ""}


def test_a_video_shorter_than_the_model_looks_at(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    write_video(path, (np.full((32, 32, 3), 60 * i, dtype=np.uint8) for i in range(3)), 10.0)
    explanation = load(run).explain(path)
    assert len(explanation.times) == 3
    assert sum(explanation.importance) == pytest.approx(1, abs=1e-5)


def test_merging_repeats_adds_shares_and_averages_masks() -> None:
    masks = torch.tensor([0.2, 0.4, 1.0]).view(3, 1, 1)
    times, importance, weights, merged = _merge_repeats(
        np.array([0.0, 0.0, 1.0]), torch.tensor([0.1, 0.2, 0.7]), torch.tensor([0.3, 0.3, 0.4]), masks
    )
    assert times.tolist() == [0.0, 1.0]
    torch.testing.assert_close(importance, torch.tensor([0.3, 0.7]))
    torch.testing.assert_close(weights, torch.tensor([0.6, 0.4]))
    torch.testing.assert_close(merged.flatten(), torch.tensor([0.3, 1.0]))


def test_errors_say_what_is_wrong(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no model at"):
        load(tmp_path)
    (tmp_path / MODEL_FILE).write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="not a model of this package"):
        load(tmp_path)
    with pytest.raises(VideoError, match=r"nowhere\.mp4"):
        load(run).explain(tmp_path / "nowhere.mp4")


def test_changed_backbone_weights_are_noticed(run: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    with safe_open(str(run / MODEL_FILE), framework="pt") as file:
        record = ModelRecord.from_metadata(file.metadata())
    other = replace(record, backbone_identity="0" * 16)
    save_file(load_file(str(run / MODEL_FILE)), str(tmp_path / MODEL_FILE), other.metadata())
    with pytest.raises(CheckpointError, match="other backbone weights"):
        load(tmp_path)
