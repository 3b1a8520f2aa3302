"""Changes to networks as timm builds them: where they stride, how fine their maps are, how many channels they take."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from whenwhere.features.weight_files import WeightsError


def moved(frames: Tensor, pixels: int) -> Tensor:
    """Frames moved right and down, their border repeated where they leave a gap.

    A dilated stage puts the features of a coarse cell into the first of the two cells that share its place, a quarter
    of a coarse cell before its middle: cells of 8 pixels have their middles at 4, 12, ..., cells of 4 pixels at 2, 6,
    ... Moved by that much, every fine cell has the features of what lies around its own middle.
    """
    return F.pad(frames, (pixels, 0, pixels, 0), mode="replicate")[..., : frames.shape[-2], : frames.shape[-1]]


def batch_norms_but_the_first(model: nn.Module, name: str) -> list[nn.Module]:
    """Of the network ``name``; WeightsError where it has none at all."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    norms: list[nn.Module] = [module for module in model.modules() if isinstance(module, kinds)]
    if not norms:
        raise WeightsError(f"backbone.partial_bn is for networks with batch norm; {name} has none: leave it out")
    return norms[1:]


def stride_in_first_convolution(model: nn.Module) -> None:
    """Move a bottleneck's stride to its first 1 x 1 convolution, as in the original Caffe ResNets."""
    for module in model.modules():
        first, second = getattr(module, "conv1", None), getattr(module, "conv2", None)
        bottleneck = isinstance(getattr(module, "conv3", None), nn.Conv2d)
        if bottleneck and isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d) and second.stride == (2, 2):
            first.stride, second.stride = (2, 2), (1, 1)


def dilate_last_stage(model: nn.Module, name: str) -> None:
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


def first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d]:
    """With its name."""
    return next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))


def widen(convolution: nn.Conv2d, channels: int) -> None:
    """Give a convolution of RGB ``channels`` inputs; each has the mean of the three kernels.

    The cross-modality initialisation of TSN (Wang et al. 2016, Sec. 3.2; tsn-pytorch, ``_construct_flow_model``).
    """
    mean = convolution.weight.detach().mean(dim=1, keepdim=True)
    convolution.weight = nn.Parameter(mean.repeat(1, channels, 1, 1))
    convolution.in_channels = channels
