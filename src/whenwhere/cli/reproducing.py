"""The command that makes the paper's tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from whenwhere.cli.common import FAILED, make_parser, say

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from whenwhere.reproduce.plan import Plan
    from whenwhere.reproduce.request import Request


def reproduce_command(arguments: list[str]) -> int:
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if not (parsed.quick or parsed.data or parsed.model):
        parser.error("give --quick, or --data with your clips or a published data set")
    if "figures" in parsed.what:
        if len(parsed.what) > 1:
            parser.error("figures are made on their own, from a finished run")
        return _figures(parsed)
    from rich.console import Console

    from whenwhere.reproduce.request import make_plan
    from whenwhere.reproduce.results import table_result
    from whenwhere.reproduce.run import carry_out
    from whenwhere.reproduce.show import plan_table_view
    from whenwhere.reproduce.tables import rich_table, write_table

    plan: Plan = make_plan(_request(parsed, tables=tuple(parsed.what), seeds=tuple(parsed.seeds)))
    console = Console() if Console().is_terminal else Console(width=200)
    parallel = parsed.jobs or (2 if parsed.quick else 1)
    console.print(plan_table_view(plan, parallel))
    if parsed.plan:
        return 0
    failures = carry_out(plan, parallel, say)
    results = [table_result(table, plan.seeds) for table in plan.tables]
    for result in results:
        console.print(rich_table(result))
        console.print("wrote " + ", ".join(map(str, write_table(result, plan.out))), soft_wrap=True)
    for name, why in failures.items():
        say(f"failed: {name}: {why}")
    return FAILED if failures or any(result.failed for result in results) else 0


def _request(parsed: Namespace, **own: Any) -> Request:
    """What the arguments ask for, but for what is ``own``."""
    from whenwhere.reproduce.request import Request

    own["out"] = _out(parsed)
    return Request(**{name: own.get(name, parsed.get(name)) for name in Request.__dataclass_fields__})


def _out(parsed: Namespace) -> Path:
    return parsed.out or Path("runs/reproduce_quick" if parsed.quick else "runs/reproduce")


def _figures(parsed: Namespace) -> int:
    from whenwhere.datasets.manifest import ManifestError
    from whenwhere.reproduce.figures import make_figures
    from whenwhere.reproduce.request import make_plan

    model = parsed.model
    if model is None:
        seeds = tuple(parsed.seeds[:1])
        (job,) = make_plan(_request(parsed, tables=("table1",), seeds=seeds, methods=["default"])).jobs
        if job.state != "done":
            raise ManifestError(
                f"{job.folder} is not finished: run `whenwhere reproduce table1` first, or give --model"
            )
        model = job.folder
    data = parsed.data if parsed.model else None
    for path in make_figures(model, data, _out(parsed) / "figures", parsed.frames, log=say):
        say(f"wrote {path}")
    return 0


def _parser() -> ArgumentParser:
    parser = make_parser("reproduce")
    what = ["table1", "table2", "table3", "table4", "figures"]
    parser.add_argument("what", nargs="+", choices=what, help="tables, several at once share their runs; or figures")
    parser.add_argument("--quick", action="store_true", help="on rendered clips that come with the package, in minutes")
    parser.add_argument("--data", type=Path, help="a data set as it lies on disk, a manifest, or a folder per class")
    parser.add_argument(
        "--dataset",
        choices=["ucf101", "hmdb51", "moments", "ucf101_24", "thumos14"],
        help="which published data set --data is; default: clips of your own",
    )
    parser.add_argument("--annotations", type=Path, help="official lists, when they are not in --data")
    parser.add_argument("--ucf101_root", type=Path, help="for thumos14: where UCF-101 lies, its training clips")
    parser.add_argument(
        "--scale",
        choices=["small", "published"],
        help="small: a CPU-sized head on frozen features; published: the paper's; default: published for --dataset",
    )
    parser.add_argument("--weights", default="hub", help="of the RGB backbone: hub, random, or a file")
    parser.add_argument("--background", help="label of clips without action, for walls (tables 3 and 4)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one run each")
    parser.add_argument("--methods", nargs="+", help="only these; default: all that the tables need")
    parser.add_argument("--clips", type=int, help="training clips, for --quick")
    parser.add_argument("--epochs", type=int, help="passes over the training clips instead of the recipes'")
    parser.add_argument("--out", type=Path, help="folder of runs, features and tables; default: runs/reproduce[_quick]")
    parser.add_argument("--jobs", type=int, help="runs at once; default: 2 for --quick, else 1")
    parser.add_argument("--recipes", type=Path, default=Path("recipes"), help="folder of recipes, for published sizes")
    parser.add_argument("--plan", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--model", type=Path, help="finished run, for figures")
    parser.add_argument("--frames", type=int, default=7, help="columns of a filmstrip, for figures")
    return parser
