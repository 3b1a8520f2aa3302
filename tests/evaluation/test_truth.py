from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from whenwhere.datasets.manifest import write_clips
from whenwhere.evaluation.predictions import PredictionsError, write_segment_truth
from whenwhere.evaluation.truth import read_durations, read_segment_truth, sample_names, video_names
from whenwhere.structures import Clip, Segment


def test_activitynet_truth_by_subset(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    write_segment_truth(path, {"a": [Segment(0, 1, "run"), Segment(2, 5, "walk")], "b": []}, {"a": 9.5})
    data = json.loads(path.read_text())
    data["database"]["c"] = {"subset": "training", "annotations": [{"label": "run", "segment": ["1.5", "2"]}]}
    path.write_text(json.dumps(data))
    test = read_segment_truth(path, "test")
    assert test.videos == ("a", "b")
    assert test.segments.segments.tolist() == [[0, 1], [2, 5]]
    assert test.durations == {"a": 9.5}
    assert read_segment_truth(path).segments.labels.tolist() == ["run", "walk", "run"]
    assert read_segment_truth(path, "training").segments.segments.tolist() == [
        [1.5, 2]
    ]  # numbers as text, as published
    with pytest.raises(PredictionsError, match="no subset 'validation'; it has test, training"):
        read_segment_truth(path, "validation")


def test_thumos14_lists_keep_their_order_and_the_ambiguous(tmp_path: Path) -> None:
    (tmp_path / "Run_test.txt").write_text("v2  5.0 6.0\nv1  3.0 4.0\n\nv1  1.0 2.0\n")
    (tmp_path / "Ambiguous_test.txt").write_text("v3  0.0 9.0\n")
    (tmp_path / "Run_val.txt").write_text("w1  0.0 1.0\n")
    truth = read_segment_truth(tmp_path, "test")
    assert truth.videos == ("v1", "v2", "v3")
    assert truth.segments.labels.tolist() == ["Ambiguous", "Run", "Run", "Run"]
    assert truth.segments.segments[1:, 0].tolist() == [5, 3, 1]
    assert "w1" in read_segment_truth(tmp_path).videos


@pytest.mark.parametrize("line", ["v1 3.0", "v1 four five", "v1 4 3", "v1 nan 3", "v1 0 inf"])
def test_a_line_that_does_not_read_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "Run_test.txt").write_text(f"v1 0 1\n{line}\n")
    with pytest.raises(PredictionsError, match=r"Run_test.txt, line 2: expected VIDEO START END"):
        read_segment_truth(tmp_path)


def test_a_manifest_is_truth(tmp_path: Path) -> None:
    clips = [
        Clip(str(tmp_path / "run" / "1.mp4"), "run", "test", segments=(Segment(0, 2, "run"),), duration=4.0),
        Clip(str(tmp_path / "run" / "2.mp4"), "run", "train", segments=(Segment(1, 2, "run"),)),
        Clip(str(tmp_path / "walk" / "3.mp4"), "walk", "test"),
    ]
    path = write_clips(clips, tmp_path / "manifest.csv")
    truth = read_segment_truth(path, "test")
    assert truth.videos == ("1", "3")
    assert truth.segments.videos.tolist() == ["1"]
    assert truth.durations == {"1": 4.0}
    assert read_segment_truth(tmp_path, "train").segments.segments.tolist() == [[1, 2]]


def test_videos_of_one_name_are_called_by_their_paths() -> None:
    assert video_names([Clip("x/run/1.mp4", "run"), Clip("x/walk/2.avi", "walk")]) == ["1", "2"]
    assert video_names([Clip("x/run/1.mp4", "run"), Clip("x/walk/1.avi", "walk")]) == ["run/1", "walk/1"]
    assert video_names([]) == []


def test_durations_by_turns_on_one_line_or_two(tmp_path: Path) -> None:
    path = tmp_path / "durations.txt"
    path.write_text("/data/test/a.mp4\n51.5\nb 7\n")
    assert read_durations(path) == {"a": 51.5, "b": 7.0}
    for text in ("a 1 b", "a one", "a 0", "a nan"):
        path.write_text(text)
        with pytest.raises(PredictionsError, match="seconds by turns"):
            read_durations(path)
    with pytest.raises(PredictionsError, match=r"none.txt.*cannot be read"):
        read_durations(tmp_path / "none.txt")


def test_durations_of_a_file_stand_beside_those_of_the_truth(tmp_path: Path) -> None:
    path = write_segment_truth(tmp_path / "t.json", {"a": [Segment(0, 1, "x")], "b": []}, {"a": 3.0})
    (tmp_path / "d.txt").write_text("b 5\n")
    assert read_segment_truth(path, durations=tmp_path / "d.txt").durations == {"a": 3.0, "b": 5.0}


@pytest.mark.parametrize(
    "video, words",
    [
        (3, "expected an object with subset and annotations"),
        ({"subset": "test", "annotations": [], "duration": -1}, "duration must be seconds above 0, found -1"),
        ({"subset": "test", "annotations": [{"label": "x"}]}, "video a, segment 1: .*no 'segment'"),
        ({"subset": "test"}, "holds no segments"),
    ],
)
def test_mistakes_in_truth_name_the_video(tmp_path: Path, video: object, words: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"database": {"a": video}}))
    with pytest.raises(PredictionsError, match=words):
        read_segment_truth(path)


def test_nothing_there_says_what_was_expected(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(PredictionsError, match=r"no such truth: .*; expected ActivityNet ground truth"):
            read_segment_truth(path)


def test_the_official_lists_read(shared: Path) -> None:
    folder = shared / "annotations/thumos14/official_txt"
    truth = read_segment_truth(folder / "temporal_annotations_test", "test", folder / "test_durations.txt")
    assert len(truth.videos) == 213
    assert np.isin(truth.videos, list(truth.durations)).all()
    ambiguous = truth.segments.labels == "Ambiguous"
    assert (ambiguous.sum(), (~ambiguous).sum()) == (99, 3358)


def test_samples_that_are_no_files_are_called_by_their_number() -> None:
    assert sample_names(None, "test", 2) == ["test-00000", "test-00001"]


def test_clips_of_one_name_are_told_apart() -> None:
    clips = [Clip(f"/clips/{name}", "a") for name in ("one.mp4", "one.avi", "two.mp4")]
    assert sample_names(clips, "val", 3) == ["one", "one#2", "two"]
