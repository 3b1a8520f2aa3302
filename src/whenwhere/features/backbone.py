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
from whenwhere.errors import WhenwhereError
from whenwhere.files import whole_file
from whenwhere.video.transforms import Preprocessing

GLYPH_WEIGHTS = Path(__file__).parent / "weights" / "glyph_resnet.safetensors"


class WeightsError(WhenwhereError):
    """Weights that are missing, unreadable or of another model; says which file to supply."""


@dataclass(frozen=True)
class BackboneOptions:
    """Which network turns a frame into a map of features.

    Attributes:
        name: any timm model that gives feature maps. timm has no BN-Inception (11.3 million parameters), the network of
            TSN, TRN and UntrimmedNet; ``inception_v3`` stands in for it: the same authors' next version, with batch
            normalisation after every convolution too, and weights that are maintained; but 23.8 million parameters,
            and made for inputs of 299 pixels (at 224 its last map is 5 x 5, not 7 x 7).
        weights: ``hub``: timm's own pretrained weights (needs network or its cache); ``glyphs``: the small
            network that ships with the package, for the rendered data; ``random``; or the path of a
            safetensors file or a state dict (.pt, .pth).
        feature: which of the model's feature maps, -1 being the last.
        dilated: make that map twice as fine, for ResNets: the stride of its stage is replaced by dilation (à trous;
            DeepLab, Chen et al. 2018), so the same weights give the same features, at twice as many places either way.
            Features are those around the middle of each fine cell, as coarse ones are around the middle of theirs.
        average: side, in cells, of the squares over which that map is averaged; early maps, which look at little of the
            frame around each cell, are finer than need be.
        size: side of the square input in pixels; None: what belongs to the weights.
        resize: ``squash`` (whole frame, as the paper) or ``crop`` (centre).
        frame_size: width and height in pixels to which frames are brought first; None: left as they are.
        trainable: fine-tune it with the head instead of keeping it frozen.
        partial_bn: of a trainable backbone only the first batch norm learns and follows its batches; all others keep
            statistics, scale and shift (TSN, Wang et al. 2016, Sec. 3.2). In a frozen one all of them do.
        in_channels: of its input: 3 for pictures, or x and y of each field in a stack of optical flow; set by
            ``data.modality``.
    """

    name: str = "resnet50"
    weights: str = "hub"
    feature: int = -1
    dilated: bool = False
    average: int = 1
    size: int | None = None
    resize: str = "squash"
    frame_size: tuple[int, int] | None = None
    trainable: bool = False
    partial_bn: bool = False
    in_channels: int = 3

    def __post_init__(self) -> None:
        if self.in_channels != 3 and (self.in_channels < 2 or self.in_channels % 2):
            raise ValueError(f"in_channels must be 3, or even for stacks of optical flow, got {self.in_channels}")
        if self.average < 1:
            raise ValueError(f"backbone.average must be at least 1, got {self.average}")


class Backbone(nn.Module):
    """A timm model cut off at one feature map.

    Shape:
        `(N, 3, size, size)` normalised frames, or `(N, 2 L, size, size)` stacks of optical flow, to `(N, C, H, W)`.

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
        name, first = _first_convolution(self.model)
        ready = local is not None and _input_channels(local[0], name) == options.in_channels
        if options.in_channels != 3 and ready:  # saved by a training on flow
            _widen(first, options.in_channels)
        if local:
            _load(self.model, local[0], options)
        if options.in_channels != 3 and not ready:
            _widen(first, options.in_channels)
        self.preprocessing = _preprocessing(options, metadata, self.model)
        self.channels: int = self.model.feature_info.channels()[-1]
        self.identity = _identity(self.model, self.preprocessing)
        self._kept_norms = _batch_norms_but_the_first(self.model, options.name) if options.partial_bn else []
        for norm in self._kept_norms:
            norm.requires_grad_(False)
        if options.average > 1:
            self.identity += f"-{options.average}"
        if not options.trainable:
            self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Backbone:
        """A frozen backbone stays in evaluation mode, so its batch statistics do not drift; so do norms that are."""
        super().train(mode and self.options.trainable)
        for norm in self._kept_norms:
            norm.eval()
        return self

    def forward(self, frames: Tensor) -> Tensor:
        if self.options.dilated:
            frames = _moved(frames, self.model.feature_info.reduction()[-1] // 4)
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
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        with whole_file(path) as partial:
            save_file(tensors, str(partial), {**known, **self.metadata, "input_size": known["input_size"]})
        return path


def _moved(frames: Tensor, pixels: int) -> Tensor:
    """Frames moved right and down, their border repeated where they leave a gap.

    A dilated stage puts the features of a coarse cell into the first of the two cells that share its place, a quarter
    of a coarse cell before its middle: cells of 8 pixels have their middles at 4, 12, ..., cells of 4 pixels at 2, 6,
    ... Moved by that much, every fine cell has the features of what lies around its own middle.
    """
    return F.pad(frames, (pixels, 0, pixels, 0), mode="replicate")[..., : frames.shape[-2], : frames.shape[-1]]


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
    if options.dilated:
        _dilate_last_stage(model, name)
    return model


def _batch_norms_but_the_first(model: nn.Module, name: str) -> list[nn.Module]:
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    norms: list[nn.Module] = [module for module in model.modules() if isinstance(module, kinds)]
    if not norms:
        raise WeightsError(f"backbone.partial_bn is for networks with batch norm; {name} has none: leave it out")
    return norms[1:]


def _stride_in_first_convolution(model: nn.Module) -> None:
    """Move a bottleneck's stride to its first 1 x 1 convolution, as in the original Caffe ResNets."""
    for module in model.modules():
        first, second = getattr(module, "conv1", None), getattr(module, "conv2", None)
        bottleneck = isinstance(getattr(module, "conv3", None), nn.Conv2d)
        if bottleneck and isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d) and second.stride == (2, 2):
            first.stride, second.stride = (2, 2), (1, 1)


def _dilate_last_stage(model: nn.Module, name: str) -> None:
    """Take the stride out of the last stage of a ResNet; what comes after it looks as much farther apart.

    Every other cell of the new map is exactly a cell of the old one: each of its sums is over the same terms.
    """
    from timm.layers import AvgPool2dSame

    last, stage = list(model.named_children())[-1]
    strided = [conv for conv in stage.modules() if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2)]
    if not last.startswith("layer") or not strided:
        raise WeightsError(
            f"backbone.dilated takes the stride out of a ResNet's stage; the last one of {name!r}, {last!r}, has none. "
            "Leave it out or choose another backbone.feature"
        )
    dilation = (1, 1)
    for path, module in list(stage.named_modules()):
        if isinstance(module, nn.AvgPool2d):
            parent, _, child = path.rpartition(".")
            same = AvgPool2dSame(module.kernel_size, 1, ceil_mode=True, count_include_pad=False)
            setattr(stage.get_submodule(parent), child, same)
        elif isinstance(module, nn.Conv2d):
            shortcut = "downsample" in path
            if module.stride == (2, 2):
                module.stride, dilation = (1, 1), dilation if shortcut else (2, 2)
            elif module.kernel_size != (1, 1):
                module.dilation = dilation
                module.padding = tuple(d * (k // 2) for d, k in zip(dilation, module.kernel_size, strict=True))


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


def _first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))


def _input_channels(state: dict[str, Tensor], convolution: str) -> int | None:
    weight = state.get(f"{convolution}.weight", state.get(f"module.{convolution}.weight"))
    return None if weight is None or weight.ndim != 4 else weight.shape[1]


def _widen(convolution: nn.Conv2d, channels: int) -> None:
    """Give a convolution of RGB ``channels`` inputs; each has the mean of the three kernels.

    The cross-modality initialisation of TSN (Wang et al. 2016, Sec. 3.2; tsn-pytorch, ``_construct_flow_model``).
    """
    mean = convolution.weight.detach().mean(dim=1, keepdim=True)
    convolution.weight = nn.Parameter(mean.repeat(1, channels, 1, 1))
    convolution.in_channels = channels


def _preprocessing(options: BackboneOptions, metadata: dict[str, str], model: Any) -> Preprocessing:
    """Mean, deviation and size from the weights' own record; timm's for its hub weights.

    Of flow, as tsn-pytorch: mean 0.5, no motion, and the mean of the deviations of RGB.
    """
    config = getattr(model, "pretrained_cfg", None) or {}

    def numbers(name: str) -> tuple[float, ...]:
        values = json.loads(metadata[name]) if name in metadata else config.get(name)
        return tuple(float(value) for value in values or getattr(Preprocessing, name))

    mean, std = numbers("mean"), numbers("std")
    flow = options.in_channels != 3
    if flow and len(std) != options.in_channels:
        mean, std = (0.5,) * options.in_channels, (sum(std) / len(std),) * options.in_channels
    size = options.size or int(metadata.get("input_size", (config.get("input_size") or (3, 224, 224))[-1]))
    return Preprocessing(size=size, resize=options.resize, frame_size=options.frame_size, mean=mean, std=std, flow=flow)


def _identity(model: nn.Module, preprocessing: Preprocessing) -> str:
    known = asdict(preprocessing)
    for option in ("frame_size", "flow"):
        if not known[option]:
            del known[option]  # features stored before there was such an option stay valid
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    # Features stored before were normalised by the statistics of their own batch: they are of another kind.
    digest.update(b"running statistics")
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    digest.update("".join(str(conv.stride) for conv in convolutions).encode())
    digest.update("".join(str(conv.dilation) for conv in convolutions if conv.dilation != (1, 1)).encode())
    return digest.hexdigest()[:16]
