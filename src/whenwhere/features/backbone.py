"""Frame features from any timm model, with the preprocessing that belongs to its weights."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from whenwhere._torchvision import ensure_torchvision
from whenwhere.features.surgery import (
    batch_norms_but_the_first,
    dilate_last_stage,
    first_convolution,
    moved,
    stride_in_first_convolution,
    widen,
)
from whenwhere.features.weight_files import WeightsError, fit_weights, input_channels, read_weights
from whenwhere.files import whole_file
from whenwhere.video.transforms import Preprocessing

GLYPH_WEIGHTS = Path(__file__).parent / "weights" / "glyph_resnet.safetensors"
_PLAIN_RESNET = re.compile(r"(test_)?resnet\d*d?(\..+)?")


@dataclass(frozen=True)
class BackboneOptions:
    """Which network turns a frame into a map of features.

    Attributes:
        name: any timm model that gives feature maps. timm has no BN-Inception (11.3 million parameters), the network of
            TSN, TRN and UntrimmedNet; ``inception_v3`` stands in for it: the same authors' next version, with batch
            normalisation after every convolution too, and weights that are maintained; but 23.8 million parameters,
            and made for inputs of 299 pixels (at 224 its last map is 5 x 5, not 7 x 7). A weights file that names its
            architecture needs no name here; one that differs is an error.
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
        resize: ``squash`` (whole frame, as the paper) or ``crop`` (centre, of the share that belongs to the weights).
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

    Args:
        options: which network.
        metadata: of a backbone whose weights are loaded afterwards: what that one's :attr:`metadata` was. Then
            ``options.weights`` are not read; they may be gone.

    Attributes:
        metadata: what the weights say of themselves: architecture, mean, deviation, size of their input and the like.
        preprocessing: what the weights expect of their input.
        channels: C.
    """

    def __init__(self, options: BackboneOptions | None = None, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.options = options = options or BackboneOptions()
        if metadata is not None:
            options = replace(options, weights="random")
        elif options.weights == "glyphs":
            options = replace(options, weights=str(GLYPH_WEIGHTS))
        local = None if options.weights in ("hub", "random") else read_weights(Path(options.weights))
        said = dict(metadata or {}) if local is None else local[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # so that random weights are the same when a run is loaded again
            self.model = _create(options, said)
        name, first = first_convolution(self.model)
        ready = local is not None and input_channels(local[0], name) == options.in_channels
        if options.in_channels != 3 and ready:  # saved by a training on flow
            widen(first, options.in_channels)
        if local:
            fit_weights(self.model, local[0], options.weights, said.get("architecture", options.name))
        if options.in_channels != 3 and not ready:
            widen(first, options.in_channels)
        self.metadata = _described(options, said, self.model)
        self.preprocessing = _preprocessing(options, self.metadata)
        self.channels: int = self.model.feature_info.channels()[-1]
        self._kept_norms = batch_norms_but_the_first(self.model, options.name) if options.partial_bn else []
        for norm in self._kept_norms:
            norm.requires_grad_(False)
        if not options.trainable:
            self.requires_grad_(False).eval()

    @property
    def identity(self) -> str:
        """Hash of architecture, weights and preprocessing as they are now, for caches and run records.

        It reads all the weights, a fifth of a second for a ResNet-50: ask once for a set of clips.
        """
        digest = _identity(self.model, self.preprocessing, self.metadata)
        return f"{digest}-{self.options.average}" if self.options.average > 1 else digest

    def train(self, mode: bool = True) -> Backbone:
        """A frozen backbone stays in evaluation mode, so its batch statistics do not drift; so do norms that are."""
        super().train(mode and self.options.trainable)
        for norm in self._kept_norms:
            norm.eval()
        return self

    def forward(self, frames: Tensor) -> Tensor:
        if self.options.dilated:
            frames = moved(frames, self.model.feature_info.reduction()[-1] // 4)
        features = self.model(frames)[-1]
        side, (height, width) = self.options.average, features.shape[-2:]
        if height % side or width % side:
            raise ValueError(f"backbone.average must divide the map's {height} x {width} cells, got {side}")
        return F.avg_pool2d(features, side) if side > 1 else features

    def save(self, path: str | Path) -> Path:
        """Write weights and what they expect of their input, to be read again as ``BackboneOptions.weights``."""
        path = Path(path)
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        with whole_file(path) as partial:
            save_file(tensors, str(partial), {**self.metadata, "input_size": str(self.preprocessing.size)})
        return path


def _create(options: BackboneOptions, metadata: dict[str, str]) -> Any:
    ensure_torchvision()
    import timm

    name = metadata.get("architecture", options.name)
    given = options.name.split(".")[0]
    if given not in (BackboneOptions.name, name.split(".")[0]):
        raise WeightsError(
            f"{options.weights} holds weights of {name!r}, but backbone.name is {options.name!r}; leave the name out "
            "or give other weights"
        )
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
        stride_in_first_convolution(model)
    if options.dilated:
        dilate_last_stage(model, name)
    return model


def _described(options: BackboneOptions, said: dict[str, str], model: Any) -> dict[str, str]:
    """What weights say of themselves, and where they do not what timm says of its own.

    How frames are resized timm says for its hub weights, and for files that say nothing; what a file with a mean of its
    own does not say was done the usual way, and random weights ask for nothing.
    """
    config = getattr(model, "pretrained_cfg", None) or {}
    known = {
        "architecture": options.name,
        "mean": json.dumps(config.get("mean") or Preprocessing.mean),
        "std": json.dumps(config.get("std") or Preprocessing.std),
        "input_size": str((config.get("input_size") or (3, 224, 224))[-1]),
    }
    if options.weights != "random" and "mean" not in said:
        known |= {name: str(config[name]) for name in ("interpolation", "crop_pct") if config.get(name)}
    return {**known, **said}


def _preprocessing(options: BackboneOptions, metadata: dict[str, str]) -> Preprocessing:
    """What the weights expect.

    Of flow, as tsn-pytorch: mean 0.5, no motion, the mean of the deviations of RGB, and resized the usual way.
    """
    mean, std = (tuple(float(value) for value in json.loads(metadata[name])) for name in ("mean", "std"))
    size = options.size or int(metadata["input_size"])
    flow = options.in_channels != 3
    if flow and len(std) != options.in_channels:
        mean, std = (0.5,) * options.in_channels, (sum(std) / len(std),) * options.in_channels
    bicubic = not flow and metadata.get("interpolation") == "bicubic"
    centre = not flow and options.resize == "crop" and "crop_pct" in metadata
    return Preprocessing(
        size=size,
        resize=options.resize,
        resize_short=math.floor(size / float(metadata["crop_pct"])) if centre else None,  # rounded as timm does
        frame_size=options.frame_size,
        mean=mean,
        std=std,
        interpolation="bicubic" if bicubic else "bilinear",
        flow=flow,
    )


def _identity(model: Any, preprocessing: Preprocessing, metadata: Mapping[str, str]) -> str:
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
    name = metadata["architecture"]
    if not _PLAIN_RESNET.fullmatch(name):
        # Others may keep all their stages wherever the map is taken, or share their tensors with networks that pad or
        # activate otherwise. Of plain ResNets tensors and strides tell everything.
        said = (name.split(".")[0], model.feature_info.module_name()[-1], metadata.get("arguments", ""))
        digest.update(json.dumps(said).encode())
    return digest.hexdigest()[:16]
