"""What commands share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from whenwhere.training.config import TrainConfig

USAGE_ERROR, FAILED = 2, 1


def make_parser(name: str) -> ArgumentParser:
    from jsonargparse import ArgumentParser

    from whenwhere.cli import COMMANDS

    return ArgumentParser(prog=f"whenwhere {name}", description=COMMANDS[name.split()[0]][1])


def add_config(parser: ArgumentParser) -> None:
    from whenwhere.training.config import TrainConfig

    parser.add_argument("--config", action="config", help="recipe: a YAML file with the options below")
    parser.add_class_arguments(TrainConfig, as_group=False)


def parsed_config(parser: ArgumentParser, parsed: Namespace) -> TrainConfig:
    from dataclasses import fields

    from whenwhere.training.config import TrainConfig

    built = parser.instantiate_classes(parsed)
    return TrainConfig(**{field.name: built[field.name] for field in fields(TrainConfig)})


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def report_broken(broken: Sequence[tuple[str, str]]) -> None:
    for _, cause in broken:
        say(f"skipped: {cause}")
    if broken:
        say(f"{len(broken)} clips could not be read and are not part of any number")
