"""Import torchvision beside a CPU-only build of torch.

The package index holds torchvision built against CUDA only. Next to a CPU build of torch its binary
operators cannot load, and torchvision then fails on import while it describes two of them (nms, qnms)
to the compiler. Nothing here uses those operators, so declaring them is enough; where the binary loads,
this module does nothing but import it.
"""

from __future__ import annotations

import sys

import torch

_library: torch.library.Library | None = None


def ensure_torchvision() -> None:
    """Make ``import torchvision`` (and timm, which imports it) work; call before importing either."""
    global _library
    if "torchvision" in sys.modules:
        return
    try:
        import torchvision
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise
        _library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torchvision  # noqa: F401
