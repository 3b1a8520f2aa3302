"""What a run leaves on disk: a model to use, and a state to go on from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from whenwhere.errors import WhenwhereError
from whenwhere.features.backbone import Backbone
from whenwhere.features.projection import Projection
from whenwhere.models import METHODS, Network
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
        backbone_identity: hash of the frozen backbone's weights, empty without one.
    """

    config: TrainConfig
    classes: tuple[str, ...]
    channels: int
    backbone_identity: str = ""

    def metadata(self) -> dict[str, str]:
        return {
            "format": "whenwhere 1",
            "config": self.config.to_json(),
            "classes": json.dumps(self.classes),
            "channels": str(self.channels),
            "backbone_identity": self.backbone_identity,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> ModelRecord:
        return cls(
            TrainConfig.from_json(metadata["config"]),
            tuple(json.loads(metadata["classes"])),
            int(metadata["channels"]),
            metadata["backbone_identity"],
        )


def build_head(config: TrainConfig, channels: int, classes: int) -> torch.nn.Module:
    """The head of a run, freshly initialised."""
    own = {"spatio_temporal_attention": config.model, "frame_average": config.model.dropout}
    options = own[config.method] if config.method in own else getattr(config, config.method)
    return METHODS[config.method](channels, classes, options)


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
    backbone = Backbone(record.config.backbone) if record.backbone_identity else None
    trainable = record.config.backbone.trainable
    if backbone and not trainable and backbone.identity != record.backbone_identity:
        raise CheckpointError(
            f"{path} was trained on other backbone weights than {record.config.backbone.weights} holds now; "
            "supply the original file"
        )
    projection = Projection(*tensors["projection.matrix"].shape) if "projection.matrix" in tensors else None
    network = Network(build_head(record.config, record.channels, len(record.classes)), backbone, projection)
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    absent = [name for name in missing if trainable or not name.startswith("backbone.")]
    if absent or unexpected:
        raise CheckpointError(f"{path} does not fit its own configuration: {(absent + unexpected)[0]!r}")
    return network.eval(), record


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
