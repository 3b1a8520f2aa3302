from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whenwhere.cli import main
from whenwhere.evaluation.box_truth import read_box_truth
from whenwhere.evaluation.predictions import Tube, VideoTubes, write_boxes, write_segment_truth, write_segments
from whenwhere.structures import Segment


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """One of two runs is found, and the jump at half its length."""
    truth = {"a": [Segment(2, 6, "run"), Segment(10, 14, "run")], "b": [Segment(0, 5, "jump [high]")]}
    found = {"a": [Segment(2, 6, "run", 0.9)], "b": [Segment(0, 2.5, "jump [high]", 0.5), Segment(0, 1, "swim", 0.1)]}
    write_segment_truth(tmp_path / "truth.json", truth, {"a": 20.0, "b": 25.0})
    write_segments(tmp_path / "predictions.json", found)
    return [str(tmp_path / "predictions.json"), "--truth", str(tmp_path / "truth.json"), "--protocol", "activitynet"]


def test_json_has_one_value_a_threshold(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", *files, "--tiou", "0.3", "0.6", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["map"] == [0.75, 0.25]
    assert result["tiou"] == [0.3, 0.6]
    assert result["per_class"] == {"jump [high]": [1, 0], "run": [0.5, 0.5]}


def test_the_table_shows_controls_classes_and_what_is_odd(
    files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["score", *files, "--tiou", "0.2", "0.6", "--per-class"]) == 0
    said = capsys.readouterr()
    assert "activitynet: 3 segments in 2 videos" in said.out
    lines = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in said.out.splitlines() if "│" in line}
    assert [cell.strip() for cell in lines["jump [high]"]] == ["100.0", "0.0", "50.0"]
    # Videos a, b, or either of them twice: half of the runs and all of the jumps, so 0.5 to 1, and 0 to 0.5.
    assert [lines[name][0].strip() for name in ("tIoU 0.2", "tIoU 0.6", "mean")] == [
        "75.0 (50.0 to 100.0)",
        "25.0 (0.0 to 50.0)",
        "50.0",
    ]
    assert main(["score", *files, "--tiou", "0.2", "--resamples", "0"]) == 0
    assert " 75.0 " in capsys.readouterr().out.replace("│", " ")
    assert "all frames, labels given" in said.out
    assert "1 predictions are of classes that the truth does not have and count nowhere: swim" in said.err


def test_predictions_that_a_control_equals_are_told_so(
    files: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_segments(tmp_path / "predictions.json", {})
    assert main(["score", *files, "--tiou", "0.2", "0.9"]) == 0
    said = capsys.readouterr().err
    assert "not better than the control 'all frames, labels given' at 0.2, 0.9" in said


@pytest.mark.parametrize(
    "change, status, words",
    [
        (["--tiou", "0.5", "1.5"], 2, "--tiou (or --iou) needs numbers above 0 and up to 1, got 1.5"),
        (["--tiou", "0"], 2, "--tiou (or --iou) needs numbers above 0"),
        (["--protocol", "paper", "--durations", "d.txt"], 2, "the protocol paper takes no --durations"),
        (["--protocol", "video-map", "--action_list", "a.txt"], 2, "the protocol video-map takes no --action_list"),
        (["--resamples", "-1"], 2, "--resamples must be 0 or more, got -1"),
        (["--protocol", "video-map"], 1, "is not boxes as whenwhere-boxes JSON: expected an object under 'videos'"),
        (["--protocol", "per-frame", "--tiou", "0.5"], 1, "per-frame has no thresholds"),
        (["--subset", "val"], 1, "no subset 'val'; it has test"),
        (["--truth", "nowhere.csv"], 1, "no such truth: nowhere.csv"),
        (["--durations", "nowhere.txt"], 1, "nowhere.txt"),
    ],
)
def test_mistakes_end_in_a_sentence(
    files: list[str], capsys: pytest.CaptureFixture[str], change: list[str], status: int, words: str
) -> None:
    assert main(["score", *files, *change]) == status
    said = capsys.readouterr().err
    assert words in said
    assert said.startswith("whenwhere score: ")
    assert "Traceback" not in said


def test_predictions_that_do_not_read_end_in_a_sentence(
    files: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    entry = '{"label": "run", "segment": [0, NaN], "score": 1}'
    (tmp_path / "predictions.json").write_text(f'{{"results": {{"a": [{entry}]}}}}')
    assert main(["score", *files]) == 1
    assert "predictions.json, video a, segment 1: " in capsys.readouterr().err


def scored(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    assert main(["score", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_published_segments_score_what_their_authors_say(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared / "annotations/thumos14"
    levels = [f"0.{tenth}" for tenth in range(1, 10)]
    files = [folder / "stpn_predictions.json", "--truth", folder / "ground_truth.json"]
    result = scored(capsys, *files, "--protocol", "activitynet", "--tiou", *levels)
    published = [52.1, 44.2, 34.7, 26.1, 17.7, 10.1, 4.9, 1.3, 0.1]
    assert [100 * value for value in result["map"]] == pytest.approx(published, abs=0.1)
    assert all(low < value < high for low, value, high in zip(result["low"], result["map"], result["high"]))


def test_the_fixture_of_ava_scores_as_published(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared / "annotations/frame_ap_fixture"
    files = [folder / "pred.csv", "--truth", folder / "gt.csv", "--protocol", "ava"]
    for more in ([], ["--iou", "0.5"], ["--action_list", folder / "action_list.txt"]):
        result = scored(capsys, *files, *more)
        assert result["map"] == [pytest.approx(0.09385522, abs=1e-6)]
        assert list(result["per_class"]) == ["action1", "action2", "action3"]
        assert (result["n"], result["unit"], result["videos"], result["iou"]) == (3, "frames", 3, [0.5])


@pytest.fixture(scope="module")
def ucf101_24_files(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A box of half width and height on every annotated frame of UCF101-24's test videos; and the truth's file."""
    source = shared / "annotations/ucf101_24/finalAnnots.mat"
    boxes = {}
    for name, tubes in read_box_truth(source).tubes.items():
        frames = np.unique(np.concatenate([tube.frames for tube in tubes]))
        corners = np.tile([80, 60, 240, 180], (len(frames), 1))
        boxes[name] = VideoTubes(320, 240, (Tube(name.split("/")[0], frames, None, corners, 1.0),))
    return write_boxes(tmp_path_factory.mktemp("ucf") / "centre.json", boxes), source


@pytest.mark.slow
def test_the_centre_box_scores_what_the_papers_rule_gives_it(
    ucf101_24_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    predicted, truth = ucf101_24_files
    result = scored(capsys, predicted, "--truth", truth, "--protocol", "paper-boxes")
    expected = pytest.approx([91.5, 83.4, 65.1, 46.2], abs=0.1)
    assert [100 * value for value in result["map"]] == expected
    assert [100 * value for value in result["controls"]["centre box, labels and frames given"]] == expected
    assert (result["videos"], result["n"], result["iou"]) == (910, 129272, [0.05, 0.1, 0.2, 0.3])


@pytest.mark.slow
def test_910_videos_are_scored_within_a_minute(
    ucf101_24_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    predicted, truth = ucf101_24_files
    levels = [str(twentieth / 20) for twentieth in range(1, 20)]
    start = time.perf_counter()
    result = scored(capsys, predicted, "--truth", truth, "--protocol", "video-map", "--iou", *levels)
    assert time.perf_counter() - start < 60
    assert (result["n"], len(result["per_class"]), len(result["map"])) == (910, 24, 19)
    assert result["map"] == sorted(result["map"], reverse=True)
    assert result["map"][0] > 0.5 > result["map"][9] > 0


@pytest.mark.parametrize("protocol", ["frame-map", "video-map", "act-frame-map", "act-video-map", "paper-boxes"])
def test_boxes_are_scored_beside_controls(protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes = np.array([[0.0, 0.0, 40.0, 30.0]] * 2)
    truth = {name: VideoTubes(80, 60, (Tube("run", np.arange(2), None, boxes),)) for name in ("a", "b")}
    found = {"a": VideoTubes(80, 60, (Tube("run", np.arange(2), None, boxes, 0.5),))}
    files = [write_boxes(tmp_path / "p.json", found), "--truth", write_boxes(tmp_path / "t.json", truth)]
    result = scored(capsys, *files, "--protocol", protocol, "--iou", "0.2", "0.9")
    # Points of the line from precision 1 at recall 0 to 1 at 1/2: the same area by every rule.
    assert (result["map"], result["low"], result["high"]) == ([0.5, 0.5], [0, 0], [1, 1])
    # A quarter of the frame and a box in the middle of the same size: 1/4 and 1/7 of the union.
    assert result["controls"]["full frame, labels and frames given"] == [1, 0]
    assert result["controls"]["centre box, labels and frames given"] == [0, 0]
    assert main(["score", *map(str, files), "--protocol", protocol, "--iou", "0.2", "0.9"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{protocol}: ")
    assert "not better than the control 'full frame, labels and frames given' at 0.2\n" in said.err
    assert "centre box" not in said.err
