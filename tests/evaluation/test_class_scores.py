"""Class scores survive the file, and name the clips they are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from whenwhere.evaluation.class_scores import (
    ClassScores,
    read_class_scores,
    save_run_scores,
    scores_file,
    write_class_scores,
)
from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.predictions import PredictionsError
from whenwhere.structures import Clip


def some_scores(clips: int = 5) -> ClassScores:
    logits = torch.randn(clips, 3, generator=torch.Generator().manual_seed(0))
    return ClassScores(tuple(f"clip{i}" for i in range(clips)), torch.arange(clips) % 3, ("a", "ä b", "c"), logits)


def predictions(clips: int, broken: tuple[str, ...] = ()) -> Predictions:
    nothing = torch.zeros(clips, 1)
    logits = torch.arange(clips * 2.0).view(clips, 2)
    return Predictions(logits, torch.zeros(clips).long(), nothing, None, nothing, nothing, None, None, broken=broken)


def test_scores_survive_the_file(tmp_path: Path) -> None:
    scores = some_scores()
    read = read_class_scores(write_class_scores(tmp_path / "scores_test.npz", scores))
    assert (read.clips, read.classes) == (scores.clips, scores.classes)
    assert torch.equal(read.logits, scores.logits)
    assert torch.equal(read.labels, scores.labels)
    assert [path.name for path in tmp_path.iterdir()] == ["scores_test.npz"]


def test_clips_are_called_by_their_files_without_those_that_do_not_decode(tmp_path: Path) -> None:
    clips = [Clip(f"/clips/{name}.mp4", "a") for name in ("one", "two", "three")]
    broken = ("/clips/two.mp4: cut off in the middle of its last packet",)
    read = read_class_scores(save_run_scores(tmp_path, "val", predictions(2, broken), clips, "ab"))
    assert read.clips == ("one", "three")
    assert read.logits.tolist() == [[0, 1], [2, 3]]
    assert scores_file(tmp_path, "val").is_file()


def test_samples_that_are_no_files_are_called_by_their_number(tmp_path: Path) -> None:
    read = read_class_scores(save_run_scores(tmp_path, "test", predictions(2), None, "ab"))
    assert read.clips == ("test-00000", "test-00001")


def test_clips_of_one_name_are_told_apart(tmp_path: Path) -> None:
    clips = [Clip(f"/clips/{name}", "a") for name in ("one.mp4", "one.avi", "two.mp4")]
    read = read_class_scores(save_run_scores(tmp_path, "val", predictions(3), clips, "ab"))
    assert read.clips == ("one", "one#2", "two")


def test_missing_and_damaged_files_are_errors_that_name_them(tmp_path: Path) -> None:
    path = tmp_path / "scores_test.npz"
    with pytest.raises(PredictionsError, match=r"no class scores at .*scores_test\.npz; `whenwhere evaluate"):
        read_class_scores(path)
    whole = write_class_scores(path, some_scores()).read_bytes()
    for damaged in (b"", b"no archive", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(PredictionsError, match=r"scores_test\.npz holds no class scores"):
            read_class_scores(path)
    np.savez(path.open("wb"), clips=np.array(["a"]))
    with pytest.raises(PredictionsError, match="has no array 'labels'; expected the arrays clips, labels"):
        read_class_scores(path)
    arrays = {"labels": np.array([0]), "classes": np.array(["a", "b"]), "logits": np.zeros((1, 2), np.float32)}
    np.savez(path.open("wb"), clips=np.array([Path("x")], dtype=object), **arrays)
    with pytest.raises(PredictionsError, match="holds no class scores"):
        read_class_scores(path)


def test_scores_that_are_none_are_errors() -> None:
    logits, labels = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"1 clips and 3 classes, but logits \(2, 3\)"):
        ClassScores(("a",), labels, ("x", "y", "z"), logits)
    with pytest.raises(ValueError, match="clip a is there more than once"):
        ClassScores(("a", "a"), labels, ("x", "y", "z"), logits)
    with pytest.raises(ValueError, match="not numbers"):
        ClassScores(("a", "b"), labels, ("x", "y", "z"), logits.fill_(torch.nan))
