"""Every baseline through the same loop: it can learn clips by heart, comes back as it was, and can be measured."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import quiet

from whenwhere.datasets.loader import FeatureDataset
from whenwhere.evaluation.faithful_scores import faithfulness_scores, some_features
from whenwhere.evaluation.faithfulness import FaithfulnessOptions
from whenwhere.evaluation.measure import predict
from whenwhere.evaluation.scores import classification_scores
from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.models import TRNOptions, TSNOptions
from whenwhere.recognizer import load
from whenwhere.training.checkpoint import load_model
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import Data, build_data
from whenwhere.training.loop import train
from whenwhere.video import write_video

BASELINES = ["frame_average", "tsn", "trn"]


def config_of(method: str, **fit: object) -> TrainConfig:
    """Without dropout: what is learned by heart must not be taken away."""
    config = TrainConfig(
        method=method,  # type: ignore[arg-type]
        tsn=TSNOptions(dropout=0.0),
        trn=TRNOptions(dropout=0.0, width=16, bottleneck=32),
        fit=FitOptions(**{"epochs": 60, "batch_size": 8, "lr": 1e-2, **fit}),  # type: ignore[arg-type]
    )
    return replace(config, model=replace(config.model, dropout=0.0))


def eight_clips(method: str) -> Data:
    """Eight clips of noise, four classes; TSN trains on three of their eight frames, and is measured on all."""
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(8, 8, 16, 3, 3, generator=generator), torch.arange(8) % 4
    seen = 3 if method == "tsn" else 8
    train_set = FeatureDataset(features, labels, seen, seed=0, mirror=False)
    truth = {"active": torch.arange(8).expand(8, 8) > 3}
    test_set = FeatureDataset(features, labels, 8, truth=truth)
    return Data(tuple("abcd"), 16, train_set, None, test_set)


@pytest.fixture(scope="module", params=BASELINES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Data]:
    out = tmp_path_factory.mktemp(request.param)
    data = eight_clips(request.param)
    train(config_of(request.param), data, out, quiet=True)
    return out, data


def test_learns_eight_clips_by_heart(run: tuple[Path, Data]) -> None:
    network, _ = load_model(run[0])
    predictions = predict(network, run[1].test)
    assert (predictions.logits.argmax(1) == predictions.labels).all()


def test_comes_back_as_it_was(run: tuple[Path, Data]) -> None:
    (one, record), (two, _) = load_model(run[0]), load_model(run[0])
    assert type(one.head).__name__.lower() == record.config.method.replace("_", "")
    features = torch.randn(2, 8, 16, 3, 3)
    for first, second in zip(one.head(features)[:3], two.head(features)[:3], strict=True):
        assert torch.equal(first, second)


def test_an_evaluation_measures_it(run: tuple[Path, Data]) -> None:
    network, _ = load_model(run[0])
    predictions = predict(network, run[1].test)
    scores = [*classification_scores(predictions)]
    sample = some_features(network, run[1].test, 4)
    scores += faithfulness_scores(network, *sample, FaithfulnessOptions(over=("joint",)))
    values = {score.name: score.value for score in scores}
    assert values["accuracy"] == 1.0
    assert "faithful: deletion, joint" in values
    for maps in (predictions.masks, predictions.evidence, predictions.grad_cam):
        assert maps is not None
        assert maps.shape == (8, 8, 3, 3)
        assert maps.isfinite().all()
        assert maps.flatten(1).abs().amax(1).all()
    assert all(math.isfinite(value) for value in values.values())


def test_trn_draws_the_same_after_a_stop(tmp_path: Path) -> None:
    """Its subsets come from the state that a resumed run restores, the momentum of SGD too."""
    config = config_of("trn", epochs=4, batch_size=4, optimizer="sgd", lr=0.05, schedule="step", milestones=(2,))
    data = eight_clips("trn")
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    train(config, data, tmp_path / "whole", quiet=True)

    class Stop(Exception):
        pass

    class Stopping(FeatureDataset):
        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            if self.epoch == 2:
                raise Stop
            return super().__getitem__(index)

    stopping = replace(data, train=Stopping(data.train.features, data.train.labels, 8, seed=0, mirror=False))
    with pytest.raises(Stop):
        train(config, stopping, tmp_path / "cut", quiet=True)
    train(config, data, tmp_path / "cut", resume=True, quiet=True)
    one, two = (load_model(tmp_path / name)[0].state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("videos")
    for label, shade in (("bright", 200), ("dark", 30)):
        (root / "train" / label).mkdir(parents=True)
        for number in range(4):
            frames = (np.full((32, 48, 3), shade + number + t, np.uint8) for t in range(16))
            write_video(root / "train" / label / f"{number}.mp4", frames, 8.0, preset="ultrafast")
    return root


@pytest.mark.parametrize(("method", "frames", "eval_frames"), [("tsn", 3, 12), ("trn", 8, None)])
def test_a_network_fine_tuned_with_it_explains_a_video(
    folder: Path, tmp_path: Path, method: str, frames: int, eval_frames: int | None
) -> None:
    """Through decoded frames, partial batch norm and SGD; a video is looked at with the frames of an evaluation."""
    options = DataOptions(path=str(folder), frames=frames, eval_frames=eval_frames, val_share=0.0)
    backbone = BackboneOptions(name="test_resnet", weights="random", size=32, trainable=True, partial_bn=True)
    config = config_of(method, optimizer="sgd", epochs=1, batch_size=4, backbone_lr=0.1)
    config = replace(config, data=options, backbone=backbone)
    train(config, build_data(config, quiet), tmp_path, quiet=True)
    network = load_model(tmp_path)[0]
    fresh, tuned = (each.state_dict() for each in (Backbone(backbone), network.backbone))
    moved = [name for name in fresh if "running_mean" in name and not torch.equal(fresh[name], tuned[name])]
    assert len(moved) == 1
    assert not torch.equal(*(next(v for n, v in each.items() if "conv" in n) for each in (fresh, tuned)))
    explanation = load(tmp_path).explain(next((folder / "train/dark").glob("*.mp4")))
    assert len(explanation.times) == (eval_frames or frames)
