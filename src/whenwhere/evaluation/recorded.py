"""Everything a model said of a split, in one file: to be scored by any rule, and fused, without the model."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.predictions import PredictionsError
from whenwhere.files import whole_file


def save_predictions(path: Path, predictions: Predictions, classes: tuple[str, ...]) -> Path:
    """Write a safetensors file, whole or not at all; maps in half precision."""
    known = {field.name: getattr(predictions, field.name) for field in fields(Predictions)}
    said = {name: json.dumps(known.pop(name)) for name in ("broken", "clips")} | {"classes": json.dumps(classes)}
    tensors = {name: value for name, value in known.items() if value is not None}
    for name in ("masks", "evidence", "grad_cam", "difference"):
        if name in tensors:
            tensors[name] = tensors[name].half()
    tensors = {name: value.contiguous().clone() for name, value in tensors.items()}  # the file takes no views
    with whole_file(path) as partial:
        save_file(tensors, str(partial), said)
    return path


def load_predictions(path: Path) -> tuple[Predictions, tuple[str, ...]]:
    """Read what :func:`save_predictions` wrote, and the classes in the order of the logits.

    Files of an earlier version name no clips.

    Raises:
        PredictionsError: no such file, or another one.
    """
    if not path.is_file():
        raise PredictionsError(f"no such predictions: {path}; expected a file of `whenwhere evaluate --predictions`")
    try:
        with safe_open(str(path), framework="pt") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        halves = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
        optional = {"active": None, "boxes": None, "evidence": None}
        words = {"broken": tuple(json.loads(said["broken"])), "clips": tuple(json.loads(said.get("clips", "[]")))}
        return Predictions(**{**optional, **halves, **words}), tuple(json.loads(said["classes"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise PredictionsError(f"{path} is not a file of predictions: {type(error).__name__}: {error}") from error
