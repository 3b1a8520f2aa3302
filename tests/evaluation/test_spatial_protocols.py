"""Protocols from files: by hand, with everything that can be wrong in a file, and on the official annotations."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whenwhere.datasets.manifest import ManifestError, write_clips
from whenwhere.evaluation.box_files import read_truth
from whenwhere.evaluation.space_protocols import (
    act_frame_map,
    act_video_map,
    frame_map,
    paper_boxes,
    rank_files,
    report,
    video_map,
)
from whenwhere.metrics.ranking import mean_average_precision
from whenwhere.metrics.spatial_detection import UCF101_24
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
    assert (result["n"], result["unit"]) == ((12, "frames") if "frame" in protocol.__name__ else (3, "videos"))
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
    assert video_map(write(tmp_path / "p.json", videos), truth, (0.5,)) == alone
    assert list(alone["per_class"]) == ["jump", "run"]


def test_a_false_alarm_in_a_video_without_action_counts(truth: Path, tmp_path: Path) -> None:
    videos = {"run/a": [tube(range(4), BOX, 0.5)], "still/c": [tube(range(4), BOX, 0.9)]}
    assert video_map(write(tmp_path / "p.json", videos), truth, (0.5,))["per_class"]["run"] == [1 / 4]


def test_names_fit_without_folder_and_suffix_but_never_two(truth: Path, tmp_path: Path) -> None:
    full = video_map(write(tmp_path / "p.json", {"run/a": [tube(range(4), BOX, 0.5)]}), truth, (0.5,))
    for name in ("a", "a.avi", "videos/a.mp4"):
        assert video_map(write(tmp_path / "p.json", {name: [tube(range(4), BOX, 0.5)]}), truth, (0.5,)) == full
    with pytest.raises(ManifestError, match=r"'run/a' come under more than one name, one of them 'a.avi'"):
        video_map(write(tmp_path / "p.json", {"run/a": [], "a.avi": []}), truth, (0.5,))
    with pytest.raises(ManifestError, match=r"none of the 3 videos .* such as 'x', expected such as 'run/a'"):
        video_map(write(tmp_path / "p.json", {"x": []}), truth, (0.5,))
    twice = write(tmp_path / "t.json", {"p/a": [tube([0], BOX)], "q/a": [tube([0], BOX)]})
    with pytest.raises(ManifestError, match=r"'a' fit \['p/a', 'q/a'\]"):
        video_map(write(tmp_path / "p.json", {"a": []}), twice, (0.5,))


def test_the_papers_rule_takes_the_first_tube_and_the_surest_box(truth: Path, tmp_path: Path) -> None:
    sure = tube(range(2, 5), BOX, 0.9, label="jump")  # whatever its label
    unsure = tube(range(2, 8), ELSEWHERE, 0.5)
    result = paper_boxes(write(tmp_path / "p.json", {"run/b": [unsure, sure]}), truth, (0.5,))
    assert result["map"] == [3 / 10]  # 4 frames of a without a box, 6 of the first tube of b
    assert result["per_class"] == {"run": [3 / 10]}
    assert (result["n"], result["unit"], result["videos"], result["covered"]) == (10, "frames", 2, 6 / 10)
    by_frame = [tube(range(2, 8), BOX, 0.5, scores=[0.1, 0.1, 0.1, 0.9, 0.9, 0.9]), tube(range(2, 8), ELSEWHERE, 0.5)]
    assert paper_boxes(write(tmp_path / "p.json", {"run/b": by_frame}), truth, (0.5,))["map"] == [3 / 10]
    assert paper_boxes(write(tmp_path / "p.json", {}), truth, (0.5,))["covered"] == 0


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
    with pytest.raises(ManifestError, match="has no boxes, so there is no truth"):
        video_map(predicted, bare, (0.5,))
    clashing = Clip(str(tmp_path / "a.avi"), "run", boxes=(boxes[0], boxes[0]), fps=8.0)
    with pytest.raises(ManifestError, match="actor 0: a frame has more than one box"):
        read_truth(write_clips([clashing], tmp_path / "clash.csv"))


@pytest.mark.parametrize(
    "item, words",
    [
        ({"label": "run", "frames": [1], "boxes": [BOX]}, "video 'run/a', tube 0 has no 'score'"),
        (tube([1], BOX, 0.5, boxes=[BOX, BOX]), r"tube 0: expected one or more frames, a box .* found 1 frames"),
        (tube([], BOX, 0.5), "tube 0: expected one or more frames"),
        (tube([1, 2], BOX, 0.5, scores=[0.5]), r"scores \(1,\)"),
        (tube([1.5], BOX, 0.5), "frames must be whole numbers from 0, found"),
        (tube([-1], BOX, 0.5), "frames must be whole numbers from 0, found"),
        (tube([1, 1], BOX, 0.5), "a frame has more than one box"),
        (tube([1], [0, 0, float("nan"), 1], 0.5), "must be finite numbers"),
        (tube([1], BOX, float("inf")), "must be finite numbers"),
        (tube([1], BOX, 0.5, boxes=[["left"] * 4]), "tube 0: could not convert"),
        (tube([1], BOX, 0.5) | {"frames": 3}, "tube 0: expected one or more frames"),
        ([1, 2], "expected an object with a list 'tubes' of objects"),
    ],
)
def test_tubes_that_do_not_read_are_named(item: Any, words: str, truth: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=words):
        video_map(write(tmp_path / "p.json", {"run/a": [item]}), truth, (0.5,))


def test_files_that_hold_something_else(truth: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    for text, words in (("{", "cannot be read as JSON"), ("[]", "expected format 'whenwhere-boxes', version 1")):
        other.write_text(text)
        with pytest.raises(ManifestError, match=words):
            video_map(other, truth, (0.5,))
    with pytest.raises(ManifestError, match=r"missing.json cannot be read"):
        video_map(tmp_path / "missing.json", truth, (0.5,))
    with pytest.raises(ManifestError, match="version 2"):
        video_map(write(other, {}, version=2), truth, (0.5,))
    with pytest.raises(ManifestError, match="a true box needs x0 < x1"):
        video_map(truth, write(other, {"a": [tube([0], [5, 0, 5, 1])]}), (0.5,))
    with pytest.raises(ManifestError, match="has no boxes, so there is no truth"):
        video_map(truth, write(other, {"a": []}), (0.5,))
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        video_map(write(other, {"run/a": []}), truth, (0.0,))


def test_a_ranking_is_scored_again_for_a_resample_of_videos(truth: Path, tmp_path: Path) -> None:
    predicted = write(tmp_path / "p.json", {"run/a": [tube(range(4), BOX, 0.5)]})
    ranking = rank_files(predicted, truth, (0.5,), "video", UCF101_24)
    assert ranking.videos == ("run/a", "run/b", "still/c")
    assert report(ranking) == video_map(predicted, truth, (0.5,))
    result = mean_average_precision(ranking.classes, ranking.rule, counts=np.array([2, 1, 0]))
    assert result.per_class["run"] == pytest.approx([2 / 3])


@pytest.fixture(scope="module")
def centre_boxes(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A box of half width and height on every annotated frame of UCF101-24's test videos; and the truth's file."""
    source = shared / "annotations/ucf101_24/finalAnnots.mat"
    videos = {
        name: [tube(np.unique(np.concatenate([one.frames for one in tubes])).tolist(), [80, 60, 240, 180], 1.0)]
        for name, tubes in read_truth(source).items()
    }
    for name, (only,) in videos.items():
        only["label"] = name.split("/")[0]
    return write(tmp_path_factory.mktemp("ucf") / "p.json", videos), source


@pytest.mark.slow
def test_the_centre_box_scores_what_the_papers_rule_gives_it(centre_boxes: tuple[Path, Path]) -> None:
    result = paper_boxes(*centre_boxes, (0.05, 0.1, 0.2, 0.3))
    assert (100 * np.array(result["map"])).tolist() == pytest.approx([91.5, 83.4, 65.1, 46.2], abs=0.1)
    assert (result["videos"], result["n"], result["covered"]) == (910, 129272, 1)


@pytest.mark.slow
def test_910_videos_are_scored_within_a_minute(centre_boxes: tuple[Path, Path]) -> None:
    start = time.perf_counter()
    result = video_map(*centre_boxes, (0.2, 0.5, 0.75, *np.arange(0.5, 1, 0.05)))
    assert time.perf_counter() - start < 60
    assert (result["n"], len(result["per_class"]), len(result["map"])) == (910, 24, 13)
    assert 0 < result["map"][1] < result["map"][0] < 0.5
