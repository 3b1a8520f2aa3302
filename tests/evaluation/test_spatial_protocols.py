"""Protocols from files: small cases made by hand, and what does not fit together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from whenwhere.datasets.manifest import write_clips
from whenwhere.evaluation.box_truth import read_box_truth
from whenwhere.evaluation.predictions import PredictionsError
from whenwhere.evaluation.spatial_controls import CENTRE_BOX, FULL_FRAME, RANDOM_BOX
from whenwhere.evaluation.spatial_protocols import act_frame_map, act_video_map, frame_map, paper_boxes, video_map
from whenwhere.structures import Box, Clip

BOX, HALF, ELSEWHERE = [0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]
MEANS = pytest.mark.parametrize("protocol", [frame_map, video_map, act_frame_map, act_video_map])
Protocol = Callable[..., dict[str, Any]]


def tube(frames: Any, box: list[float], score: float | None = None, label: str = "run", **more: Any) -> dict[str, Any]:
    frames = list(frames)
    scored = {} if score is None else {"score": score}
    return {"label": label, "frames": frames, "boxes": [box] * len(frames)} | scored | more


def write(path: Path, videos: dict[str, list[dict[str, Any]]], **more: Any) -> Path:
    content = {name: {"width": 320, "height": 240, "tubes": tubes} for name, tubes in videos.items()}
    path.write_text(json.dumps({"version": 1, "format": "whenwhere-boxes", "videos": content, **more}))
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Two videos with an actor each, one of them with a second class, and one without action."""
    videos = {
        "run/a": [tube(range(4), BOX)],
        "run/b": [tube(range(2, 8), BOX), tube(range(5), [20, 20, 40, 40], label="jump")],
        "still/c": [],
    }
    return write(tmp_path / "truth.json", videos)


@MEANS
def test_the_truth_as_prediction_scores_one(protocol: Protocol, truth: Path, tmp_path: Path) -> None:
    videos = {"run/a": [tube(range(4), BOX, 0.2)]}
    videos["run/b"] = [tube(range(2, 8), BOX, 0.7), tube(range(5), [20, 20, 40, 40], 0.1, label="jump")]
    result = protocol(write(tmp_path / "p.json", videos), truth, (0.2, 0.5, 1.0))
    assert result["map"] == [1, 1, 1]
    assert result["per_class"] == {"jump": [1, 1, 1], "run": [1, 1, 1]}
    assert result["videos"] == 3
    # 4 frames of a, 8 of b: the two actors share 3.
    assert (result["n"], result["unit"]) == ((12, "frames") if "frame" in result["protocol"] else (3, "videos"))
    json.dumps(result, allow_nan=False)


@MEANS
def test_no_predictions_score_zero(protocol: Protocol, truth: Path, tmp_path: Path) -> None:
    for videos in ({}, {"run/a": []}):
        assert protocol(write(tmp_path / "p.json", videos), truth, (0.5,))["map"] == [0]


def test_what_distinguishes_the_protocols(truth: Path, tmp_path: Path) -> None:
    # In a: half the box on the frames, and two frames too many. Other truths of the class: 6 frames, one tube, missed.
    predicted = write(tmp_path / "p.json", {"run/a": [tube(range(6), HALF, 0.9)]})
    iou = (0.3, 0.5, 0.54)
    assert video_map(predicted, truth, iou)["per_class"]["run"] == [0.5, 0, 0]  # 4 / 6 x 1 / 2
    assert act_video_map(predicted, truth, iou)["per_class"]["run"] == [0.5, 0, 0]  # 4 / 6 x 6 / 11
    # Four of six frames are right, in the order given: precision 1 until recall 4 / 10.
    assert frame_map(predicted, truth, iou)["per_class"]["run"] == pytest.approx([0.4, 0.4, 0])
    assert act_frame_map(predicted, truth, iou)["per_class"]["run"] == pytest.approx([0.4, 0.4, 0.4])


def test_scores_of_boxes_rank_frames_and_those_of_tubes_rank_tubes(truth: Path, tmp_path: Path) -> None:
    wrong = tube(range(4), ELSEWHERE, 0.9, scores=[0.1] * 4)
    right = tube(range(4), BOX, 0.8, scores=[0.7] * 4)
    predicted = write(tmp_path / "p.json", {"run/a": [wrong, right]})
    assert frame_map(predicted, truth, (0.5,))["per_class"]["run"] == pytest.approx([4 / 10])
    assert video_map(predicted, truth, (0.5,))["per_class"]["run"] == pytest.approx([1 / 2 * 1 / 2])


def test_classes_and_videos_the_truth_does_not_have_are_left_out(truth: Path, tmp_path: Path) -> None:
    videos = {"run/a": [tube(range(4), BOX, 0.5), tube(range(4), BOX, 0.9, label="swim")]}
    alone = video_map(write(tmp_path / "p.json", videos), truth, (0.5,))
    videos["run/z"] = [tube(range(4), BOX, 0.99)]
    with_more = video_map(write(tmp_path / "p.json", videos), truth, (0.5,))
    assert (with_more["map"], with_more["per_class"]) == (alone["map"], alone["per_class"])
    assert list(alone["per_class"]) == ["jump", "run"]
    assert (alone["predictions"], with_more["predictions"]) == (2, 3)
    assert alone["notes"] == ["1 predictions are of classes that the truth does not have and count nowhere: swim"]
    assert "videos that the truth does not have and count nowhere: run/z" in with_more["notes"][0]
    boxes = frame_map(tmp_path / "p.json", truth)
    assert boxes["predictions"] == 12
    assert boxes["notes"][0].startswith("4 predictions are of videos")


def test_a_false_alarm_in_a_video_without_action_counts(truth: Path, tmp_path: Path) -> None:
    videos = {"run/a": [tube(range(4), BOX, 0.5)], "still/c": [tube(range(4), BOX, 0.9)]}
    assert video_map(write(tmp_path / "p.json", videos), truth, (0.5,))["per_class"]["run"] == [1 / 4]


def test_names_fit_without_folder_and_suffix_but_never_two(truth: Path, tmp_path: Path) -> None:
    full = video_map(write(tmp_path / "p.json", {"run/a": [tube(range(4), BOX, 0.5)]}), truth, (0.5,))
    for name in ("a", "a.avi", "videos/a.mp4"):
        assert video_map(write(tmp_path / "p.json", {name: [tube(range(4), BOX, 0.5)]}), truth, (0.5,)) == full
    with pytest.raises(PredictionsError, match=r"'run/a' come under more than one name, one of them 'a.avi'"):
        video_map(write(tmp_path / "p.json", {"run/a": [], "a.avi": []}), truth, (0.5,))
    with pytest.raises(PredictionsError, match=r"none of the 3 videos .* such as 'x', expected such as 'run/a'"):
        video_map(write(tmp_path / "p.json", {"x": []}), truth, (0.5,))
    twice = write(tmp_path / "t.json", {"p/a": [tube([0], BOX)], "q/a": [tube([0], BOX)]})
    with pytest.raises(PredictionsError, match=r"'a' fit \['p/a', 'q/a'\]"):
        video_map(write(tmp_path / "p.json", {"a": []}), twice, (0.5,))


def test_the_papers_rule_takes_the_first_tube_and_the_surest_box(truth: Path, tmp_path: Path) -> None:
    sure = tube(range(2, 5), BOX, 0.9, label="jump")  # whatever its label
    unsure = tube(range(2, 8), ELSEWHERE, 0.5)
    result = paper_boxes(write(tmp_path / "p.json", {"run/b": [unsure, sure]}), truth, (0.5,))
    assert result["map"] == [3 / 10]  # 4 frames of a without a box, 6 of the first tube of b
    assert result["per_class"] == {"run": [3 / 10]}
    assert (result["n"], result["unit"], result["videos"], result["predictions"]) == (10, "frames", 2, 9)
    assert "not an average precision" in result["notes"][0]
    assert "4 of 10 frames have no box and are misses" in result["notes"]
    by_frame = [tube(range(2, 8), BOX, 0.5, scores=[0.1, 0.1, 0.1, 0.9, 0.9, 0.9]), tube(range(2, 8), ELSEWHERE, 0.5)]
    assert paper_boxes(write(tmp_path / "p.json", {"run/b": by_frame}), truth, (0.5,))["map"] == [3 / 10]
    nothing = paper_boxes(write(tmp_path / "p.json", {}), truth)
    assert (nothing["iou"], nothing["map"]) == ([0.05, 0.1, 0.2, 0.3], [0] * 4)
    assert "10 of 10 frames have no box and are misses" in nothing["notes"]


def test_a_manifest_is_truth(tmp_path: Path) -> None:
    boxes = [Box(frame / 8, 0, 0, 10, 10, "run", tube=3) for frame in range(2, 8)]
    boxes += [Box(frame / 8, 20, 20, 40, 40, "run", tube=1) for frame in range(4)]
    predicted = write(tmp_path / "p.json", {"a": [tube(range(2, 8), BOX, 0.5), tube(range(4), [20, 20, 40, 40], 0.4)]})
    for fps in (8.0, None):  # without it the smallest step between boxes tells
        manifest = write_clips(
            [Clip(str(tmp_path / "run/a.avi"), "run", boxes=tuple(boxes), fps=fps)], tmp_path / "m.csv"
        )
        assert video_map(predicted, manifest, (1.0,))["map"] == [1]
        assert paper_boxes(predicted, manifest, (1.0,))["n"] == 4  # the first actor is the one with the lowest number
    bare = write_clips([Clip(str(tmp_path / "run/a.avi"), "run")], tmp_path / "bare.csv")
    with pytest.raises(PredictionsError, match="has no boxes, so there is no truth"):
        video_map(predicted, bare, (0.5,))
    clashing = Clip(str(tmp_path / "a.avi"), "run", boxes=(boxes[0], boxes[0]), fps=8.0)
    with pytest.raises(PredictionsError, match=r"a.avi, actor 1, at 8 frames a second: .* found \[2.0, 2.0\]"):
        read_box_truth(write_clips([clashing], tmp_path / "clash.csv"))


def test_files_that_hold_something_else(truth: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    with pytest.raises(PredictionsError, match="video run/a, tube 1: no score; predictions need one"):
        video_map(write(other, {"run/a": [tube([1], BOX)]}), truth)
    with pytest.raises(PredictionsError, match=r"truth.json has no subset 'test'; it has none"):
        video_map(write(other, {}), truth, subset="test")
    with pytest.raises(PredictionsError, match="a true box needs x0 < x1"):
        video_map(truth, write(other, {"a": [tube([0], [5, 0, 5, 1])]}), (0.5,))
    with pytest.raises(PredictionsError, match="has no boxes, so there is no truth"):
        video_map(truth, write(other, {"a": []}), (0.5,))
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        video_map(write(other, {"run/a": []}), truth, (0.0,))


@pytest.mark.parametrize("protocol", [frame_map, video_map, paper_boxes])
def test_controls_are_told_labels_and_frames(protocol: Protocol, tmp_path: Path) -> None:
    # The first action fills the frame, the second the middle of it; two actors of a class share a box of the control.
    middle, whole = [80, 60, 240, 180], [0, 0, 320, 240]
    truth = {
        "a": [tube(range(4), whole), tube(range(2, 6), whole)],
        "b": [tube(range(3), middle, label="sit")],
        "c": [],
    }
    nothing = write(tmp_path / "p.json", {})
    result = protocol(nothing, write(tmp_path / "t.json", truth), (0.3, 0.9))
    assert list(result["controls"]) == [FULL_FRAME, CENTRE_BOX, RANDOM_BOX]
    assert all("labels and frames given" in name for name in result["controls"])
    full, centre = result["controls"][FULL_FRAME], result["controls"][CENTRE_BOX]
    expected = {
        "frame-map": (6 / 8 / 2, 1 / 2),  # 6 frames of 8 boxes; sit is 1/4 of the frame
        "video-map": (1 / 2 / 2, 1 / 2),  # 4 of 6 frames with the first actor, and there is a second
        "paper-boxes": (4 / 7, 3 / 7),
    }[result["protocol"]]
    assert (full[0], centre[1]) == pytest.approx(expected)
    assert result["map"] == [0, 0]


def test_without_the_videos_of_a_manifest_there_are_no_controls(tmp_path: Path) -> None:
    clip = Clip(str(tmp_path / "a.avi"), "run", split="test", boxes=(Box(0, 0, 0, 9, 9, "run", tube=0),))
    other = Clip(str(tmp_path / "b.avi"), "run", split="train", boxes=(Box(0, 0, 0, 9, 9, "run", tube=0),))
    manifest = write_clips([clip, other], tmp_path / "m.csv")
    predicted = write(tmp_path / "p.json", {"a": [tube([0], [0, 0, 9, 9], 0.5)]})
    result = video_map(predicted, manifest, subset="test")
    assert (result["map"], result["controls"], result["videos"]) == ([1, 1, 1], {}, 1)
    assert "no controls: the size of the frames of 1 videos is not known" in result["notes"][0]
    assert video_map(predicted, manifest)["map"] == [1 / 2] * 3
    with pytest.raises(PredictionsError, match=r"has no subset 'val'; it has test, train"):
        video_map(predicted, manifest, subset="val")


@pytest.mark.parametrize("protocol", [frame_map, video_map, act_frame_map, act_video_map, paper_boxes])
def test_intervals_hold_the_score_and_can_be_left_out(protocol: Protocol, tmp_path: Path) -> None:
    truth = {f"v{number}": [tube(range(4), BOX)] for number in range(20)}
    found = {name: [tube(range(4), BOX if number % 2 else ELSEWHERE, 0.5)] for number, name in enumerate(truth)}
    files = write(tmp_path / "p.json", found), write(tmp_path / "t.json", truth)
    result = protocol(*files, (0.5, 0.9))
    assert len(result["low"]) == len(result["high"]) == 2
    assert all(0 < low < value < high < 1 for low, value, high in zip(result["low"], result["map"], result["high"]))
    alone = protocol(*files, (0.5, 0.9), resamples=0)
    assert (alone["low"], alone["high"], alone["map"]) == ([None] * 2, [None] * 2, result["map"])
    one = protocol(files[0], write(tmp_path / "one.json", {"v1": truth["v1"]}), (0.5,))
    assert (one["low"], one["high"], one["map"]) == ([None], [None], [1])  # one video says nothing of others
