"""What: how often the right class is named, over all clips, class by class and over splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from types import ModuleType

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from whenwhere._torchvision import ensure_torchvision


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Refuse what no measure is defined on.

    Args:
        logits: `(N, K)`; single classes may be -inf, as the logarithm of a probability of 0 is.
        labels: `(N,)` integers below K.

    Raises:
        ValueError: other shapes or types, no clips, fewer than two classes, a clip whose greatest logit is not a
            finite number, or a label that is no class.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"expected logits (N, K) and labels (N,), got {tuple(logits.shape)} and {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be integers, got {labels.dtype}")
    if len(logits) == 0 or logits.shape[1] < 2:
        raise ValueError(f"nothing to measure: need clips, and two classes or more; logits are {tuple(logits.shape)}")
    bad = (~logits.amax(1).isfinite()).nonzero()[:, 0]
    if len(bad):
        raise ValueError(f"logits of {len(bad)} of {len(logits)} clips are not numbers, first those of clip {bad[0]}")
    bad = ((labels < 0) | (labels >= logits.shape[1])).nonzero()[:, 0]
    if len(bad):
        raise ValueError(
            f"labels of {len(bad)} clips are none of the {logits.shape[1]} classes the model knows, "
            f"first label {labels[bad[0]]} of clip {bad[0]}; does the model belong to this data?"
        )


def top_k_hits(logits: Tensor, labels: Tensor, k: int = 1) -> Tensor:
    """Whether the right class is among the k greatest logits, `(N,)` bool; their mean is top-k accuracy.

    Of equal logits the lower class comes first, for every k, so a hit stays one as k grows; torchmetrics 1.9 leaves
    it to ``topk``, under which constant logits hit class 0 for k = 1 and miss it for k = 5.

    Args:
        logits, labels: as :func:`check_logits`.
        k: 1 <= k <= K; with k = K everything is a hit.
    """
    check_logits(logits, labels)
    if not 1 <= k <= logits.shape[1]:
        raise ValueError(f"top-{k} accuracy is not defined with {logits.shape[1]} classes")
    own = logits.gather(1, labels[:, None].long())
    lower = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return ((logits > own) | ((logits == own) & lower)).sum(1) < k


def predicted_classes(logits: Tensor) -> Tensor:
    """Class of the greatest logit, the first of several, `(N, K)` to `(N,)`."""
    return (logits == logits.amax(1, keepdim=True)).to(torch.uint8).argmax(1)


@dataclass(frozen=True)
class ClassMean:
    """Mean over classes that have clips.

    Attributes:
        value: the mean; NaN when no class has clips.
        classes: how many classes it is over.
        without_clips: the classes left out.
    """

    value: float
    classes: int
    without_clips: tuple[int, ...]


def class_mean(values: ArrayLike, labels: ArrayLike, classes: int, weights: ArrayLike | None = None) -> ClassMean:
    """Mean over classes of the mean over each class's clips; of top-1 hits it is mean class accuracy.

    A class without clips is left out; torchmetrics 1.9 counts it as 0 as soon as a clip is taken for it.

    Args:
        values: `(N,)`, one for each clip, hits for instance.
        labels: `(N,)` integers, true classes.
        classes: K.
        weights: `(N,)`, how often each clip counts, for :func:`whenwhere.metrics.bootstrap.bootstrap_statistic`.

    Raises:
        ValueError: other shapes, values that are not finite, or a label that is no class.
    """
    values, labels = np.asarray(values, dtype=float), np.asarray(labels)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights)
    if not values.shape == labels.shape == weights.shape == (len(values),):
        raise ValueError(
            f"values, labels and weights must be (N,), got {values.shape}, {labels.shape}, {weights.shape}"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels are {labels.min()} to {labels.max()}, but there are {classes} classes")
    if bad := int((~np.isfinite(values)).sum()):
        raise ValueError(f"{bad} of {len(values)} values are not finite numbers")
    counts = np.bincount(labels, weights, minlength=classes)
    there = counts > 0
    means = np.bincount(labels, weights * values, minlength=classes)[there] / counts[there]
    value = float(means.mean()) if len(means) else float("nan")
    return ClassMean(value, len(means), tuple(np.flatnonzero(~there).tolist()))


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """Clips of each true class (row) taken for each class (column), `(K, K)` int64."""
    check_logits(logits, labels)
    counted: Tensor = _torchmetrics().multiclass_confusion_matrix(predicted_classes(logits), labels, logits.shape[1])
    return counted


@dataclass(frozen=True)
class ClassResult:
    """One line of the per-class table. None where a ratio has nothing to divide by.

    Attributes:
        name: of the class.
        count: clips of it.
        correct: those named rightly.
        precision, recall, f1: in [0, 1]; precision is None for a class no clip was taken for, the others for a
            class without clips.
        low, high: Wilson interval of the recall at 95 %.
        confused_with: the class its clips are wrongly taken for most often, the first of several; None: no mistakes.
        confused: how many clips are.
    """

    name: str
    count: int
    correct: int
    precision: float | None
    recall: float | None
    f1: float | None
    low: float | None
    high: float | None
    confused_with: str | None
    confused: int


def per_class_table(logits: Tensor, labels: Tensor, names: Sequence[str] | None = None) -> list[ClassResult]:
    """Every class, with or without clips, in the order of the logits.

    Args:
        logits, labels: as :func:`check_logits`.
        names: K names; None: the class numbers.
    """
    matrix = confusion_matrix(logits, labels)
    names = [str(i) for i in range(len(matrix))] if names is None else names
    if len(names) != len(matrix):
        raise ValueError(f"{len(names)} names for {len(matrix)} classes")
    precision, recall, f1 = (
        ratio(predicted_classes(logits), labels, len(matrix), average="none").double()
        for ratio in (
            _torchmetrics().multiclass_precision,
            _torchmetrics().multiclass_recall,
            _torchmetrics().multiclass_f1_score,
        )
    )
    counts, correct, taken = matrix.sum(1), matrix.diagonal(), matrix.sum(0)
    low, high = wilson_interval(correct, counts)
    wrong = matrix - torch.diag(correct)
    return [
        ClassResult(
            name,
            int(counts[i]),
            int(correct[i]),
            precision=float(precision[i]) if taken[i] else None,
            recall=float(recall[i]) if counts[i] else None,
            f1=float(f1[i]) if counts[i] else None,
            low=float(low[i]) if counts[i] else None,
            high=float(high[i]) if counts[i] else None,
            confused_with=names[int(wrong[i].argmax())] if wrong[i].any() else None,
            confused=int(wrong[i].max()),
        )
        for i, name in enumerate(names)
    ]


def wilson_interval(hits: ArrayLike, counts: ArrayLike, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a share from how many of how many, `(...)` and `(...)`, NaN where the count is 0 (Wilson 1927).

    Unlike the bootstrap it keeps a width for 0 of n and n of n: 3 of 3 is somewhere from 0.44 to 1.
    """
    hits, counts = np.asarray(hits, dtype=float), np.asarray(counts, dtype=float)
    if ((hits < 0) | (hits > counts)).any():
        raise ValueError("hits must lie between 0 and the counts they are out of")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    n = np.where(counts > 0, counts, np.nan)
    centre = (hits + z2 / 2) / (n + z2)
    half = np.sqrt(z2 * (hits * (1 - hits / n) + z2 / 4)) / (n + z2)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


@dataclass(frozen=True)
class SplitMean:
    """A figure as UCF101 and HMDB51 are reported: the mean over the official splits, each split beside it."""

    mean: float
    values: dict[str, float]


def split_mean(values: Mapping[str, float]) -> SplitMean:
    """Mean over splits, each trained and tested on its own, every split counting the same.

    Args:
        values: the figure for each split, ``{"split 1": 0.81, "split 2": 0.79, "split 3": 0.80}``.

    Raises:
        ValueError: no splits, or a figure that is not a finite number.
    """
    if not values:
        raise ValueError("a mean over splits needs the figure of at least one split")
    bad = [name for name, value in values.items() if not np.isfinite(value)]
    if bad:
        raise ValueError(f"no finite figure for {', '.join(bad)}: a mean over splits needs every split")
    return SplitMean(fmean(values.values()), {name: float(value) for name, value in values.items()})


def _torchmetrics() -> ModuleType:
    """torchmetrics imports torchvision, and takes seconds to: only when asked for."""
    ensure_torchvision()
    from torchmetrics.functional import classification

    return classification
