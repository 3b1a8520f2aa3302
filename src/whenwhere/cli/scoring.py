"""Score anyone's predictions from files alone."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whenwhere.cli.common import USAGE_ERROR, make_parser, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from jsonargparse import ArgumentParser, Namespace
    from rich.table import Table


def score_command(arguments: list[str]) -> int:
    from whenwhere.evaluation.protocols import PROTOCOLS

    parsed = _parser(list(PROTOCOLS)).parse_args(arguments)
    protocol = PROTOCOLS[parsed.protocol]
    names = ("thresholds", "subset", "durations", "action_list", "resamples")
    options = {name: parsed[name] for name in names if parsed[name] is not None}
    if problem := _problem(protocol, parsed, options):
        say(f"whenwhere score: {problem}")
        return USAGE_ERROR
    result = protocol(parsed.predictions, parsed.truth, **options)
    if parsed.json:
        print(json.dumps(result))
        return 0
    from rich.console import Console

    console = Console()
    console.print(f"{result['protocol']}: {result['n']} {result['unit']} in {result['videos']} videos", highlight=False)
    console.print(_table(result))
    if parsed.per_class:
        console.print(_class_table(result))
    for line in [*_losses(result), *result.get("notes", [])]:
        say(line)
    return 0


def fuse_command(arguments: list[str]) -> int:
    parser = make_parser("fuse")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of evaluated runs, two or more")
    parser.add_argument("--weights", type=float, nargs="+", help="one each; default: equal; TSN: 1 RGB, 1.5 flow")
    parser.add_argument("--split", default="test", choices=["train", "val", "test"], help="of their evaluations")
    parser.add_argument(
        "--average", default="logits", choices=["logits", "probabilities"], help="what is added up; TSN and TRN: logits"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for scores and metrics of the sum")
    parsed = parser.parse_args(arguments)
    from whenwhere.evaluation.late_fusion import fuse_runs
    from whenwhere.evaluation.tables import print_scores

    weights = parsed.weights or [1.0] * len(parsed.runs)
    scores = fuse_runs(parsed.runs, weights, parsed.split, parsed.average, parsed.out)
    title = " + ".join(f"{weight:g} x {run}" for run, weight in zip(parsed.runs, weights))
    print_scores(scores, f"{title}, {parsed.split} split")
    say(f"wrote {parsed.out / f'metrics_{parsed.split}.json'}")
    return 0


def _parser(protocols: list[str]) -> ArgumentParser:
    from whenwhere.evaluation.protocol_result import RESAMPLES

    parser = make_parser("score")
    parser.add_argument("predictions", type=Path, help="ActivityNet JSON (when), boxes JSON (where) or AVA's CSV")
    parser.add_argument(
        "--truth",
        type=Path,
        required=True,
        help="the same form, a folder of THUMOS14 lists, finalAnnots.mat of UCF101-24, or a manifest",
    )
    parser.add_argument("--protocol", choices=protocols, required=True, help="by which rule")
    parser.add_argument(
        "--tiou", "--iou", dest="thresholds", type=float, nargs="+", help="on the overlap; default: the protocol's own"
    )
    parser.add_argument("--subset", help="of the truth: test, val, validation ...; by default all of it")
    parser.add_argument("--durations", type=Path, help="text file of videos and their seconds, for controls and frames")
    parser.add_argument("--action_list", type=Path, help="of AVA: labels that count; default: the one beside the truth")
    parser.add_argument(
        "--resamples", type=int, default=RESAMPLES, help="of the videos, for 95 %% intervals; 0: no intervals"
    )
    parser.add_argument("--per-class", action="store_true", help="one line a class, too")
    parser.add_argument("--json", action="store_true", help="print JSON, scores in [0, 1]")
    return parser


def _problem(protocol: Callable[..., Any], parsed: Namespace, options: dict[str, Any]) -> str | None:
    known = signature(protocol).parameters
    if strange := sorted(set(options) - set(known)):
        return f"the protocol {parsed.protocol} takes no --{strange[0]}"
    if wrong := [level for level in options.get("thresholds", []) if not 0 < level <= 1]:
        return f"--tiou (or --iou) needs numbers above 0 and up to 1, got {wrong[0]:g}"
    if parsed.resamples < 0:
        return f"--resamples must be 0 or more, got {parsed.resamples}"
    return None


def _table(result: dict[str, Any]) -> Table:
    """Scores in per cent, with intervals, beside the controls', one line a threshold; red where one is as good."""
    from rich.markup import escape
    from rich.table import Table

    controls = result.get("controls", {})
    table = Table("per cent")
    for name in ("predictions (95 %)" if result["resamples"] else "predictions", *controls):
        table.add_column(escape(name), justify="right")
    intervals = [*zip(result["low"], result["high"]), (None, None)]  # the last for the mean
    rows = zip(_headings(result), intervals, *map(_with_mean, (result["map"], *controls.values())))
    for heading, (low, high), *values in rows:
        ours, *theirs = map(_shown, values)
        ours += "" if low is None else f" ({_shown(low)} to {_shown(high)})"
        if theirs:
            ours = f"[green]{ours}[/green]" if values[0] > max(values[1:]) else f"[red]{ours}[/red]"
        table.add_row(heading, ours, *theirs)
    return table


def _class_table(result: dict[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("per cent", no_wrap=True)
    for heading in _headings(result):
        table.add_column(heading.split()[-1], justify="right", min_width=4)
    for name, values in result["per_class"].items():
        table.add_row(escape(name), *map(_shown, _with_mean(values)))
    return table


def _headings(result: dict[str, Any]) -> list[str]:
    """Of the scores: the thresholds, and their mean if there are several."""
    name, levels = ("IoU", result["iou"]) if "iou" in result else ("tIoU", result["tiou"])
    headings = [f"{name} {level:g}" for level in levels] or ["all frames"]
    return [*headings, "mean"] if len(headings) > 1 else headings


def _with_mean(values: list[float | None]) -> list[float | None]:
    known = [value for value in values if value is not None]
    return [*values, sum(known) / len(known) if known else None] if len(values) > 1 else values


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _losses(result: dict[str, Any]) -> list[str]:
    """In words, each control that the predictions do not beat at some threshold."""
    levels = result.get("tiou", result.get("iou", []))
    lines = []
    for name, values in result.get("controls", {}).items():
        lost = [index for index, (ours, theirs) in enumerate(zip(result["map"], values)) if ours <= theirs]
        if lost:
            where = " at " + ", ".join(f"{levels[index]:g}" for index in lost) if levels else ""
            lines.append(f"not better than the control '{name}'{where}")
    return lines
