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


def some_scores(clips: int = 5) -> ClassScores:
    logits = torch.randn(clips, 3, generator=torch.Generator().manual_seed(0))
    return ClassScores(tuple(f"clip{i}" for i in range(clips)), torch.arange(clips) % 3, ("a", "ä b", "c"), logits)


def test_scores_survive_the_file(tmp_path: Path) -> None:
    scores = some_scores()
    read = read_class_scores(write_class_scores(tmp_path / "scores_test.npz", scores))
    assert (read.clips, read.classes) == (scores.clips, scores.classes)
    assert torch.equal(read.logits, scores.logits)
    assert torch.equal(read.labels, scores.labels)
    assert [path.name for path in tmp_path.iterdir()] == ["scores_test.npz"]


def test_scores_of_a_run_are_of_the_clips_its_predictions_name(tmp_path: Path) -> None:
    nothing, logits = torch.zeros(2, 1), torch.arange(4.0).view(2, 2)
    said = Predictions(
        logits, torch.zeros(2).long(), nothing, None, nothing, nothing, None, None, clips=("one", "three")
    )
    read = read_class_scores(save_run_scores(tmp_path, "val", said, "ab"))
    assert read.clips == ("one", "three")
    assert read.logits.tolist() == [[0, 1], [2, 3]]
    assert scores_file(tmp_path, "val").is_file()


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
