"""Frame features from any timm model, with the preprocessing that belongs to its weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from whenwhere._torchvision import ensure_torchvision
from whenwhere.video.transforms import Preprocessing

GLYPH_WEIGHTS = Path(__file__).parent / "weights" / "glyph_resnet.safetensors"


class WeightsError(Exception):
    """Weights that are missing, unreadable or of another model; says which file to supply."""


@dataclass(frozen=True)
class BackboneOptions:
    """Which network turns a frame into a map of features.

    Attributes:
        name: any timm model that gives feature maps.
        weights: ``hub``: timm's own pretrained weights (needs network or its cache); ``glyphs``: the small
            network that ships with the package, for the rendered data; ``random``; or the path of a
            safetensors file or a state dict (.pt, .pth).
        feature: which of the model's feature maps, -1 being the last.
        average: side, in cells, of the squares over which that map is averaged; early maps, which look at little of the
            frame around each cell, are finer than need be.
        size: side of the square input in pixels; None: what belongs to the weights.
        resize: ``squash`` (whole frame, as the paper) or ``crop`` (centre).
        frame_size: width and height in pixels to which frames are brought first; None: left as they are.
        trainable: fine-tune it with the head instead of keeping it frozen.
    """

    name: str = "resnet50"
    weights: str = "hub"
    feature: int = -1
    average: int = 1
    size: int | None = None
    resize: str = "squash"
    frame_size: tuple[int, int] | None = None
    trainable: bool = False

    def __post_init__(self) -> None:
        if self.average < 1:
            raise ValueError(f"backbone.average must be at least 1, got {self.average}")


class Backbone(nn.Module):
    """A timm model cut off at one feature map.

    Shape:
        `(N, 3, size, size)` normalised frames to `(N, C, H, W)`.

    Attributes:
        preprocessing: what the weights expect of their input.
        channels: C.
        identity: hash of architecture, weights and preprocessing, for caches and run records.
    """

    def __init__(self, options: BackboneOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or BackboneOptions()
        if options.weights == "glyphs":
            options = replace(options, weights=str(GLYPH_WEIGHTS))
        local = None if options.weights in ("hub", "random") else _read_local(Path(options.weights))
        self.metadata = metadata = local[1] if local else {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # so that random weights are the same when a run is loaded again
            self.model = _create(options, metadata)
        if local:
            _load(self.model, local[0], options)
        self.preprocessing = _preprocessing(options, metadata, self.model)
        self.channels: int = self.model.feature_info.channels()[-1]
        self.identity = _identity(self.model, self.preprocessing)
        if options.average > 1:
            self.identity += f"-{options.average}"
        if not options.trainable:
            self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Backbone:
        """A frozen backbone stays in evaluation mode, so its batch statistics do not drift."""
        return super().train(mode and self.options.trainable)

    def forward(self, frames: Tensor) -> Tensor:
        features = self.model(frames)[-1]
        side, (height, width) = self.options.average, features.shape[-2:]
        if height % side or width % side:
            raise ValueError(f"backbone.average must divide the map's {height} x {width} cells, got {side}")
        return F.avg_pool2d(features, side) if side > 1 else features

    def save(self, path: str | Path) -> Path:
        """Write weights and what they expect of their input, to be read again as ``BackboneOptions.weights``."""
        path = Path(path)
        known = {
            "architecture": self.options.name,
            "mean": json.dumps(self.preprocessing.mean),
            "std": json.dumps(self.preprocessing.std),
            "input_size": str(self.preprocessing.size),
        }
        partial = path.with_name(path.name + ".partial")
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        save_file(tensors, str(partial), {**known, **self.metadata, "input_size": known["input_size"]})
        partial.replace(path)
        return path


def _read_local(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
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


def _create(options: BackboneOptions, metadata: dict[str, str]) -> Any:
    ensure_torchvision()
    import timm

    name = metadata.get("architecture", options.name) if options.weights != "hub" else options.name
    arguments: dict[str, Any] = json.loads(metadata.get("arguments", "{}"))
    feature = int(metadata.get("out_index", options.feature)) if options.feature == -1 else options.feature
    try:
        model = timm.create_model(
            name, pretrained=options.weights == "hub", features_only=True, out_indices=(feature,), **arguments
        )
    except Exception as error:
        if options.weights != "hub" or name not in timm.list_models():
            raise WeightsError(f"timm cannot build {name!r} with feature maps: {error}") from error
        raise WeightsError(
            f"could not get the pretrained weights of {name!r} from the hub ({type(error).__name__}). Without "
            f"network, download them elsewhere and pass the file: --backbone.weights {name}.safetensors"
        ) from error
    if "first 1x1" in metadata.get("stride", ""):
        _stride_in_first_convolution(model)
    return model


def _stride_in_first_convolution(model: nn.Module) -> None:
    """Move a bottleneck's stride to its first 1 x 1 convolution, as in the original Caffe ResNets."""
    for module in model.modules():
        first, second = getattr(module, "conv1", None), getattr(module, "conv2", None)
        bottleneck = isinstance(getattr(module, "conv3", None), nn.Conv2d)
        if bottleneck and isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d) and second.stride == (2, 2):
            first.stride, second.stride = (2, 2), (1, 1)


def _load(model: nn.Module, state: dict[str, Tensor], options: BackboneOptions) -> None:
    state = {name.removeprefix("module."): value.float() for name, value in state.items()}
    missing = [
        name
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked") and (name not in state or state[name].shape != value.shape)
    ]
    if missing:
        raise WeightsError(
            f"{options.weights} does not fit {options.name}: {len(missing)} tensors are absent or of another shape, "
            f"first {missing[0]!r}. Expected the key names of timm's {options.name}."
        )
    model.load_state_dict(state, strict=False)


def _preprocessing(options: BackboneOptions, metadata: dict[str, str], model: Any) -> Preprocessing:
    """Mean, deviation and size from the weights' own record; timm's for its hub weights."""
    config = getattr(model, "pretrained_cfg", None) or {}

    def numbers(name: str) -> tuple[float, float, float]:
        values = json.loads(metadata[name]) if name in metadata else config.get(name)
        return tuple(float(value) for value in values or getattr(Preprocessing, name))  # type: ignore[return-value]

    size = options.size or int(metadata.get("input_size", (config.get("input_size") or (3, 224, 224))[-1]))
    return Preprocessing(
        size=size, resize=options.resize, frame_size=options.frame_size, mean=numbers("mean"), std=numbers("std")
    )


def _identity(model: nn.Module, preprocessing: Preprocessing) -> str:
    known = asdict(preprocessing)
    if preprocessing.frame_size is None:
        del known["frame_size"]  # features stored before there was such an option stay valid
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    # Features stored before were normalised by the statistics of their own batch: they are of another kind.
    digest.update(b"running statistics")
    strides = [str(module.stride) for module in model.modules() if isinstance(module, nn.Conv2d)]
    digest.update("".join(strides).encode())
    return digest.hexdigest()[:16]
