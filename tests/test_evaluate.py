"""An evaluation leaves numbers, predictions that score the same again, and a page that needs nothing else."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_runs import config_for, quiet

from whenwhere.datasets.synthetic import SyntheticOptions, write_dataset
from whenwhere.evaluate import evaluate
from whenwhere.evaluation.class_scores import read_class_scores
from whenwhere.evaluation.predictions import read_boxes
from whenwhere.evaluation.protocols import PROTOCOLS
from whenwhere.features.backbone import BackboneOptions
from whenwhere.models import SpatioTemporalAttentionOptions
from whenwhere.training.checkpoint import load_model
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.training.loop import train


def evaluated(config: TrainConfig, out: Path, faithful: int) -> dict:
    data = build_data(config, quiet)
    train(config, data, out, quiet=True)
    network, record = load_model(out)
    evaluate(out, network, record, data, "test", faithful, sanity_clips=faithful, over=["joint", "time"], log=quiet)
    return json.loads((out / "metrics_test.json").read_text())


@pytest.fixture(scope="module")
def walls(tiny_bank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("walls")
    evaluated(config_for(tiny_bank), out, faithful=4)
    return out


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on files whose manifest knows when and where."""
    out: Path = tmp_path_factory.mktemp("videos")
    options = SyntheticOptions(clips=12, frames=12)
    manifest = write_dataset(options, out / "clips", clips={"train": 12, "test": 6})
    config = TrainConfig(
        data=DataOptions(path=str(manifest), frames=8, val_share=0.0),
        backbone=BackboneOptions(weights="glyphs"),
        model=SpatioTemporalAttentionOptions(hidden=8, steps=3),
        fit=FitOptions(epochs=1, batch_size=6),
    )
    evaluated(config, out / "run", faithful=0)
    return out / "run"


def scores_of(run: Path) -> dict[str, dict]:
    return {score["name"]: score for score in json.loads((run / "metrics_test.json").read_text())["scores"]}


def test_the_record_names_what_made_the_numbers(walls: Path) -> None:
    record = json.loads((walls / "metrics_test.json").read_text())
    assert (walls / "confusion_test.png").read_bytes().startswith(b"\x89PNG")
    assert record["versions"].keys() >= {"whenwhere", "torch"}
    assert len(record["model_sha256"]) == len(record["data_sha256"]) == 64
    assert record["seed"] == 0
    assert all(score["protocol"] and score["controls"] and score["verdict"] for score in record["scores"])
    assert {row["name"] for row in record["classes"]} == {f"class {number}" for number in range(len(record["classes"]))}
    assert 0 <= record["calibration"]["ece"] <= 1


def test_class_scores_of_every_clip_are_left_for_fusion(walls: Path, videos: Path) -> None:
    for run in (walls, videos):
        scores, record = read_class_scores(run / "scores_test.npz"), scores_of(run)["accuracy"]["estimate"]
        assert len(scores.clips) == record["count"]
        assert float((scores.logits.argmax(1) == scores.labels).float().mean()) == pytest.approx(record["value"])
    boxes = json.loads((videos / "boxes_test.json").read_text())["videos"]
    assert set(scores.clips) == set(boxes)


def test_faithfulness_is_measured_when_asked_for(walls: Path, videos: Path) -> None:
    names = scores_of(walls).keys()
    assert {
        "faithful: deletion, joint",
        "faithful: insertion, joint",
        "faithful: explained region",
        "faithful: deletion, time",
    } < names
    assert not any(name.startswith("faithful") for name in scores_of(videos))


def test_sanity_checks_are_part_of_the_record(walls: Path) -> None:
    sanity = json.loads((walls / "metrics_test.json").read_text())["sanity"]
    assert sanity["cascade"][0]["layer"] == "trained"
    assert sanity["cascade"][0]["evidence"] == pytest.approx(1)
    assert sanity["cascade"][-1]["mask"] < 0.9
    assert {"mirrored", "right by 1", "down by 1"} == sanity["stability"].keys()


def test_what_was_written_scores_the_same_again(walls: Path) -> None:
    again = PROTOCOLS["activitynet"](walls / "segments_test.json", walls / "truth_test.json", [0.5, 0.7])
    scores = scores_of(walls)
    for level, value in zip((0.5, 0.7), again["map"]):
        assert value == pytest.approx(scores[f"when: mAP@{level}"]["estimate"]["value"], abs=1e-9)


def test_a_manifest_that_knows_when_and_where_is_measured_against(videos: Path) -> None:
    scores = scores_of(videos)
    assert {"accuracy", "when: mean tIoU", "where: mass inside", "where and when: pointing"} < scores.keys()
    assert {"Grad-CAM", "frame difference", "full frame", "centre box", "random box"} == set(
        scores["where: mass inside"]["controls"]
    )
    assert scores["when: mean tIoU"]["estimate"]["count"] == 6


def test_predictions_of_files_are_in_seconds_and_pixels(videos: Path) -> None:
    boxes = read_boxes(videos / "boxes_test.json", scored=True)
    truth = json.loads((videos / "truth_test.json").read_text())["database"]
    assert boxes.keys() == truth.keys()
    for name, video in boxes.items():
        duration = truth[name]["duration"]
        for tube in video.tubes:
            assert tube.times.max() <= duration
            assert tube.boxes.min() >= 0
            assert tube.boxes[:, 2].max() <= video.width
            assert tube.boxes[:, 3].max() <= video.height
        assert all((tube.frames.astype(float) / 8 == pytest.approx(tube.times, abs=2e-3)) for tube in video.tubes)
    segments = json.loads((videos / "segments_test.json").read_text())["results"]
    assert segments.keys() == truth.keys()


def test_boxes_of_files_score_against_their_manifest(videos: Path) -> None:
    manifest = videos.parent / "clips" / "manifest.csv"
    result = PROTOCOLS["frame-map"](videos / "boxes_test.json", manifest, [0.1], subset="test")
    assert result["videos"] == 6
    assert 0 <= result["map"][0] <= 1


def test_the_page_needs_nothing_else_and_says_what_is_lost(walls: Path, videos: Path) -> None:
    for run in (walls, videos):
        page = (run / "report_test.html").read_text()
        assert "http:" not in page.replace("http://www.w3.org", "")
        assert "https:" not in page
        lost = [name for name, score in scores_of(run).items() if score["verdict"].startswith("does not")]
        assert page.count('<tr class="lost">') == len(lost)
        assert all(html.escape(name) in page for name in lost)
    assert "data:image/jpeg" in (videos / "report_test.html").read_text()  # thumbnails of the files


def test_another_seed_of_the_data_is_another_hash(tiny_bank: Path, tmp_path: Path, walls: Path) -> None:
    config = config_for(tiny_bank, epochs=1)
    other = replace(config, data=replace(config.data, split_seed=1))
    first = json.loads((walls / "metrics_test.json").read_text())["data_sha256"]
    assert evaluated(other, tmp_path, faithful=0)["data_sha256"] != first
