"""The command line. Everything heavy is imported by the command that needs it, so help comes at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from whenwhere.cli.common import FAILED, USAGE_ERROR
from whenwhere.errors import WhenwhereError

# Name: the module that holds it, and what it does.
COMMANDS = {
    "demo": ("explaining", "train on clips it renders itself and explain one; a few minutes"),
    "prepare": ("data", "write a manifest of a data set as it lies on disk"),
    "data": ("data", "look at a manifest: counts, durations, broken and duplicate clips, a contact sheet"),
    "flow": ("data", "compute the optical flow of clips once, for data.modality flow"),
    "features": ("data", "compute a frozen backbone's features once, for many trainings"),
    "finetune": ("training", "fine-tune the backbone on frames of your clips, as the paper does first"),
    "train": ("training", "train a recogniser from videos and one label for each"),
    "explain": ("explaining", "say what, when and where in videos"),
    "figure": ("exporting", "draw a filmstrip, a timeline or a gallery of explained videos, for papers"),
    "export": ("exporting", "write explanations for other tools: ActivityNet, COCO, CVAT, VIA, FiftyOne"),
    "watch": ("watching", "say what happens in a camera, a stream or a file while it plays"),
    "evaluate": ("training", "measure a trained model beside trivial controls"),
    "score": ("scoring", "score anyone's predictions against a truth by a published protocol, without a model"),
    "fuse": ("scoring", "add up the class scores of several runs, RGB and flow for instance, and measure the sum"),
    "compare": ("training", "train variants of a recipe over several seeds and compare"),
    "reproduce": ("reproducing", "make the paper's tables and figures, on its data, yours or rendered clips"),
    "serve": ("serving", "explain videos in a browser and behind a JSON API"),
    "walls": ("data", "write a recipe's mosaics as video files with their truth"),
    "render": ("data", "write synthetic clips as video files with their truth"),
    "pretrain": ("tools", "pretrain the small backbone of the rendered clips"),
    "benchmark": ("tools", "measure speed: head, decode, store, explain, serve, watch"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        from whenwhere import __version__

        print(f"whenwhere {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"whenwhere: no command {name!r}; commands are {', '.join(COMMANDS)}", file=sys.stderr)
        return USAGE_ERROR
    return _run(name, rest)


def _help() -> str:
    lines = "\n".join(f"  {name:<11}{text}" for name, (_, text) in COMMANDS.items())
    return (
        "usage: whenwhere COMMAND [options]\n\nWhat, when and where in videos, from video labels alone.\n\n"
        f"commands:\n{lines}\n\n'whenwhere COMMAND --help' tells its options."
    )


def _run(name: str, arguments: list[str]) -> int:
    """Run one command; mistakes of the user's end in one sentence, not in a traceback."""
    try:
        return getattr(import_module(f"whenwhere.cli.{COMMANDS[name][0]}"), f"{name}_command")(arguments)
    except WhenwhereError as error:
        print(f"whenwhere {name}: {error}", file=sys.stderr)
        return FAILED
