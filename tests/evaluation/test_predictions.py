from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from whenwhere.evaluation.predictions import (
    PredictionsError,
    Tube,
    VideoTubes,
    read_boxes,
    read_segments,
    write_boxes,
    write_json,
    write_segments,
)
from whenwhere.structures import Segment


def write(path: Path, data: object) -> Path:
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_segments_come_back_as_they_were_written(tmp_path: Path) -> None:
    results = {"a": [Segment(0, 1.5, "run", 0.25), Segment(2, 3, "walk", -1.0)], "empty": [], "b": []}
    path = write_segments(tmp_path / "new" / "predictions.json", results, {"used": True, "details": "ImageNet"})
    table = read_segments(path)
    assert table.videos.tolist() == ["a", "a"]
    assert table.labels.tolist() == ["run", "walk"]
    assert table.segments.tolist() == [[0, 1.5], [2, 3]]
    assert table.scores is not None
    assert table.scores.tolist() == [0.25, -1.0]
    data = json.loads(path.read_text())
    assert set(data) == {"version", "results", "external_data"}
    assert list(data["results"]) == ["a", "empty", "b"]
    assert [file.name for file in path.parent.iterdir()] == ["predictions.json"]


def test_a_file_without_segments_is_an_empty_table(tmp_path: Path) -> None:
    table = read_segments(write(tmp_path / "p.json", {"results": {}}))
    assert len(table) == 0
    assert table.scores is not None
    assert table.scores.shape == (0,)


def test_published_predictions_read(shared: Path) -> None:
    table = read_segments(shared / "annotations/thumos14/stpn_predictions.json")
    assert len(table) == 9151
    assert len(np.unique(table.videos)) == 209
    assert len(np.unique(table.labels)) == 20


GOOD = {"label": "run", "segment": [0, 1], "score": 0.5}


@pytest.mark.parametrize(
    "data, words",
    [
        ("{", "is not JSON"),
        ([], "expected an object under 'results', found a list"),
        ({"database": {}}, r"expected an object under 'results', found the keys \['database'\]"),
        ({"results": {"a": 1}}, "video a: expected a list of segments, found 1"),
        ({"results": {"a": [GOOD, {"label": "run", "segment": [0, 1]}]}}, "video a, segment 2: .*no 'score'"),
        ({"results": {"a": [{**GOOD, "segment": [1, 0]}]}}, "ends before it starts: 1.0 to 0.0"),
        ({"results": {"a": [{**GOOD, "segment": [1]}]}}, "video a, segment 1"),
        ({"results": {"a": [{**GOOD, "segment": "1"}]}}, "video a, segment 1"),
        ({"results": {"a": [{**GOOD, "score": "high"}]}}, "video a, segment 1"),
        ({"results": {"a": [7]}}, "video a, segment 1: .*found 7"),
        ('{"results": {"a": [{"label": "run", "segment": [0, NaN], "score": 1}]}}', "segment must be finite"),
        ('{"results": {"a": [{"label": "run", "segment": [0, 1], "score": Infinity}]}}', "score must be finite"),
    ],
)
def test_mistakes_in_predictions_name_file_video_and_entry(tmp_path: Path, data: object, words: str) -> None:
    path = write(tmp_path / "predictions.json", data)
    with pytest.raises(PredictionsError, match=words) as caught:
        read_segments(path)
    assert str(path) in str(caught.value)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        PredictionsError, match=r"cannot be read: No such file.*expected predictions as ActivityNet JSON"
    ):
        read_segments(tmp_path / "none.json")


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 1


def tubes() -> dict[str, VideoTubes]:
    boxes = np.array([[0, 0, 10, 20], [-5.5, 1, 11, 21.25]])
    scored = Tube("run", np.array([3, 5]), np.array([0.12, 0.2]), boxes, 0.5, np.array([0.25, 0.75]))
    return {
        "a": VideoTubes(320, 240, (scored, Tube("walk", np.array([0]), np.array([0.0]), boxes[:1]))),
        "b": VideoTubes(1, 1),
    }


def test_boxes_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = write_boxes(tmp_path / "boxes.json", tubes())
    back = read_boxes(path)
    assert list(back) == ["a", "b"]
    assert (back["a"].width, back["a"].height, back["b"].tubes) == (320, 240, ())
    for tube, written in zip(back["a"].tubes, tubes()["a"].tubes):
        assert (tube.label, tube.score) == (written.label, written.score)
        for name in ("frames", "times", "boxes", "scores"):
            np.testing.assert_array_equal(getattr(tube, name), getattr(written, name))
    entry = json.loads(path.read_text())["videos"]["a"]["tubes"]
    assert "score" not in entry[1]
    assert "scores" not in entry[1]
    with pytest.raises(PredictionsError, match="video a, tube 2: no score; predictions need one"):
        read_boxes(path, scored=True)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"boxes": [[0, 0, 1]]}, r"boxes must be one or more \[x0, y0, x1, y1\]"),
        ({"boxes": []}, "boxes must be one or more"),
        ({"boxes": 5}, "boxes must be one or more"),
        ({"boxes": [[0, 0, -1, 1]]}, "finite with x0 <= x1"),
        ({"boxes": [[0, 0, float("nan"), 1]]}, "finite with x0 <= x1"),
        ({"frames": [0, 1]}, "frames must be 1 numbers, one a box"),
        ({"frames": [0.5]}, "whole numbers from 0 that rise"),
        ({"frames": [-1]}, "whole numbers from 0 that rise"),
        ({"times": [float("nan")]}, "times must be finite"),
        ({"scores": [[0.5]]}, "scores must be 1 numbers"),
        ({"score": float("inf")}, "score must be finite"),
        ({"label": 3}, "label must be a name"),
        ({"boxes": [["left", 0, 1, 1]]}, "could not convert string to float"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_mistakes_in_boxes_name_file_video_and_tube(tmp_path: Path, change: dict, words: str) -> None:
    tube = {"label": "run", "score": 0.5, "frames": [0], "times": [0.0], "boxes": [[0, 0, 1, 1]], **change}
    data = {"version": 1, "format": "whenwhere-boxes", "videos": {"a": {"width": 8, "height": 8, "tubes": [tube]}}}
    path = write(tmp_path / "boxes.json", data)
    with pytest.raises(PredictionsError, match=words) as caught:
        read_boxes(path)
    assert f"{path}, video a, tube 1" in str(caught.value)


@pytest.mark.parametrize(
    "data, words",
    [
        ({"version": 2, "format": "whenwhere-boxes", "videos": {}}, "expected format 'whenwhere-boxes', version 1"),
        ({"results": {}}, "expected an object under 'videos'"),
        ({"version": 1, "format": "whenwhere-boxes", "videos": {"a": [1]}}, r"video a: expected an object .* \[1\]"),
        ({"version": 1, "format": "whenwhere-boxes", "videos": {"a": {"tubes": [[1]]}}}, "list 'tubes' of objects"),
        ({"version": 1, "format": "whenwhere-boxes", "videos": {"a": {"tubes": []}}}, "'width' is missing"),
        (
            {"version": 1, "format": "whenwhere-boxes", "videos": {"a": {"width": 0, "height": 1, "tubes": []}}},
            "width must be a whole number of pixels above 0",
        ),
    ],
)
def test_other_files_are_no_boxes(tmp_path: Path, data: object, words: str) -> None:
    with pytest.raises(PredictionsError, match=words):
        read_boxes(write(tmp_path / "boxes.json", data))


def test_times_may_be_missing(tmp_path: Path) -> None:
    tube = Tube("run", np.array([3]), None, np.array([[0, 0, 1, 1]]), 0.5)
    path = write_boxes(tmp_path / "boxes.json", {"a": VideoTubes(8, 8, (tube,))})
    assert "times" not in json.loads(path.read_text())["videos"]["a"]["tubes"][0]
    (back,) = read_boxes(path)["a"].tubes
    assert (back.times, back.frames.tolist(), back.box_scores.tolist()) == (None, [3], [0.5])


def test_frames_and_times_of_a_tube_go_forward() -> None:
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    with pytest.raises(ValueError, match="that rise"):
        Tube("run", np.array([1, 1]), np.array([0.0, 0.1]), boxes)
    with pytest.raises(ValueError, match="times must not fall"):
        Tube("run", np.array([1, 2]), np.array([0.2, 0.1]), boxes)
