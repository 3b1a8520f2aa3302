"""Late fusion: one answer from the class scores of several runs, RGB and optical flow for instance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from whenwhere.datasets.integrity import content_hash
from whenwhere.evaluation.class_scores import ClassScores, read_class_scores, scores_file, write_class_scores
from whenwhere.evaluation.predictions import PredictionsError, write_metrics
from whenwhere.evaluation.scores import (
    Figure,
    Score,
    ahead,
    classification_record,
    figure_estimate,
    largest_classes,
    top_k_levels,
    top_k_score,
)
from whenwhere.metrics.bootstrap import best_of
from whenwhere.metrics.calibration import confidences, reliability
from whenwhere.metrics.classification import class_mean, top_k_hits

Average = Literal["logits", "probabilities"]


def fuse(streams: Mapping[str, ClassScores], weights: Sequence[float], of: Average = "logits") -> ClassScores:
    """Weighted mean of what several streams said of the same clips, in the order of the first stream's clips.

    Args:
        streams: class scores by the stream's name.
        weights: one each, above 0. TSN: 1 for RGB, 1.5 for flow (Wang et al. 2016, Sec. 3.3).
        of: ``logits``: before softmax, as TSN does; ``probabilities``: after it.

    Raises:
        PredictionsError: streams that are not of the same clips, labels and classes, fewer than two of them, or
            weights that are not one positive number each.
    """
    if len(streams) < 2:
        raise PredictionsError(f"fusion needs two streams or more, got {len(streams)}")
    if len(weights) != len(streams) or not all(0 < weight < math.inf for weight in weights):
        raise PredictionsError(f"weights must be {len(streams)} positive numbers, one a stream; got {list(weights)}")
    if of not in ("logits", "probabilities"):
        raise PredictionsError(f"what is averaged must be logits or probabilities, got {of!r}")
    aligned = align(streams)
    first = next(iter(aligned.values()))
    mean = mean_logits([scores.logits for scores in aligned.values()], weights, of)
    return ClassScores(first.clips, first.labels, first.classes, mean)


def mean_logits(streams: Sequence[Tensor], weights: Sequence[float], of: Average = "logits") -> Tensor:
    """Weighted mean of several streams' logits, `(N, K)` each, as logits `(N, K)`; arguments as :func:`fuse`."""
    share = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    stacked = torch.stack([logits.double() for logits in streams])
    if of == "probabilities":
        return (share.log()[:, None, None] + stacked.log_softmax(2)).logsumexp(0).float()
    return (share[:, None, None] * stacked).sum(0).float()


def align(streams: Mapping[str, ClassScores]) -> dict[str, ClassScores]:
    """The same scores, all in the order of the first stream's clips; errors as :func:`fuse`."""
    (name, first), *others = streams.items()
    aligned = {name: first}
    for other, scores in others:
        if scores.classes != first.classes:
            raise PredictionsError(
                f"{name} and {other} do not know the same classes in the same order: {_first_unlike(first, scores)}; "
                "fuse runs trained on the same classes"
            )
        place = {clip: index for index, clip in enumerate(scores.clips)}
        absent = [clip for clip in first.clips if clip not in place]
        extra = sorted(set(scores.clips) - set(first.clips))
        if absent or extra:
            raise PredictionsError(
                f"{name} and {other} were not evaluated on the same clips: {other} lacks {len(absent)}"
                f"{f' (first {absent[0]})' if absent else ''} and has {len(extra)} more"
                f"{f' (first {extra[0]})' if extra else ''}; evaluate both on the same manifest and split"
            )
        order = [place[clip] for clip in first.clips]
        scores = ClassScores(first.clips, scores.labels[order], scores.classes, scores.logits[order])
        unlike = (scores.labels != first.labels).nonzero()[:, 0].tolist()
        if unlike:
            index = unlike[0]
            labels = [first.classes[int(each.labels[index])] for each in (first, scores)]
            raise PredictionsError(
                f"{name} and {other} disagree on the true class of {len(unlike)} clips: {first.clips[index]} is "
                f"{labels[0]} in one and {labels[1]} in the other; evaluate both on the same manifest"
            )
        aligned[other] = scores
    return aligned


def _first_unlike(first: ClassScores, other: ClassScores) -> str:
    if len(first.classes) != len(other.classes):
        return f"{len(first.classes)} and {len(other.classes)}"
    return next(f"{a!r} and {b!r}" for a, b in zip(first.classes, other.classes) if a != b)


def fusion_scores(fused: ClassScores, streams: Mapping[str, ClassScores]) -> list[Score]:
    """Top-1, top-5 (with more than five classes) and mean class accuracy, beside each stream and the largest class."""
    classes, labels = len(fused.classes), fused.labels
    aligned = align(streams)
    found = []
    for k in top_k_levels(classes):
        ours = top_k_hits(fused.logits, labels, k)
        controls = {stream: top_k_hits(scores.logits, labels, k) for stream, scores in aligned.items()}
        controls |= largest_classes(k, labels, classes)
        found.append(top_k_score(k, ours, controls))
        if k == 1:
            found.append(_class_mean_score(ours, controls, labels, classes))
    return found


def _class_mean_score(ours: Tensor, controls: Mapping[str, Tensor], labels: Tensor, classes: int) -> Score:
    def figure(hits: Tensor) -> Figure:
        values = hits.double().numpy()
        return lambda counts: class_mean(values, labels.numpy(), classes, counts).value

    own, others = figure(ours), {name: figure(hits) for name, hits in controls.items()}
    known = {name: figure_estimate(other, len(labels)) for name, other in others.items()}
    return Score(
        "mean class accuracy",
        "mean over classes of the share of their clips named rightly",
        figure_estimate(own, len(labels)),
        known,
        figure_estimate(partial(ahead, own, others[best_of(known)]), len(labels)),
    )


def fuse_runs(runs: Sequence[Path], weights: Sequence[float], split: str, of: Average, out: Path) -> list[Score]:
    """Fuse what evaluations of ``split`` left in the folders of runs.

    Leaves in ``out``, as an evaluation does in its run: ``scores_SPLIT.npz`` and ``metrics_SPLIT.json``, with what was
    fused and how.

    Raises:
        PredictionsError: as :func:`fuse`, scores that are missing or damaged or of a single clip, or a run given
            twice.
    """
    files = {str(run): scores_file(run, split) for run in runs}
    if len(files) < len(runs):
        raise PredictionsError(f"a run is given twice: {', '.join(map(str, runs))}; fuse different ones")
    streams = {name: read_class_scores(path) for name, path in files.items()}
    fused = fuse(streams, weights, of)
    if len(fused.clips) < 2:
        raise PredictionsError(f"{next(iter(files.values()))} holds one clip; intervals need two or more")
    scores = fusion_scores(fused, streams)
    out.mkdir(parents=True, exist_ok=True)
    write_class_scores(scores_file(out, split), fused)
    made_of = [
        {"run": name, "weight": weight, "scores_sha256": content_hash(path)}
        for (name, path), weight in zip(files.items(), weights, strict=True)
    ]
    write_metrics(out, split, _record(fused, scores, split, {"streams": made_of, "average": of}))
    return scores


def _record(fused: ClassScores, scores: Sequence[Score], split: str, fusion: dict[str, Any]) -> dict[str, Any]:
    hits = top_k_hits(fused.logits, fused.labels).numpy()
    diagram = reliability(confidences(fused.logits), hits)
    return {
        "split": split,
        "clips": len(fused.clips),
        "versions": {name: version(name) for name in ("whenwhere", "torch", "numpy")},
        "fusion": fusion,
        "scores": [score.to_dict() for score in scores],
        **classification_record(fused.logits, fused.labels, fused.classes, diagram),
    }
