"""Which clips several runs were all tested on: rows are fused, and held against one another, on those alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.predictions import PredictionsError
from whenwhere.reproduce.plan import PREDICTIONS

AGAIN = f"delete their {PREDICTIONS} and run again, so that they are tested anew"


class Seen(NamedTuple):
    """What a run was tested on.

    Attributes:
        clips: N names; none where its predictions were written by an earlier version.
        labels: `(N,)`.
    """

    clips: tuple[str, ...]
    labels: Tensor

    @classmethod
    def of(cls, predictions: Predictions) -> Seen:
        return cls(predictions.clips, predictions.labels)


def shared_clips(runs: Mapping[str, Seen]) -> list[Tensor]:
    """Where the clips that all runs were tested on stand in each, `(M,)`, in the order of the first.

    Where one does not name its clips they are taken to be the same, as long as their labels are.

    Raises:
        PredictionsError: no clip in common, or clips that do not have the same label in all.
    """
    names, (first, *_) = " and ".join(map(repr, runs)), runs.values()
    if all(run.clips for run in runs.values()):
        common = set(first.clips).intersection(*(run.clips for run in runs.values()))
        if not common:
            raise PredictionsError(f"{names} were tested on no clip in common; {AGAIN}")
        index = [{clip: place for place, clip in enumerate(run.clips)} for run in runs.values()]
        places = [torch.tensor([at[clip] for clip in first.clips if clip in common]) for at in index]
    elif any(len(run.labels) != len(first.labels) for run in runs.values()):
        raise PredictionsError(f"{names} were tested on different clips, and do not say on which; {AGAIN}")
    else:
        places = [torch.arange(len(first.labels))] * len(runs)
    labels = [run.labels[place] for run, place in zip(runs.values(), places, strict=True)]
    if any(not torch.equal(each, labels[0]) for each in labels):
        raise PredictionsError(f"{names} were tested on clips of different labels; {AGAIN}")
    return places


def only(predictions: Predictions, places: Tensor) -> Predictions:
    """Predictions of some of the clips."""
    said = {field.name: getattr(predictions, field.name) for field in fields(predictions)}
    some: dict[str, Any] = {name: value[places] for name, value in said.items() if isinstance(value, Tensor)}
    clips = tuple(predictions.clips[place] for place in places.tolist()) if predictions.clips else ()
    return replace(predictions, **some, clips=clips)
