from __future__ import annotations

import json
from pathlib import Path

import pytest

from whenwhere.cli import main
from whenwhere.evaluation.predictions import write_segment_truth, write_segments
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
    assert [lines[name][0].strip() for name in ("tIoU 0.2", "tIoU 0.6", "mean")] == ["75.0", "25.0", "50.0"]
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
        (["--tiou", "0.5", "1.5"], 2, "--tiou needs numbers above 0 and up to 1, got 1.5"),
        (["--tiou", "0"], 2, "--tiou needs numbers above 0"),
        (["--protocol", "paper", "--durations", "d.txt"], 2, "the protocol paper takes no --durations"),
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
