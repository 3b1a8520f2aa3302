"""What a run leaves on disk: a model to use, and a state to go on from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from whenwhere.errors import WhenwhereError
from whenwhere.features.backbone import Backbone, WeightsError
from whenwhere.features.projection import Projection
from whenwhere.models import METHODS, Network, SpatioTemporalAttention
from whenwhere.training.config import TrainConfig

MODEL_FILE = "model.safetensors"
STATE_FILE = "state.pt"


class CheckpointError(WhenwhereError):
    """A run that is missing, damaged or of another configuration."""


@dataclass(frozen=True)
class ModelRecord:
    """What must be known to rebuild a model.

    Attributes:
        config: the run's.
        classes: names in the order of the logits.
        channels: C that the head gets.
        backbone_identity: hash of the backbone's weights when training began, empty without one.
        backbone_metadata: what the weights that a trainable backbone started from say of themselves, so that the run is
            loaded without them; empty for a frozen one, which is read from its own file.
    """

    config: TrainConfig
    classes: tuple[str, ...]
    channels: int
    backbone_identity: str = ""
    backbone_metadata: Mapping[str, str] = field(default_factory=dict)

    def metadata(self) -> dict[str, str]:
        tuned = {"backbone_metadata": json.dumps(self.backbone_metadata)} if self.backbone_metadata else {}
        return {
            "format": "whenwhere 1",
            "config": self.config.to_json(),
            "classes": json.dumps(self.classes),
            "channels": str(self.channels),
            "backbone_identity": self.backbone_identity,
            **tuned,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> ModelRecord:
        return cls(
            TrainConfig.from_json(metadata["config"]),
            tuple(json.loads(metadata["classes"])),
            int(metadata["channels"]),
            metadata["backbone_identity"],
            json.loads(metadata.get("backbone_metadata", "{}")),
        )


def build_head(config: TrainConfig, channels: int, classes: int, absence: int | None = None) -> torch.nn.Module:
    """The head of a run, freshly initialised; ``absence`` as of :func:`absent_class`."""
    if config.method == "spatio_temporal_attention":
        return SpatioTemporalAttention(channels, classes, config.model, absence)
    options = config.model.dropout if config.method == "frame_average" else getattr(config, config.method)
    return METHODS[config.method](channels, classes, options)


def absent_class(config: TrainConfig, classes: Sequence[str]) -> int | None:
    """Index of the class ``data.background``, the absence of all others; None: there is no such class."""
    return classes.index(config.data.background) if config.data.background in classes else None


def _kept(network: Network, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A frozen backbone is not part of a checkpoint: its own file is, by its hash."""
    frozen = network.backbone is not None and not network.backbone.options.trainable
    return {name: value for name, value in state.items() if not (frozen and name.startswith("backbone."))}


def save_model(folder: Path, network: Network, record: ModelRecord, state: Mapping[str, Tensor] | None = None) -> None:
    """Write ``model.safetensors`` with all it takes to rebuild the model; whole or not at all."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in _kept(network, state or network.state_dict()).items()
    }
    partial = folder / (MODEL_FILE + ".partial")
    save_file(tensors, str(partial), record.metadata())
    _replace(partial, folder / MODEL_FILE)


def load_model(run: str | Path) -> tuple[Network, ModelRecord]:
    """Rebuild a model from a run folder or its model file, in evaluation mode.

    Raises:
        CheckpointError: no such run, not one of ours, or its backbone's weights have changed.
    """
    path = Path(run) / MODEL_FILE if Path(run).is_dir() else Path(run)
    if not path.is_file():
        raise CheckpointError(
            f"no model at {run}: expected {MODEL_FILE} in the folder of a finished or running training"
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            record = ModelRecord.from_metadata(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise CheckpointError(f"{path} is not a model of this package: {type(error).__name__}: {error}") from error
    backbone = _backbone(record, path) if record.backbone_identity else None
    trainable = record.config.backbone.trainable
    projection = Projection(*tensors["projection.matrix"].shape) if "projection.matrix" in tensors else None
    absence = absent_class(record.config, record.classes)
    head = build_head(record.config, record.channels, len(record.classes), absence)
    network = Network(head, backbone, projection)
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    absent = [name for name in missing if trainable or not name.startswith("backbone.")]
    if absent or unexpected:
        raise CheckpointError(f"{path} does not fit its own configuration: {(absent + unexpected)[0]!r}")
    return network.eval(), record


def _backbone(record: ModelRecord, path: Path) -> Backbone:
    """A frozen one from its own file; a trainable one to load the checkpoint into, without what it started from."""
    options = record.config.backbone
    if not options.trainable:
        backbone = Backbone(options)
        if backbone.identity != record.backbone_identity:
            raise CheckpointError(
                f"{path} was trained on other backbone weights than {options.weights} holds now, or on frames "
                "resized otherwise than they ask for; supply the original file, or train it again"
            )
        return backbone
    if record.backbone_metadata:
        return Backbone(options, record.backbone_metadata)
    try:
        return Backbone(options)
    except WeightsError as error:
        raise CheckpointError(
            f"{path} does not say what its backbone is like, as runs saved now do, so the weights it started from are "
            f"needed too: {error}"
        ) from error


def load_kept(folder: Path, network: Network) -> Network:
    """Give a network the weights that its run kept, in evaluation mode.

    Raises:
        CheckpointError: the run kept none.
    """
    if not (folder / MODEL_FILE).is_file():
        raise CheckpointError(f"{folder} kept no model: no epoch had a validation loss that is a number; lower fit.lr")
    network.load_state_dict(load_file(str(folder / MODEL_FILE)), strict=False)
    return network.eval()


def save_state(folder: Path, network: Network, state: dict[str, Any]) -> None:
    """Write the resumable state, atomically and down to the disk."""
    partial = folder / (STATE_FILE + ".partial")
    with partial.open("wb") as file:
        torch.save({**state, "network": _kept(network, network.state_dict())}, file)
        file.flush()
        os.fsync(file.fileno())
    _replace(partial, folder / STATE_FILE)


def load_state(folder: Path, network: Network, config: TrainConfig) -> dict[str, Any] | None:
    """Read the resumable state into ``network``; None when there is none yet.

    Raises:
        CheckpointError: it belongs to a run with other options.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["config"] != config.to_json():
        raise CheckpointError(
            f"{path} is of a run with other options; resume with {folder / 'config.yaml'}, or use another --out"
        )
    network.load_state_dict(state.pop("network"), strict=False)
    return state


def _replace(partial: Path, path: Path) -> None:
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
