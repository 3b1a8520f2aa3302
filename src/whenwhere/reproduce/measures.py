"""What the tables measure, from a run's predictions alone, each by the protocol it is named after.

Where and when are scored on the frames the model looked at, boxes in shares of the frame, segments in frames: the
clip is its own window, as in the public scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from whenwhere.evaluation.answers import When, Where, when_answers, where_answers
from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.protocol_result import Measured, measured_map, measured_rate
from whenwhere.evaluation.scores import runs_as_segments
from whenwhere.localization import LocalizationOptions
from whenwhere.metrics.bootstrap import bootstrap_statistics
from whenwhere.metrics.classification import top_k_hits
from whenwhere.metrics.spatial import hit_rate
from whenwhere.metrics.spatial_detection import Boxes, rank_boxes
from whenwhere.metrics.temporal import paper_hit_rate, paper_recall
from whenwhere.metrics.temporal_detection import activitynet_detection

BOX_LEVELS, TIME_LEVELS = (0.05, 0.1, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)
FRAME_LEVELS = (0.2, 0.5)
CONTROLS = ("full frame", "centre box", "random box", "all frames", "random half", "random run")


@dataclass(frozen=True)
class Measure:
    """A measure of a table.

    Attributes:
        columns: names of its K values.
        protocol: its name and rule, in a sentence.
        of: from predictions, the answer and how it is cut to K values in [0, 1] that can be taken again on a resample
            of the clips; None where the truth or the classes do not allow it.
    """

    columns: tuple[str, ...]
    protocol: str
    of: Callable[[Predictions, str, str], Measured | None]


@dataclass(frozen=True)
class Figures:
    """K values of one row, in [0, 1].

    Attributes:
        seeds: `(S, K)`.
        low, high: `(K,)`, 95 % bootstrap interval over clips of the mean over seeds; NaN where there is none.
        clips: how many.
    """

    seeds: np.ndarray
    low: np.ndarray
    high: np.ndarray
    clips: int

    @property
    def mean(self) -> np.ndarray:
        return self.seeds.mean(0)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over seeds, NaN for one seed alone."""
        return self.seeds.std(0, ddof=1) if len(self.seeds) > 1 else np.full(self.seeds.shape[1], np.nan)


def figures(seeds: Sequence[Measured], resamples: int = 200) -> Figures:
    """Values of several seeds on the same clips, which are drawn anew for all of them at once."""
    values = np.stack([measured.mean for measured in seeds])
    low, high = bootstrap_statistics(partial(_mean_again, seeds), seeds[0].videos, resamples=resamples)
    shape = values.shape[1:]
    return Figures(values, np.broadcast_to(low, shape), np.broadcast_to(high, shape), seeds[0].videos)


def difference(
    ours: Sequence[Measured], other: Sequence[Measured], shared: Sequence[np.ndarray], resamples: int = 200
) -> Figures:
    """Mean over seeds of one row minus that of another on the clips that both are of; ``seeds`` is `(1, K)`.

    Args:
        shared: where those clips stand in the one and in the other, `(V,)` each.
    """
    mine, theirs = shared

    def again(counts: np.ndarray) -> np.ndarray:
        one, two = np.zeros(ours[0].videos, int), np.zeros(other[0].videos, int)
        one[mine], two[theirs] = counts, counts
        return _mean_again(ours, one) - _mean_again(other, two)

    count = len(mine)
    value = again(np.ones(count, int))
    low, high = bootstrap_statistics(again, count, resamples=resamples)
    return Figures(value[None], np.broadcast_to(low, value.shape), np.broadcast_to(high, value.shape), count)


def _mean_again(seeds: Sequence[Measured], counts: np.ndarray) -> np.ndarray:
    return np.mean([measured.again(counts) for measured in seeds], 0)


def _accuracy(k: int, predictions: Predictions, answer: str, rule: str) -> Measured | None:
    if predictions.logits.shape[1] <= k:
        return None  # all classes are among the first k
    hits = top_k_hits(predictions.logits, predictions.labels, k).double().numpy()[:, None]
    return measured_rate(hits, np.ones(len(hits)), {})


def _paper_boxes(predictions: Predictions, answer: str, rule: str) -> Measured | None:
    found = _where(predictions, answer, rule)
    if found is None or predictions.boxes is None:
        return None
    truth = predictions.boxes
    known = ~truth.isnan().any(-1)
    has = known.any(1)
    rates = [
        hit_rate(box[inside], true[inside], BOX_LEVELS)
        for box, true, inside in zip(found.boxes[has], truth[has], known[has])
    ]
    # Clips without the action have nothing to hit; they stay in the draws, as those of every other measure.
    every = np.zeros((len(truth), len(BOX_LEVELS)))
    every[has.numpy()] = rates
    return measured_rate(every, known.sum(1).double().numpy(), {})


def _frame_map(predictions: Predictions, answer: str, rule: str) -> Measured | None:
    found = _where(predictions, answer, rule)
    if found is None or predictions.boxes is None:
        return None
    known = ~predictions.boxes.isnan().any(-1)
    truth = _boxes(known, predictions.boxes, predictions.labels, torch.ones(known.shape))
    if answer in CONTROLS:  # told the class and the frames
        chance = torch.rand(len(known), generator=torch.Generator().manual_seed(0))
        given = _boxes(known, found.boxes, predictions.labels, chance[:, None].expand(known.shape))
    else:
        sure, named = predictions.logits.softmax(1).max(1)
        when = _profile(predictions, answer)
        share = when / when.amax(1, keepdim=True).clamp_min(1e-12)
        there = (found.boxes[..., 2:] > found.boxes[..., :2]).all(-1)
        given = _boxes(there, found.boxes, named, sure[:, None] * share)
    ranked = rank_boxes(given, truth, len(known), FRAME_LEVELS)
    return measured_map({str(label): one for label, one in ranked.items()}, "area")


def _paper_time(predictions: Predictions, answer: str, rule: str) -> Measured | None:
    found = _when(predictions, answer, rule)
    if found is None or predictions.active is None:
        return None
    recall = paper_recall(found.frames.numpy(), predictions.active.numpy())
    has = ~np.isnan(recall)
    rates = np.zeros((len(recall), len(TIME_LEVELS)))
    rates[has] = [paper_hit_rate([one], TIME_LEVELS) for one in recall[has]]
    return measured_rate(rates, has.astype(float), {})


def _activitynet(predictions: Predictions, answer: str, rule: str) -> Measured | None:
    found = _when(predictions, answer, rule)
    if found is None or predictions.active is None:
        return None
    active, labels = predictions.active, predictions.labels
    sure, named = predictions.logits.softmax(1).max(1)
    if answer in CONTROLS:
        sure, named = torch.rand(len(labels), generator=torch.Generator().manual_seed(0)), labels
        found = When(found.frames & active.any(1, keepdim=True), None)  # told which clips have an action
    truth = runs_as_segments(active, None, labels, torch.ones(len(labels)), scored=False)
    given = runs_as_segments(found.frames, found.profile, named, sure)
    return measured_map(activitynet_detection(given, truth, TIME_LEVELS, np.arange(len(labels))), "area")


def _where(predictions: Predictions, answer: str, rule: str) -> Where | None:
    if predictions.boxes is None or predictions.boxes.isnan().all():
        return None
    maps = {"class evidence": predictions.evidence, "Grad-CAM": predictions.grad_cam}
    if answer in maps:  # looked at as if it were the mask, so that nothing else is cut
        found = maps[answer]
        if found is None:
            return None
        predictions, answer = replace(predictions, masks=found.clamp_min(0)), "attention"
    alone = replace(predictions, evidence=None, grad_cam=None, difference=None)
    return where_answers(alone, LocalizationOptions(rule=rule)).get(answer)  # type: ignore[arg-type]


def _when(predictions: Predictions, answer: str, rule: str) -> When | None:
    if predictions.active is None or not predictions.active.any():
        return None
    length = max(1, round(float(predictions.active.sum(1)[predictions.active.any(1)].float().mean())))
    return when_answers(predictions, length, LocalizationOptions(rule=rule)).get(answer)  # type: ignore[arg-type]


def _profile(predictions: Predictions, answer: str) -> Tensor:
    """How much each frame matters by an answer, `(N, T)`."""
    profile = when_answers(predictions, 1)[answer].profile
    assert profile is not None
    return profile


def _boxes(which: Tensor, corners: Tensor, labels: Tensor, scores: Tensor) -> Boxes:
    """Boxes `(N, T, 4)` of frames `(N, T)` as a table, a label a clip."""
    videos, frames = (index.numpy() for index in which.nonzero(as_tuple=True))
    return Boxes(
        videos, frames, labels.numpy()[videos], corners[which].double().numpy(), scores[which].double().numpy()
    )


MEASURES: dict[str, Measure] = {
    "top-1": Measure(("top-1",), "share of clips whose class is the likeliest", partial(_accuracy, 1)),
    "top-5": Measure(("top-5",), "share of clips whose class is among the 5 likeliest", partial(_accuracy, 5)),
    "paper-boxes": Measure(
        tuple(f"{level:g}" for level in BOX_LEVELS),
        "the paper's rule by its public scripts: share of annotated frames whose box overlaps the true one by at least "
        "the IoU; a hit rate, called mAP in the paper",
        _paper_boxes,
    ),
    "frame-mAP": Measure(
        tuple(f"frame-mAP@{level:g}" for level in FRAME_LEVELS),
        "mean average precision of boxes (UCF101-24; Singh, Saha et al. 2017) on the frames looked at",
        _frame_map,
    ),
    "paper": Measure(
        tuple(f"{level:g}" for level in TIME_LEVELS),
        "the paper's rule by its public scripts: share of clips of whose true frames more than that share is named; a "
        "recall, called mAP in the paper",
        _paper_time,
    ),
    "activitynet": Measure(
        tuple(f"mAP@{level:g}" for level in TIME_LEVELS),
        "mean average precision of segments in frames (ActivityNet's evaluator)",
        _activitynet,
    ),
}
