"""What a model said of each clip, class by class, in a file: for late fusion and for anyone's own measures."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.predictions import PredictionsError
from whenwhere.files import whole_file
from whenwhere.metrics.classification import check_logits

_ARRAYS = ("clips", "labels", "classes", "logits")


@dataclass(frozen=True, eq=False)  # tensors do not compare to one truth value
class ClassScores:
    """Scores of N clips.

    Attributes:
        clips: names, each once.
        labels: `(N,)` integers, true classes.
        classes: K names, in the order of the logits.
        logits: `(N, K)`, before softmax; of several views averaged as the evaluation was told to.
    """

    clips: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]
    logits: Tensor

    def __post_init__(self) -> None:
        check_logits(self.logits, self.labels)
        if (len(self.clips), len(self.classes)) != tuple(self.logits.shape):
            raise ValueError(
                f"{len(self.clips)} clips and {len(self.classes)} classes, but logits {tuple(self.logits.shape)}"
            )
        if len(set(self.clips)) < len(self.clips):
            twice = next(name for name in self.clips if self.clips.count(name) > 1)
            raise ValueError(f"clip {twice} is there more than once")


def scores_file(run: Path, split: str) -> Path:
    """Where an evaluation of ``split`` leaves its scores."""
    return run / f"scores_{split}.npz"


def save_run_scores(run: Path, split: str, predictions: Predictions, classes: Sequence[str]) -> Path:
    """Write ``scores_SPLIT.npz`` into a run's folder: :class:`ClassScores` of predictions that name their clips."""
    scores = ClassScores(predictions.clips, predictions.labels, tuple(classes), predictions.logits)
    return write_class_scores(scores_file(run, split), scores)


def write_class_scores(path: Path, scores: ClassScores) -> Path:
    """Write arrays ``clips``, ``labels``, ``classes`` and ``logits`` as .npz; whole or not at all."""
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            clips=np.array(scores.clips, dtype=np.str_),
            labels=scores.labels.numpy().astype(np.int64),
            classes=np.array(scores.classes, dtype=np.str_),
            logits=scores.logits.float().numpy(),
        )
    return path


def read_class_scores(path: Path) -> ClassScores:
    """Read what :func:`write_class_scores` wrote.

    Raises:
        PredictionsError: no such file, or one that holds something else.
    """
    if not path.is_file():
        raise PredictionsError(f"no class scores at {path}; `whenwhere evaluate --model RUN` of that split writes them")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if missing := [name for name in _ARRAYS if name not in arrays.files]:
                raise ValueError(f"has no array {missing[0]!r}")
            clips, labels, classes, logits = (arrays[name] for name in _ARRAYS)
        return ClassScores(
            tuple(clips.tolist()), torch.from_numpy(labels), tuple(classes.tolist()), torch.from_numpy(logits)
        )
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        expected = f"expected the arrays {', '.join(_ARRAYS)} as an evaluation writes them"
        raise PredictionsError(f"{path} holds no class scores: {error}; {expected}") from error
