"""What, when and where in videos, from video labels alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whenwhere.recognizer import Recognizer, load
    from whenwhere.structures import Box, Clip, Explanation, Segment

__version__ = "0.1.0"
__all__ = ["Box", "Clip", "Explanation", "Recognizer", "Segment", "__version__", "load"]

_HOMES = {
    "Recognizer": "recognizer",
    "load": "recognizer",
    "Box": "structures",
    "Clip": "structures",
    "Explanation": "structures",
    "Segment": "structures",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the command line answers without loading torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'whenwhere' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"whenwhere.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
