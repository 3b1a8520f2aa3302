"""Options from plain values, as a recipe, a checkpoint or a variant gives them; what does not fit is an error."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

Options = TypeVar("Options")


def options_from(cls: type[Options], values: Mapping[str, Any], where: str = "") -> Options:
    """Build nested options from a mapping.

    Raises:
        ValueError: an unknown option, or a value it cannot have; the message lists the valid ones.
    """
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"unknown option {where}{unknown[0]!r}; valid ones are {', '.join(sorted(hints))}")
    built: dict[str, Any] = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, Mapping):
            value = options_from(typing.cast(type, hints[name]), value, f"{where}{name}.")
        value = tuple(value) if isinstance(value, list) else value
        if not _fits(value, hints[name]):
            valid = " or ".join(_described(hints[name]))
            raise ValueError(f"{where}{name} must be {valid}, got {value!r}")
        built[name] = value
    return cls(**built)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type; whole numbers are of type float too, and no bool is a number."""
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if kind is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if kind in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in arguments)
    if kind is tuple:
        if not isinstance(value, tuple):
            return False
        each = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return len(value) == len(each) and all(map(_fits, value, each))
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return isinstance(value, hint)


def _described(hint: Any) -> list[str]:
    """What a type allows, in words."""
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if kind is Literal:
        return [f"one of {', '.join(map(str, arguments))}"]
    if kind in (typing.Union, types.UnionType):
        return [words for one in arguments for words in _described(one)]
    if hint is float:
        return ["a number (1e-3 is written 1.0e-3 in YAML)"]
    names = {int: "a whole number", str: "text", bool: "true or false", type(None): "null"}
    return [names.get(hint, "a mapping of options" if dataclasses.is_dataclass(hint) else str(hint))]
