"""Every published method goes through the same loop, the same evaluation and the same files."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import config_for, quiet

import whenwhere
from whenwhere.datasets.synthetic import SyntheticOptions
from whenwhere.evaluation.measure import predict
from whenwhere.evaluation.scores import all_scores
from whenwhere.features.backbone import BackboneOptions
from whenwhere.localization import LocalizationOptions
from whenwhere.models import METHODS, SoftAttentionLSTMOptions, UntrimmedNetOptions
from whenwhere.training.checkpoint import build_head, load_model
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.training.loop import train
from whenwhere.video import write_video

SMALL = {
    "soft_attention_lstm": SoftAttentionLSTMOptions(hidden=8, layers=2),
    "untrimmed_net": UntrimmedNetOptions(),
}


def small(config: TrainConfig, method: str) -> TrainConfig:
    own = {method: SMALL[method]} if method in SMALL else {}
    return replace(config, method=method, **own)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_trains_is_saved_and_scored(method: str, tiny_bank: Path, tmp_path: Path) -> None:
    config = small(config_for(tiny_bank, epochs=2), method)
    data = build_data(config, quiet)
    trained = train(config, data, tmp_path, quiet=True).eval()
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert len(rows) == 2
    assert all(math.isfinite(float(row["train/total"])) and math.isfinite(float(row["val/loss"])) for row in rows)

    network, record = load_model(tmp_path)
    assert record.config == config
    assert type(network.head) is type(trained.head) is METHODS[method]
    scores = {score.name: score for score in all_scores(predict(network, data.test))}
    assert {"accuracy", "when: mean tIoU", "where: pointing"} < set(scores)
    assert all(math.isfinite(score.value) for score in scores.values())

    fresh = build_head(record.config, record.channels, len(record.classes)).eval()
    fresh.load_state_dict(network.head.state_dict())
    features = torch.rand(2, 8, record.channels, 4, 4)
    assert torch.equal(fresh(features).logits, network.head(features).logits)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, options, when",
    [
        ("untrimmed_net", UntrimmedNetOptions("soft", dropout=0.2), 0.8),
        ("untrimmed_net", UntrimmedNetOptions("hard", dropout=0.2), 0.8),
        ("soft_attention_lstm", SoftAttentionLSTMOptions(hidden=16, layers=1, dropout=0.2), 0.6),
    ],
    ids=["untrimmed_net, soft", "untrimmed_net, hard", "soft_attention_lstm"],
)
def test_learns_a_planted_class_and_finds_it(
    method: str, options: object, when: float, tiny_bank: Path, tmp_path: Path
) -> None:
    config = replace(config_for(tiny_bank, epochs=12, lr=5e-2), method=method, **{method: options})  # type: ignore[arg-type]
    config = replace(config, data=replace(config.data, mosaic=replace(config.data.mosaic, clips=64)))
    data = build_data(config, quiet)
    train(config, data, tmp_path, quiet=True)
    scores = {score.name: score for score in all_scores(predict(load_model(tmp_path)[0], data.test))}
    assert scores["accuracy"].value > 0.9
    assert scores["where: pointing"].value > 0.9 > scores["where: pointing"].controls["centre box"].value
    found, every = scores["when: mean tIoU"].value, scores["when: mean tIoU"].controls["all frames"].value
    assert found > when > every


@pytest.mark.parametrize("method", SMALL)
def test_explains_a_video(method: str, tmp_path: Path) -> None:
    config = small(
        TrainConfig(
            data=DataOptions(source="synthetic", synthetic=SyntheticOptions(clips=12, frames=12)),
            backbone=BackboneOptions(name="test_resnet", weights="random", size=64),
            fit=FitOptions(epochs=1, batch_size=6),
        ),
        method,
    )
    train(config, build_data(config, quiet), tmp_path, quiet=True)
    generator = torch.Generator().manual_seed(0)
    pictures = (torch.randint(0, 255, (60, 80, 3), generator=generator, dtype=torch.uint8).numpy() for _ in range(30))
    write_video(tmp_path / "noise.mp4", pictures, 10.0)
    recognizer = whenwhere.load(tmp_path)
    explanation = recognizer.explain(tmp_path / "noise.mp4", top=100)
    assert explanation.masks.shape[0] == len(explanation.times) == 12
    assert explanation.segments
    assert explanation.boxes
    assert sum(explanation.importance) == pytest.approx(1)
    by_its_rule = recognizer.explain(tmp_path / "noise.mp4", localization=LocalizationOptions(rule="untrimmed_net"))
    seen = {segment.label for segment in by_its_rule.segments}
    assert seen == {label for label, probability in explanation.labels if probability > 0.1} != set()
