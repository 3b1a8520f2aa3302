from __future__ import annotations

import csv
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged import write_damaged
from lightning_fabric import Fabric
from safetensors.torch import load_file
from tiny_runs import config_for, quiet

from whenwhere.evaluation.measure import predict
from whenwhere.evaluation.scores import all_scores
from whenwhere.features.backbone import BackboneOptions
from whenwhere.models import Network
from whenwhere.training.checkpoint import MODEL_FILE, STATE_FILE, CheckpointError, build_head, load_model
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.training.loop import Means, Run, train
from whenwhere.video import VideoError, write_video


def run(config: TrainConfig, out: Path, resume: bool = False) -> dict[str, torch.Tensor]:
    out.mkdir(exist_ok=True)
    train(config, build_data(config, quiet), out, resume=resume, quiet=True)
    return load_file(str(out / MODEL_FILE))


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("accumulate, rates", [(1, [0.1] * 4 + [0.01] * 4), (2, [0.1] * 2 + [0.01] * 2)])
def test_milestones_are_epochs(accumulate: int, rates: list[float], tiny_bank: Path, tmp_path: Path) -> None:
    """32 clips in batches of 16: two batches an epoch, four epochs, a milestone after two of them."""
    fit = {"epochs": 4, "batch_size": 16, "lr": 0.1, "warmup": 0.0, "schedule": "step", "milestones": (2,)}
    config = replace(config_for(tiny_bank, accumulate=accumulate, **fit), method="frame_average")
    data = build_data(config, quiet)
    network = Network(build_head(config, data.channels, len(data.classes)))
    attempt, seen = Run(config, data, tmp_path, Fabric(accelerator="cpu"), network, quiet=True), []
    for update in range(attempt.updates):
        attempt.at.update = update
        attempt._set_rates()
        seen.append(attempt.optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx(rates)


def test_means_weigh_by_count() -> None:
    means = Means()
    means.add({"a": 1.0}, 3)
    means.add({"a": 5.0}, 1)
    assert means.values() == {"a": 2.0}


def test_same_seed_same_weights_other_seed_others(tiny_bank: Path, tmp_path: Path) -> None:
    first = run(config_for(tiny_bank), tmp_path / "a")
    assert_same(first, run(config_for(tiny_bank), tmp_path / "b"))
    other = run(config_for(tiny_bank, seed=1), tmp_path / "c")
    assert not torch.equal(first["head.classifier.weight"], other["head.classifier.weight"])


@pytest.mark.parametrize("class_maps, epochs", [(False, 12), (True, 24)])
def test_learns_a_planted_class_and_finds_it(tiny_bank: Path, tmp_path: Path, class_maps: bool, epochs: int) -> None:
    config = config_for(tiny_bank, epochs=epochs)
    data_options = replace(config.data, mosaic=replace(config.data.mosaic, clips=64))
    config = replace(config, data=data_options, model=replace(config.model, class_maps=class_maps))
    data = build_data(config, quiet)
    train(config, data, tmp_path, quiet=True)
    network, record = load_model(tmp_path)
    scores = {score.name: score for score in all_scores(predict(network, data.test))}
    assert record.classes == ("class 0", "class 1")
    assert scores["accuracy"].value > 0.9
    assert scores["where: pointing"].value > 0.9 > scores["where: pointing"].controls["centre box"].value
    with (tmp_path / "metrics.csv").open() as file:
        losses = [float(row.get("train/detection", "nan")) for row in csv.DictReader(file)]
    assert losses[-1] < 0.8 * losses[0] if class_maps else math.isnan(losses[0])


TWO_PROCESSES = {"devices": 2, "accumulate": 3, "checkpoint_steps": 1}


@pytest.mark.parametrize(
    "fit",
    [
        {},
        pytest.param({"ema": 0.9}, marks=pytest.mark.slow, id="moving average"),
        pytest.param({"accumulate": 2}, marks=pytest.mark.slow, id="accumulated"),
        pytest.param({"checkpoint_steps": 2}, marks=pytest.mark.slow, id="within an epoch"),
        pytest.param(TWO_PROCESSES, marks=pytest.mark.slow, id="two processes"),
    ],
)  # fmt: skip
def test_killed_run_resumes_to_the_same_weights(tiny_bank: Path, tmp_path: Path, fit: dict) -> None:
    """kill -9 at a moment nobody chose, then --resume: every tensor equals the unbroken run's, bit by bit.

    Neither batches nor what is accumulated nor processes come out even.
    """
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command = [
        sys.executable, "-m", "whenwhere.cli", "train", "--data.source", "feature_bank", "--data.path", str(tiny_bank),
        "--data.val_share", "0.3", "--data.mosaic.frames", "8", "--data.mosaic.action_frames", "[2,4]",
        "--data.mosaic.clips", "66", "--data.mosaic.eval_clips", "24", "--model.hidden", "8",
        "--fit.epochs", "12", "--fit.batch_size", "8",
        *(f"--fit.{name}={value}" for name, value in fit.items()),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--out", str(whole)], check=True, capture_output=True, env=environment)
    process = subprocess.Popen(
        [*command, "--out", str(broken)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 300
        while not (broken / STATE_FILE).exists():
            assert time.monotonic() < deadline
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.005)
        time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run([*command, "--out", str(broken), "--resume"], capture_output=True, env=environment, text=True)
    assert done.returncode == 0, done.stderr
    assert_same(load_file(str(whole / MODEL_FILE)), load_file(str(broken / MODEL_FILE)))
    states = [torch.load(folder / STATE_FILE, weights_only=True) for folder in (whole, broken)]
    assert_same(states[0]["network"], states[1]["network"])
    assert states[0]["progress"] == states[1]["progress"]
    batches = math.ceil(66 / fit.get("devices", 1) / 8)
    assert states[0]["progress"]["update"] == 12 * math.ceil(batches / fit.get("accumulate", 1))
    assert states[0]["optimizer"]["param_groups"][0]["lr"] < 1e-4, "the schedule ends where the run does"
    rows = [list(csv.reader((folder / "metrics.csv").open())) for folder in (whole, broken)]
    assert [row[0] for row in rows[1]] == [row[0] for row in rows[0]] == ["epoch", *map(str, range(1, 13))]


def test_resuming_with_other_options_is_refused(tiny_bank: Path, tmp_path: Path) -> None:
    run(config_for(tiny_bank), tmp_path)
    with pytest.raises(CheckpointError, match="other options"):
        run(config_for(tiny_bank, lr=1e-4), tmp_path, resume=True)


def test_resuming_a_finished_run_changes_nothing(tiny_bank: Path, tmp_path: Path) -> None:
    first = run(config_for(tiny_bank), tmp_path)
    assert_same(first, run(config_for(tiny_bank), tmp_path, resume=True))


def test_stops_early_when_validation_does_not_improve(tiny_bank: Path, tmp_path: Path) -> None:
    run(config_for(tiny_bank, epochs=50, patience=1, lr=0.5), tmp_path)
    epochs = len((tmp_path / "metrics.csv").read_text().splitlines()) - 1
    assert epochs < 50


def test_accumulation_equals_a_larger_batch_without_batch_norm(tiny_bank: Path, tmp_path: Path) -> None:
    """Frame average has no batch statistics, so two halves accumulated are one whole batch."""
    base = replace(config_for(tiny_bank), method="frame_average")
    base = replace(base, model=replace(base.model, dropout=0.0))
    halves = replace(base, fit=replace(base.fit, batch_size=4, accumulate=2))
    a, b = run(base, tmp_path / "a"), run(halves, tmp_path / "b")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6)


def test_bf16_trains(tiny_bank: Path, tmp_path: Path) -> None:
    weights = run(config_for(tiny_bank, precision="bf16-mixed", epochs=1), tmp_path)
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())


def test_log_has_health_of_every_epoch(tiny_bank: Path, tmp_path: Path) -> None:
    run(config_for(tiny_bank), tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert len(rows) == 3
    for name in ("health/mask_area", "health/entropy", "health/importance_entropy", "health/state_sensitivity"):
        assert all(math.isfinite(float(row[name])) for row in rows)
    assert list((tmp_path / "tensorboard").iterdir())


def test_warns_when_attention_is_dead(tiny_bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_for(tiny_bank, epochs=1)
    config = replace(config, model=replace(config.model, spatial=False, temporal=False))
    tmp_path.mkdir(exist_ok=True)
    train(config, build_data(config, quiet), tmp_path)
    said = " ".join(capsys.readouterr().err.split())
    assert "attention is dead" in said
    assert "every frame counts the same" in said


@pytest.mark.parametrize(("select", "kept"), [("loss", 0), ("accuracy", 2)])
def test_which_epoch_is_kept(select: str, kept: int, tiny_bank: Path, tmp_path: Path) -> None:
    """Accuracy rises while the loss does too; of two equally accurate epochs the one with the lower loss."""
    config = config_for(tiny_bank, select=select)
    data = build_data(config, quiet)
    network = Network(build_head(config, data.channels, len(data.classes)))
    attempt = Run(config, data, tmp_path, Fabric(accelerator="cpu"), network, quiet=True)
    kept_at = []
    for epoch, (loss, accuracy) in enumerate([(0.5, 0.5), (0.9, 0.75), (0.8, 0.75), (0.85, 0.75)]):
        attempt._keep(attempt._badness({"val/loss": loss, "val/accuracy": accuracy}))
        if attempt.at.since_best == 0:
            kept_at.append(epoch)
    assert kept_at[-1] == kept


def test_a_clip_that_turns_out_not_to_decode_is_skipped_and_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, shade in (("bright", 200), ("dark", 30)):
        (tmp_path / "clips/train" / label).mkdir(parents=True)
        for number in range(3):
            frames = (np.full((32, 48, 3), shade + number, np.uint8) for _ in range(6))
            write_video(tmp_path / "clips/train" / label / f"{number}.mp4", frames, 6.0, preset="ultrafast")
    write_damaged(tmp_path / "clips/train/dark/damaged.avi")
    options = DataOptions(path=str(tmp_path / "clips"), frames=3, val_share=0.0)
    backbone = BackboneOptions(name="test_resnet", weights="random", size=32, trainable=True)
    config = TrainConfig("frame_average", options, backbone, fit=FitOptions(epochs=2, batch_size=4))
    data = build_data(config, quiet)
    assert data.broken == []
    train(config, data, tmp_path / "run")
    assert [Path(path).name for path, _ in data.broken] == ["damaged.avi"]
    assert capsys.readouterr().err.count("skipped:") == 1
    strict = replace(config, data=replace(options, max_broken=0.1))
    with pytest.raises(VideoError, match=r"1 of 7 training clips cannot be read, more than data.max_broken = 0.1"):
        train(strict, build_data(strict, quiet), tmp_path / "strict", quiet=True)


@pytest.mark.parametrize("fit", [{"lr": 0.5, "epochs": 50, "patience": 1}, {"ema": 0.9}])
def test_the_network_it_returns_is_the_one_it_kept(tiny_bank: Path, tmp_path: Path, fit: dict) -> None:
    config = config_for(tiny_bank, **fit)
    returned = train(config, build_data(config, quiet), tmp_path, quiet=True)
    assert not any(module.training for module in returned.modules())
    assert_same(returned.state_dict(), load_file(str(tmp_path / MODEL_FILE)))
    last = torch.load(tmp_path / STATE_FILE, weights_only=True)["network"]
    assert not torch.equal(returned.state_dict()["head.classifier.weight"], last["head.classifier.weight"])


def test_a_run_that_validation_gives_no_number_for_says_so(tiny_bank: Path, tmp_path: Path) -> None:
    config = config_for(tiny_bank, epochs=1)
    data = build_data(config, quiet)
    data.val.targets.features.fill_(math.nan)  # type: ignore[union-attr]
    with pytest.raises(CheckpointError, match=r"kept no model.*lower fit\.lr"):
        train(config, data, tmp_path, quiet=True)
