"""What stands where content is taken away: something a model has seen the like of, that tells it nothing."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from whenwhere._torchvision import ensure_torchvision


def mean_baseline(content: Tensor, over: Literal["clip", "set"] = "clip") -> Tensor:
    """The mean over frames and cells: `(N, 1, C, 1, 1)`, or over all N clips as well, `(1, 1, C, 1, 1)`.

    Zero is no neutral feature: a head has rarely or never seen it, and what it then says is about the hole. The clip's
    mean lies where features lie, and tells neither when nor where. It still tells what: a model that only averages
    gives the same answer for it as for the clip, and what a region weighs is then what sets it apart from the rest of
    the clip. The mean of the set tells no clip's class. Of frames it is the mean colour.
    """
    return content.mean(dim=(1, 3, 4) if over == "clip" else (0, 1, 3, 4), keepdim=True)


def blurred_baseline(frames: Tensor, sigma: float = 5.0) -> Tensor:
    """Every frame blurred, `(N, T, C, H, W)` to the same: colours stay in place, shapes go (Petsiuk et al. 2018).

    Args:
        sigma: of the Gaussian in pixels; it is cut off at three of them, which must be less than H and W.
    """
    ensure_torchvision()
    from torchvision.transforms.v2 import functional

    reach = int(3 * sigma + 0.5)
    if not 0 < reach < min(frames.shape[-2:]):
        raise ValueError(f"sigma {sigma} reaches over {reach} pixels; frames are {tuple(frames.shape[-2:])}")
    return functional.gaussian_blur(frames, [2 * reach + 1] * 2, [sigma] * 2)
