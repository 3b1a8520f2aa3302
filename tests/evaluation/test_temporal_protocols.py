from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whenwhere.evaluation.predictions import PredictionsError, write_segment_truth, write_segments
from whenwhere.evaluation.protocols import find_protocol
from whenwhere.structures import Segment

TEMPORAL = ["activitynet", "thumos14-2015", "paper", "per-frame"]
DURATIONS = {"a": 20.0, "b": 10.0}
TRUTH = {"a": [Segment(2, 6, "run"), Segment(10, 14, "walk")], "b": [Segment(0, 5, "run")]}


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return write_segment_truth(tmp_path / "truth.json", TRUTH, DURATIONS)


def predict(folder: Path, results: dict[str, list[Segment]]) -> Path:
    return write_segments(folder / "predictions.json", results)


def score(name: str, predictions: Path, truth: Path, **options: Any) -> dict[str, Any]:
    return find_protocol(name)(predictions, truth, **options)


@pytest.mark.parametrize("protocol", TEMPORAL)
def test_the_truth_scores_one_and_nothing_scores_zero(protocol: str, truth: Path, tmp_path: Path) -> None:
    perfect = score(protocol, predict(tmp_path, TRUTH), truth)
    assert set(perfect["map"]) == {1.0}
    assert all(set(values) == {1.0} for values in perfect["per_class"].values())
    assert list(perfect["per_class"]) == ["run", "walk"]
    assert (perfect["protocol"], perfect["n"], perfect["unit"], perfect["videos"]) == (protocol, 3, "segments", 2)
    assert perfect["predictions"] == 3
    nothing = score(protocol, predict(tmp_path, {}), truth)
    # Per frame, saying nothing is calling all frames alike: precision is the share of true ones.
    expected = (9 / 30 + 4 / 30) / 2 if protocol == "per-frame" else 0
    assert nothing["map"] == pytest.approx([expected] * len(nothing["map"]))


@pytest.mark.parametrize("protocol", TEMPORAL)
def test_controls_stand_beside_every_score(protocol: str, truth: Path, tmp_path: Path) -> None:
    result = score(protocol, predict(tmp_path, TRUTH), truth)
    assert len(result["controls"]) >= 2
    for name, values in result["controls"].items():
        assert "labels given" in name or "labels and" in name
        assert len(values) == len(result["map"])
        assert all(0 <= value <= 1 for value in values)


def test_thresholds_are_kept_in_order(truth: Path, tmp_path: Path) -> None:
    half = predict(tmp_path, {video: [Segment(s.start, (s.start + s.end) / 2, s.label) for s in found]
                              for video, found in TRUTH.items()})  # fmt: skip
    result = score("activitynet", half, truth, thresholds=[0.9, 0.5, 0.1])
    assert (result["tiou"], result["map"]) == ([0.9, 0.5, 0.1], [0, 1, 1])
    assert score("thumos14-2015", half, truth, thresholds=[0.9, 0.5, 0.1])["map"] == [0, 0, 1]


def test_all_frames_is_what_it_should_be(truth: Path, tmp_path: Path) -> None:
    result = score("activitynet", predict(tmp_path, TRUTH), truth, thresholds=[0.2, 0.3, 0.6])
    # run: 4 of 20 s and 5 of 10 s; walk: 4 of 20 s. At 0.3 only the second of the two runs is found.
    assert result["controls"]["all frames, labels given"][0] == 1
    assert result["controls"]["all frames, labels given"][1] in (1 / 2 * 1 / 2, 1 / 2 * 1 / 4)
    assert result["controls"]["all frames, labels given"][2] == 0
    frames = score("per-frame", predict(tmp_path, TRUTH), truth)["controls"]["all frames, labels given"]
    assert frames[0] <= 1 / 2


def test_without_durations_there_are_no_controls_and_it_is_said(tmp_path: Path) -> None:
    truth, predictions = write_segment_truth(tmp_path / "truth.json", TRUTH), predict(tmp_path, TRUTH)
    result = score("activitynet", predictions, truth)
    assert (result["controls"], result["map"]) == ({}, [1.0] * 10)
    assert "give --durations" in result["notes"][0]
    with pytest.raises(PredictionsError, match=r"needs the duration of every video, 2 of 2 are missing: a, b"):
        score("per-frame", predictions, truth)
    (tmp_path / "durations.txt").write_text("a 20 b 10")
    assert score("activitynet", predictions, truth, durations=tmp_path / "durations.txt")["controls"]


@pytest.mark.parametrize("protocol", TEMPORAL)
def test_strange_videos_and_classes_are_named(protocol: str, truth: Path, tmp_path: Path) -> None:
    extra = {"z": [Segment(0, 1, "run")], "a": [*TRUTH["a"], Segment(0, 1, "swim")], "b": TRUTH["b"]}
    notes = " ".join(score(protocol, predict(tmp_path, extra), truth)["notes"])
    assert "1 predictions are of videos that the truth does not have and " in notes
    assert "1 predictions are of classes that the truth does not have and count nowhere: swim" in notes
    assert ("are wrong: z" in notes) == (protocol in ("activitynet", "thumos14-2015"))


def test_the_papers_rule_takes_any_frame_for_granted(truth: Path, tmp_path: Path) -> None:
    everything = {video: [Segment(0, DURATIONS[video], label) for label in ("run", "walk")] for video in TRUTH}
    result = score("paper", predict(tmp_path, everything), truth)
    assert result["map"] == result["controls"]["all frames, labels given"] == [1.0] * 5
    assert "not an average precision" in result["notes"][0]
    wrong_label = {video: [Segment(s.start, s.end, "swim") for s in found] for video, found in TRUTH.items()}
    assert score("paper", predict(tmp_path, wrong_label), truth)["map"] == [0.0] * 5
    # The first run of 4 s stands for itself by 30 of its 41 frames, 2.0 to 4.9 s; of these 2.0 to 3.0 s are 11.
    part = score("paper", predict(tmp_path, {"a": [Segment(2, 3, "run")]}), truth, thresholds=[0.3, 0.36, 0.37])
    assert part["per_class"]["run"] == [1 / 2, 1 / 2, 0]


def test_per_frame_takes_the_best_segment_that_holds_a_frame(truth: Path, tmp_path: Path) -> None:
    # Frames 0-59 of a say 0.1, 20-59 among them 0.9; b is silent. 40 true ones first, then 20 wrong, then the rest.
    predictions = predict(tmp_path, {"a": [Segment(2, 6, "run", 0.9), Segment(0, 6, "run", 0.1)]})
    value = score("per-frame", predictions, truth)["per_class"]["run"][0]
    assert value == pytest.approx((40 * 1 + 50 * 90 / 300) / 90)
    with pytest.raises(PredictionsError, match="no thresholds"):
        score("per-frame", predictions, truth, thresholds=[0.5])


def test_ambiguous_segments_are_truth_for_the_kit_only(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "run_test.txt").write_text("a 0 4\n")
    (folder / "Ambiguous_test.txt").write_text("a 10 14\n")
    predictions = predict(tmp_path, {"a": [Segment(11, 12, "run", 0.9), Segment(0, 4, "run", 0.5)]})
    assert score("activitynet", predictions, folder, thresholds=[0.5])["map"] == [1 / 2]
    assert score("thumos14-2015", predictions, folder, thresholds=[0.5])["map"] == [1]
    (folder / "run_test.txt").unlink()
    for protocol in ("activitynet", "thumos14-2015", "paper"):
        with pytest.raises(PredictionsError, match="holds no segments to score against"):
            score(protocol, predictions, folder)


def test_published_predictions_score_what_their_authors_say(shared: Path) -> None:
    folder = shared / "annotations/thumos14"
    levels = np.round(np.arange(0.1, 1, 0.1), 1).tolist()
    files = folder / "stpn_predictions.json", folder / "ground_truth.json"
    durations = folder / "official_txt/test_durations.txt"
    result = score("activitynet", *files, thresholds=levels, subset="test", durations=durations)
    published = [52.1, 44.2, 34.7, 26.1, 17.7, 10.1, 4.9, 1.3, 0.1]
    np.testing.assert_allclose(100 * np.array(result["map"]), published, atol=0.1)
    assert (result["n"], result["videos"], result["predictions"], result["notes"]) == (3311, 210, 9151, [])
    assert all((np.array(result["map"]) > values).all() for values in result["controls"].values())
    # The paper's rule turns that round: at 0.1 a coin is better.
    recall = score("paper", *files)
    assert recall["map"][0] < recall["controls"]["random half, labels given"][0]
