"""Where networks run when nothing is trained: on a GPU if there is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def best_device() -> torch.device:
    """The GPU if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def on_best_device(network: nn.Module) -> Iterator[None]:
    """A network on :func:`best_device` meanwhile, and back on the processor afterwards."""
    network.to(best_device())
    try:
        yield
    finally:
        network.to("cpu")
