"""Fusion by score: what it says is computed by hand, and what does not belong together is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from whenwhere.cli import main
from whenwhere.evaluation.class_scores import ClassScores, read_class_scores, write_class_scores
from whenwhere.evaluation.late_fusion import fuse, fuse_runs, fusion_scores
from whenwhere.evaluation.predictions import PredictionsError

CLASSES = tuple("abcdefg")


def stream(seed: int, clips: int = 40, skill: float = 1.0) -> ClassScores:
    """Noise, with the true class raised."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(clips) % 5  # two classes have no clips
    logits = torch.randn(clips, len(CLASSES), generator=generator)
    logits[torch.arange(clips), labels] += skill
    return ClassScores(tuple(f"clip{i}" for i in range(clips)), labels, CLASSES, logits)


def two(*rows: list[float]) -> ClassScores:
    return ClassScores(tuple(map(str, range(len(rows)))), torch.zeros(len(rows)).long(), ("a", "b"), torch.tensor(rows))


def test_logits_are_averaged_by_weight() -> None:
    rgb, flow = two([3.0, 0.0]), two([0.0, 2.5])
    torch.testing.assert_close(fuse({"rgb": rgb, "flow": flow}, [1, 1]).logits, torch.tensor([[1.5, 1.25]]))
    torch.testing.assert_close(fuse({"rgb": rgb, "flow": flow}, [1, 1.5]).logits, torch.tensor([[1.2, 1.5]]))


def test_probabilities_are_averaged_by_weight() -> None:
    rgb, flow = stream(0), stream(1)
    fused = fuse({"rgb": rgb, "flow": flow}, [1, 1.5], of="probabilities").logits
    expected = 0.4 * rgb.logits.softmax(1) + 0.6 * flow.logits.softmax(1)
    torch.testing.assert_close(fused.exp(), expected)


def test_probabilities_of_streams_that_exclude_each_other_stay_finite() -> None:
    fused = fuse({"x": two([500.0, 0.0]), "y": two([0.0, 500.0])}, [1, 3], of="probabilities").logits
    torch.testing.assert_close(fused.exp(), torch.tensor([[0.25, 0.75]]))


def test_the_order_and_scale_of_streams_and_weights_do_not_matter() -> None:
    rgb, flow = stream(0), stream(1)
    there = fuse({"rgb": rgb, "flow": flow}, [1, 1.5]).logits
    torch.testing.assert_close(fuse({"flow": flow, "rgb": rgb}, [3, 2]).logits, there)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2)).tolist()
    mixed = ClassScores(
        tuple(flow.clips[i] for i in order), flow.labels[order], flow.classes, flow.logits[torch.tensor(order)]
    )
    torch.testing.assert_close(fuse({"rgb": rgb, "flow": mixed}, [1, 1.5]).logits, there)


def test_streams_that_fail_on_different_clips_mend_each_other() -> None:
    """Each is right on its half of the clips by 3 and wrong on the other by 1."""
    good, bad = [3.0, 0.0], [0.0, 1.0]
    streams = {"rgb": two(*[good] * 10, *[bad] * 10), "flow": two(*[bad] * 10, *[good] * 10)}
    fused = fuse(streams, [1, 1])
    scores = {score.name: score for score in fusion_scores(fused, streams)}
    accuracy = scores["accuracy"]
    assert (accuracy.value, accuracy.controls["rgb"].value, accuracy.controls["flow"].value) == (1.0, 0.5, 0.5)
    assert accuracy.controls["largest class"].value == 1.0  # all clips are of one class here
    assert (accuracy.estimate.low, accuracy.estimate.high, accuracy.count) == (1.0, 1.0, 20)
    assert 0 < accuracy.controls["rgb"].low < 0.5 < accuracy.controls["rgb"].high < 1


def test_scores_equal_an_independent_reference() -> None:
    streams = {"rgb": stream(0), "flow": stream(1)}
    fused = fuse(streams, [1, 1.5])
    scores = {score.name: score for score in fusion_scores(fused, streams)}
    assert scores.keys() == {"accuracy", "top-5 accuracy", "mean class accuracy"}
    top = fused.logits.topk(5, dim=1).indices
    labels = fused.labels
    assert scores["accuracy"].value == pytest.approx(float((top[:, 0] == labels).float().mean()))
    assert scores["top-5 accuracy"].value == pytest.approx(float((top == labels[:, None]).any(1).float().mean()))
    mean = scores["mean class accuracy"]
    assert mean.value == pytest.approx(balanced_accuracy_score(labels, top[:, 0]))
    for name, each in streams.items():
        assert mean.controls[name].value == pytest.approx(balanced_accuracy_score(labels, each.logits.argmax(1)))
    assert mean.controls["largest class"].value == pytest.approx(1 / 5)
    assert mean.estimate.low < mean.value < mean.estimate.high
    assert mean.lead.value == pytest.approx(mean.value - mean.controls[mean.best_control].value)
    assert mean.lead.low < mean.lead.value < mean.lead.high


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: replace(s, classes=tuple("abcdefh")), r"same classes in the same order: 'g' and 'h'"),
        (
            lambda s: ClassScores(s.clips, s.labels, tuple("abcdefgh"), torch.zeros(40, 8)),
            r"same classes in the same order: 7 and 8",
        ),
        (
            lambda s: ClassScores(s.clips[2:], s.labels[2:], s.classes, s.logits[2:]),
            r"rgb and flow were not evaluated on the same clips: flow lacks 2 \(first clip0\) and has 0 more;",
        ),
        (
            lambda s: replace(s, clips=("other", *s.clips[1:])),
            r"flow lacks 1 \(first clip0\) and has 1 more \(first other\)",
        ),
        (
            lambda s: replace(s, labels=s.labels.roll(1)),
            r"disagree on the true class of 40 clips: clip0 is a in one and e in the other",
        ),
    ],
)
def test_streams_that_do_not_belong_together_are_refused(
    change: Callable[[ClassScores], ClassScores], message: str
) -> None:
    with pytest.raises(PredictionsError, match=message):
        fuse({"rgb": stream(0), "flow": change(stream(1))}, [1, 1])


def test_bad_weights_and_single_streams_are_refused() -> None:
    both = {"rgb": stream(0), "flow": stream(1)}
    for weights in ([1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [1.0, float("inf")]):
        with pytest.raises(PredictionsError, match="weights must be 2 positive numbers"):
            fuse(both, weights)
    with pytest.raises(PredictionsError, match="two streams or more, got 1"):
        fuse({"rgb": stream(0)}, [1.0])
    with pytest.raises(PredictionsError, match="logits or probabilities, got 'ranks'"):
        fuse(both, [1, 1], of="ranks")  # type: ignore[arg-type]


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / "rgb", tmp_path / "flow"]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        write_class_scores(folder / "scores_test.npz", stream(seed))
    return folders


def test_the_command_prints_and_leaves_what_an_evaluation_does(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fuse", "rgb", "flow", "--weights", "1", "1.5", "--out", "both"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("1 x rgb + 1.5 x flow", "mean class accuracy", "largest class", "flow 0."))
    record = json.loads((tmp_path / "both/metrics_test.json").read_text())
    assert record["clips"] == 40
    assert [s["weight"] for s in record["fusion"]["streams"]] == [1, 1.5]
    assert record["fusion"]["average"] == "logits"
    assert [row["name"] for row in record["classes"]] == list(CLASSES)
    assert record["mean_class_accuracy"]["without_clips"] == [5, 6]
    assert {s["name"] for s in record["scores"]} == {"accuracy", "top-5 accuracy", "mean class accuracy"}
    fused = fuse({"rgb": stream(0), "flow": stream(1)}, [1, 1.5])
    torch.testing.assert_close(read_class_scores(tmp_path / "both/scores_test.npz").logits, fused.logits)


def test_mistakes_of_the_command_end_in_a_sentence(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "both")]
    rgb, flow = map(str, runs)
    for arguments, said in (
        ([rgb, flow, "--split", "val"], "scores_val.npz"),
        ([rgb, rgb], "a run is given twice"),
        ([rgb], "two streams or more"),
        ([rgb, flow, "--weights", "1", "2", "3"], "weights must be 2 positive numbers"),
    ):
        assert main(["fuse", *arguments, *out]) == 1
        assert said in capsys.readouterr().err
        assert not (tmp_path / "both").exists()


def test_a_single_clip_has_no_interval_and_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_class_scores(tmp_path / name / "scores_test.npz", two([1.0, 0.0]))
    with pytest.raises(PredictionsError, match="holds one clip"):
        fuse_runs([tmp_path / "a", tmp_path / "b"], [1, 1], "test", "logits", tmp_path / "out")
