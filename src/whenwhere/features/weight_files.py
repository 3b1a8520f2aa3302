"""Files of a backbone's weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from whenwhere.errors import WhenwhereError


class WeightsError(WhenwhereError):
    """Weights that are missing, unreadable or of another model; says which file to supply."""


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and what the file says of them; of a state dict nothing."""
    if not path.is_file():
        raise WeightsError(
            f"weights file not found: {path}. Give a safetensors file or a state dict, or 'hub' to download."
        )
    try:
        if path.suffix == ".safetensors":
            with safe_open(str(path), framework="pt") as file:
                metadata = dict(file.metadata() or {})
            return load_file(str(path)), metadata
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"cannot read weights from {path}: {error}. Expected safetensors or a state dict."
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds no state dict (a mapping of names to tensors)")
    return state, {}


def fit_weights(model: nn.Module, state: dict[str, Tensor], source: str, name: str) -> None:
    """Load weights of the network ``name`` from the file ``source``; tensors that the model does not have are left."""
    state = {name.removeprefix("module."): value.float() for name, value in state.items()}
    missing = [
        name
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked") and (name not in state or state[name].shape != value.shape)
    ]
    if missing:
        raise WeightsError(
            f"{source} does not fit {name}: {len(missing)} tensors are absent or of another shape, "
            f"first {missing[0]!r}. Expected the key names of timm's {name}."
        )
    model.load_state_dict(state, strict=False)


def input_channels(state: dict[str, Tensor], convolution: str) -> int | None:
    """Of the convolution of that name; None where there is no such."""
    weight = state.get(f"{convolution}.weight", state.get(f"module.{convolution}.weight"))
    return None if weight is None or weight.ndim != 4 else weight.shape[1]
