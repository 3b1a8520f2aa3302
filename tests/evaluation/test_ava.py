"""AVA's files: the fixture whose mAP is known, files of our own, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import pytest

from whenwhere.evaluation.ava import AvaRow, read_action_list, read_ava
from whenwhere.evaluation.ava_protocol import ava
from whenwhere.evaluation.predictions import PredictionsError
from whenwhere.evaluation.spatial_controls import CENTRE_BOX, FULL_FRAME

TRUTH = "a,0902,0.1,0.1,0.5,0.5,1,0\na,0902,0.1,0.1,0.5,0.5,2,0\nb,0903,0.2,0.2,0.9,0.9,1,1\n"
PREDICTED = "a,0902,0.1,0.1,0.5,0.5,1,0.9\nb,0903,0.2,0.2,0.9,0.9,1,0.8\na,0902,0.6,0.6,0.9,0.9,2,0.7\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_fixture_scores_as_published(shared: Path) -> None:
    folder = shared / "annotations/frame_ap_fixture"
    result = ava(folder / "pred.csv", folder / "gt.csv", (0.5,))
    assert result["map"] == [pytest.approx(0.09385522, abs=1e-6)]
    assert list(result["per_class"]) == ["action1", "action2", "action3"]
    assert (result["n"], result["unit"], result["videos"], result["iou"]) == (3, "frames", 3, [0.5])


def test_boxes_with_several_labels_count_for_each(tmp_path: Path) -> None:
    truth, predicted = write(tmp_path, "gt.csv", TRUTH), write(tmp_path, "pred.csv", PREDICTED)
    result = ava(predicted, truth, (0.5, 0.9))
    assert result["per_class"] == {"1": [1, 1], "2": [0, 0]}
    assert result["map"] == [0.5, 0.5]
    assert ava(truth.with_name("pred.csv"), truth, (0.5,), action_list=_list(tmp_path, '1: "sit"'))["per_class"] == {
        "sit": [1]
    }


def _list(folder: Path, *items: str) -> Path:
    pairs = [item.split(": ") for item in items]
    return write(
        folder, "list.txt", "".join(f"item {{\n  name: {name}\n  id: {number}\n}}\n" for number, name in pairs)
    )


def test_a_list_beside_the_truth_is_found(tmp_path: Path) -> None:
    truth, predicted = write(tmp_path, "gt.csv", TRUTH), write(tmp_path, "pred.csv", PREDICTED)
    _list(tmp_path, '2: "stand"', '7: "never"').rename(tmp_path / "action_list.txt")
    assert ava(predicted, truth, (0.5,))["per_class"] == {"stand": [0]}  # "never" has no truth: no AP
    _list(tmp_path, '7: "never"').rename(tmp_path / "action_list.txt")
    with pytest.raises(PredictionsError, match=r"no boxes of the labels that count: \[7\]"):
        ava(predicted, truth, (0.5,))


def test_controls_are_told_labels_and_frames(tmp_path: Path) -> None:
    truth = write(tmp_path, "gt.csv", "a,1,0.25,0.25,0.75,0.75,1\na,1,0,0,1,1,2\na,1,0,0,0.5,1,2\n")
    result = ava(write(tmp_path, "none.csv", ""), truth, (0.5, 0.9))
    assert result["controls"][CENTRE_BOX] == [1 / 2, 1 / 2]
    assert result["controls"][FULL_FRAME] == [1 / 4, 1 / 4]  # one of two boxes of the second label
    assert all("labels and frames given" in name for name in result["controls"])


def test_strange_labels_and_videos_are_named(tmp_path: Path) -> None:
    truth = write(tmp_path, "gt.csv", "a,1,0,0,1,1,1\n")
    rows = "a,1,0,0,1,1,1,0.5\na,1,0,0,1,1,2,0.9\nz,1,0,0,1,1,1,0.9\n"
    result = ava(write(tmp_path, "pred.csv", rows), truth)
    assert result["map"] == [1 / 2]  # a box in a video without truth is wrong, one of an unknown label is nothing
    assert "1 predictions are of videos that the truth does not have and are wrong: z" in result["notes"]
    assert "1 predictions are of labels that the truth does not have and count nowhere: 2" in result["notes"]


def test_a_detection_of_a_taken_truth_is_wrong_even_if_another_is_near(tmp_path: Path) -> None:
    truth = write(tmp_path, "gt.csv", "a,1,0,0,0.5,0.5,1\na,1,0.1,0,0.6,0.5,1\n")
    predicted = write(tmp_path, "pred.csv", "a,1,0,0,0.5,0.5,1,0.9\na,1,0.01,0,0.51,0.5,1,0.8\n")
    assert ava(predicted, truth, (0.5,))["map"] == [0.5]


def test_no_predictions_score_zero_and_boxes_without_area_are_passed_over(tmp_path: Path) -> None:
    truth = write(tmp_path, "gt.csv", TRUTH)
    assert ava(write(tmp_path, "none.csv", ""), truth, (0.5,))["map"] == [0]
    flat = "a,902,0.9,0.1,0.5,0.5,1,0.99\n\n" + PREDICTED
    assert ava(write(tmp_path, "flat.csv", flat), truth, (0.5,)) == ava(
        write(tmp_path, "pred.csv", PREDICTED), truth, (0.5,)
    )
    with pytest.raises(PredictionsError, match=r"line 1: a true box needs x0 < x1"):
        ava(write(tmp_path, "pred.csv", ""), write(tmp_path, "gt.csv", "a,1,0.5,0,0.5,1,1\n"), (0.5,))


def test_rows_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, "gt.csv", "a,0902,0.1,0.2,0.3,0.4,12\n")
    assert read_ava(path, scored=False) == [AvaRow("a", 902, 12, (0.1, 0.2, 0.3, 0.4), 1.0)]


@pytest.mark.parametrize(
    "line, scored, words",
    [
        ("a,1,0,0,1,1,1", True, "line 2: expected video, second, x0, y0, x1, y1, label, score, found 7 columns"),
        ("a,1,0,0,1", False, "line 2: expected .* and perhaps person, found 5 columns"),
        ("a,1,0,0,1,1,sit,0.5", True, "line 2: expected numbers"),
        ("a,1,0,0,nan,1,1,0.5", True, "line 2: numbers must be finite"),
        ("a,1,0,0,1,1,1,inf", True, "line 2: numbers must be finite"),
        ("a,inf,0,0,1,1,1,0.5", True, "line 2: expected numbers"),
        ("a,-1,0,0,1,1,1,0.5", True, "line 2: .* second and the label >= 0"),
    ],
)
def test_lines_that_do_not_read_are_named(tmp_path: Path, line: str, scored: bool, words: str) -> None:
    path = write(tmp_path, "file.csv", f"a,1,0,0,1,1,1{',0.5' if scored else ''}\n{line}\n")
    with pytest.raises(PredictionsError, match=words):
        read_ava(path, scored)


def test_files_that_are_not_there_or_hold_something_else(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match=r"missing.csv cannot be read as a CSV"):
        read_ava(tmp_path / "missing.csv", scored=True)
    (tmp_path / "video.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(PredictionsError, match="cannot be read as a CSV"):
        read_ava(tmp_path / "video.csv", scored=True)


def test_label_maps_in_both_spellings(tmp_path: Path) -> None:
    assert read_action_list(_list(tmp_path, '3: "fall down"', '1: "bend"')) == {3: "fall down", 1: "bend"}
    official = 'label {\n  name: "bend/bow (at the waist)"\n  label_id: 1\n  label_type: PERSON_MOVEMENT\n}\n'
    assert read_action_list(write(tmp_path, "official.pbtxt", official)) == {1: "bend/bow (at the waist)"}
    with pytest.raises(PredictionsError, match="holds no labels"):
        read_action_list(write(tmp_path, "empty.txt", "1 bend\n"))
    with pytest.raises(PredictionsError, match="every item needs a name in quotes and an id"):
        read_action_list(write(tmp_path, "half.txt", "item {\n  id: 1\n}\n"))
    with pytest.raises(PredictionsError, match="cannot be read as a label map"):
        read_action_list(tmp_path / "missing.txt")
