from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from whenwhere.evaluation.answers import OWN
from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.scores import Score, all_scores, mean_score, spatial_scores, temporal_scores


def planted(right: bool) -> Predictions:
    """Two clips of 8 frames on a 4 x 4 grid; the action is in frames 2-4, in the cell at row 1, column 3."""
    active = torch.zeros(2, 8, dtype=torch.bool)
    active[:, 2:5] = True
    boxes = torch.full((2, 8, 4), float("nan"))
    boxes[active] = torch.tensor([0.75, 0.25, 1.0, 0.5])
    masks = torch.zeros(2, 8, 4, 4)
    masks[:, :, 1, 3 if right else 0] = 1.0
    importance = active.float() if right else (~active).float()
    importance = importance / importance.sum(1, keepdim=True)
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    labels = torch.tensor([0, 1]) if right else torch.tensor([1, 0])
    evidence = masks * (active if right else ~active)[..., None, None]
    nothing = torch.ones(2, 8, 4, 4)
    return Predictions(logits, labels, masks, evidence, importance, importance, active, boxes, nothing, nothing)


def by_name(predictions: Predictions) -> dict[str, Score]:
    return {score.name: score for score in all_scores(predictions)}


def test_a_perfect_answer_scores_one_and_a_wrong_one_zero() -> None:
    right, wrong = by_name(planted(True)), by_name(planted(False))
    assert right.keys() == wrong.keys()
    for name in right:
        if "box IoU" in name:  # the mask is cut on a finer, interpolated grid
            assert right[name].value > 0.4
            assert wrong[name].value <= 1 / 16  # a map that is 0 everywhere says the full frame
        else:
            assert (right[name].value, wrong[name].value) == (1, 0), name


def test_every_own_answer_has_every_control() -> None:
    scores = by_name(planted(True))
    for name in ("when: mean tIoU", "when: mAP@0.5", "where: mass inside", "where and when: mass"):
        for suffix in ("", ", class evidence"):
            assert {"Grad-CAM", "frame difference"} < scores[name + suffix].controls.keys()
            assert not set(OWN) & scores[name + suffix].controls.keys()
    assert {"all frames", "random half", "random run", "uniform weights"} < scores["when: mean tIoU"].controls.keys()
    assert {"full frame", "centre box", "random box"} < scores["where: mean box IoU"].controls.keys()


def test_controls_by_hand() -> None:
    scores = by_name(planted(True))

    def control(name: str, answer: str) -> float:
        return scores[name].controls[answer].value

    assert control("when: mean tIoU", "all frames") == pytest.approx(3 / 8)
    assert control("when: pointing", "uniform weights") == pytest.approx(3 / 8)
    assert control("where: mean box IoU", "full frame") == pytest.approx(1 / 16)
    assert control("where: mean box IoU", "centre box") == 0
    assert control("where: pointing", "centre box") == 0
    assert control("where: mass inside", "full frame") == pytest.approx(1 / 16)
    assert control("where and when: mass", "full frame") == pytest.approx(1 / 16 * 3 / 8)
    assert control("where and when: pointing", "full frame") == pytest.approx(1 / 16 * 3 / 8)
    assert control("accuracy", "chance") == control("accuracy", "largest class") == 0.5
    assert control("when: mAP@0.5", "all frames") == 0
    assert scores["where: pointing"].count == 6
    assert scores["when: mean tIoU"].count == 2


def test_frames_of_one_clip_are_drawn_together() -> None:
    """Two clips, one right in all its frames, one wrong: whatever the frames, anything from 0 to 1 may be true."""
    hits = torch.tensor([1.0] * 50 + [0.0] * 50)
    clips = torch.arange(2).repeat_interleave(50)
    together = mean_score("m", "p", hits, {"c": torch.zeros(100)}, clips)
    alone = mean_score("m", "p", hits, {"c": torch.zeros(100)})
    assert (together.estimate.low, together.estimate.high) == (0, 1)
    assert alone.estimate.high - alone.estimate.low < 0.25
    assert (together.value, together.count) == (0.5, 100)


@pytest.mark.parametrize(
    "ours, control, verdict",
    [([1, 1, 1, 0.9], [0, 0, 0, 0.1], "beats c"), ([1, 0, 1, 0.1], [0, 1, 0, 1], "above c, not beyond chance")],
)
def test_the_verdict_claims_no_more_than_the_interval(ours: list[float], control: list[float], verdict: str) -> None:
    score = mean_score("m", "p", torch.tensor(ours), {"c": torch.tensor(control), "worse": torch.zeros(4)})
    assert score.best_control == "c"
    assert score.verdict == verdict
    swapped = mean_score("m", "p", torch.tensor(control), {"c": torch.tensor(ours)})
    assert swapped.verdict == "does not beat c"


def test_detection_counts_the_class_too() -> None:
    base = planted(True)
    wrong_class = replace(base, logits=-base.logits)
    assert by_name(base)["when: mAP@0.5"].value == 1
    assert by_name(wrong_class)["when: mAP@0.5"].value == 0
    assert by_name(wrong_class)["when: mean tIoU"].value == 1


def test_top_5_where_there_are_more_classes() -> None:
    base = planted(True)
    logits = torch.zeros(2, 8)
    logits[:, :5] = torch.arange(5.0)
    scores = {score.name: score for score in all_scores(replace(base, logits=logits, labels=torch.tensor([4, 0])))}
    assert scores["accuracy"].value == 0.5
    assert scores["top-5 accuracy"].value == 1
    assert scores["top-5 accuracy"].controls["chance"].value == 5 / 8
    assert "top-5 accuracy" not in by_name(base)


def test_scores_survive_a_file() -> None:
    for score in all_scores(planted(True)):
        again = Score.from_dict(json.loads(json.dumps(score.to_dict())))
        assert again.name == score.name
        np.testing.assert_equal(again.to_dict(), score.to_dict())


def test_clips_without_the_action_do_not_count() -> None:
    base = planted(True)
    active = base.active.clone()
    active[1] = False
    boxes = base.boxes.clone()
    boxes[1] = float("nan")
    fewer = replace(base, active=active, boxes=boxes)
    assert next(temporal_scores(fewer)).count == 1
    assert next(spatial_scores(fewer)).count == 3
    nowhere = replace(base, active=torch.zeros_like(active), boxes=torch.full_like(boxes, float("nan")))
    assert [score.name for score in all_scores(nowhere)] == ["accuracy"]


def test_unknown_truth_is_left_out() -> None:
    base = planted(True)
    blind = replace(base, active=None, boxes=None, evidence=None)
    assert [score.name for score in all_scores(blind)] == ["accuracy"]


def test_clips_stitched_in_time_have_no_where() -> None:
    base = planted(True)
    everywhere = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(2, 8, 4).clone()
    everywhere[~base.active] = float("nan")
    names = by_name(replace(base, boxes=everywhere)).keys()
    assert "when: mean tIoU" in names
    assert not any(name.startswith("where") for name in names)


def test_pointing_has_the_published_tolerance_where_pixels_are_known() -> None:
    """The peak is 5/8 of the width away from the box in one clip, 3/8 in the other."""
    here = planted(False)
    grid = by_name(here)["where: pointing"]
    assert (grid.value, "no tolerance" in grid.protocol) == (0, True)
    assert here.boxes is not None
    here.boxes[1] = torch.where(here.boxes[1].isnan(), here.boxes[1], torch.tensor([0.5, 0.25, 0.75, 0.5]))
    for wide, hits in ((40.0, 0), (38.0, 1 / 2), (20.0, 1)):  # exactly 15 pixels miss
        extent = torch.tensor([wide, 1000.0]).expand(2, 8, 2)
        score = by_name(replace(here, extent=extent))["where: pointing"]
        assert score.value == hits
        assert "less than 15 pixels away" in score.protocol
    # Tall pictures: the box two rows below is far away, whatever their width.
    here.boxes[..., 1::2] += 0.5
    assert by_name(replace(here, extent=torch.tensor([20.0, 1000.0]).expand(2, 8, 2)))["where: pointing"].value == 0


def test_a_box_beyond_the_grid_is_out_of_reach() -> None:
    here = planted(True)
    assert here.boxes is not None
    here.boxes[0] = torch.where(here.boxes[0].isnan(), here.boxes[0], torch.tensor([1.0, 0.25, 1.0, 0.5]))
    score = by_name(replace(here, extent=torch.full((2, 8, 2), 20.0)))["where: pointing"]
    assert score.value == 1 / 2
