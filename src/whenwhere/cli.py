"""The command line. Everything heavy is imported by the command that needs it, so help comes at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from whenwhere.training.config import TrainConfig

COMMANDS = {
    "demo": "train on clips it renders itself and explain one; a few minutes",
    "train": "train a recogniser from videos and one label for each",
    "explain": "say what, when and where in videos",
    "evaluate": "measure a trained model beside trivial controls",
    "compare": "train variants of a recipe over several seeds and compare",
    "walls": "write a recipe's mosaics as video files with their truth",
    "render": "write synthetic clips as video files with their truth",
    "pretrain": "pretrain the small backbone of the rendered clips",
    "benchmark": "measure speed (head)",
}
USAGE_ERROR, FAILED = 2, 1


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
    lines = "\n".join(f"  {name:<11}{text}" for name, text in COMMANDS.items())
    return (
        "usage: whenwhere COMMAND [options]\n\nWhat, when and where in videos, from video labels alone.\n\n"
        f"commands:\n{lines}\n\n'whenwhere COMMAND --help' tells its options."
    )


def _run(name: str, arguments: list[str]) -> int:
    """Run one command; mistakes of the user's end in one sentence, not in a traceback."""
    from whenwhere.datasets.manifest import ManifestError
    from whenwhere.features.backbone import WeightsError
    from whenwhere.training.checkpoint import CheckpointError
    from whenwhere.video import VideoError

    try:
        return globals()[f"_{name}"](arguments)
    except (ManifestError, WeightsError, CheckpointError, VideoError) as error:
        print(f"whenwhere {name}: {error}", file=sys.stderr)
        return FAILED


def _parser(name: str) -> ArgumentParser:
    from jsonargparse import ArgumentParser

    return ArgumentParser(prog=f"whenwhere {name}", description=COMMANDS[name])


def _add_config(parser: ArgumentParser) -> None:
    from whenwhere.training.config import TrainConfig

    parser.add_argument("--config", action="config", help="recipe: a YAML file with the options below")
    parser.add_class_arguments(TrainConfig, as_group=False)


def _config(parser: ArgumentParser, parsed: Namespace) -> TrainConfig:
    from dataclasses import fields

    from whenwhere.training.config import TrainConfig

    built = parser.instantiate_classes(parsed)
    return TrainConfig(**{field.name: built[field.name] for field in fields(TrainConfig)})


def _train(arguments: list[str]) -> int:
    parser = _parser("train")
    _add_config(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the state saved in --out")
    parsed = parser.parse_args(arguments)
    config = _config(parser, parsed)
    from whenwhere.training.checkpoint import STATE_FILE, CheckpointError, load_model
    from whenwhere.training.data import build_data
    from whenwhere.training.loop import train

    out: Path = parsed.out
    if (out / STATE_FILE).exists() and not parsed.resume:
        raise CheckpointError(f"{out} holds a run already; add --resume to go on with it, or use another --out")
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.yaml").write_text(_as_yaml(config), encoding="utf-8")
    data = build_data(config, _say)
    _report_broken(data.broken)
    train(config, data, out, resume=parsed.resume)
    kept, _ = load_model(out)  # the best on validation, not the last
    _evaluate_run(out, kept, data, "val" if data.val is not None else "train")
    return 0


def _as_yaml(config: TrainConfig) -> str:
    import json

    import yaml

    return yaml.safe_dump(json.loads(config.to_json()), sort_keys=False)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _report_broken(broken: Sequence[tuple[str, str]]) -> None:
    for _, cause in broken:
        _say(f"skipped: {cause}")
    if broken:
        _say(f"{len(broken)} clips could not be read and are not part of any number")


def _evaluate_run(run: Path, network: Any, data: Any, split: str) -> None:
    """Print the table of a run's network on one split and write ``metrics_SPLIT.json``."""
    import json

    from rich.console import Console

    from whenwhere.evaluation.measure import all_scores, predict
    from whenwhere.evaluation.tables import scores_json, scores_table

    scores = list(all_scores(predict(network, getattr(data, split))))
    Console().print(scores_table(scores, f"{run}, {split} split"))
    record = {"split": split, "broken": len(data.broken), "scores": scores_json(scores)}
    (run / f"metrics_{split}.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def _evaluate(arguments: list[str]) -> int:
    parser = _parser("evaluate")
    parser.add_argument("--model", type=Path, required=True, help="folder of the run")
    parser.add_argument("--split", default="test", choices=["train", "val", "test"], help="which clips")
    parsed = parser.parse_args(arguments)
    from whenwhere.datasets.manifest import ManifestError
    from whenwhere.training.checkpoint import load_model
    from whenwhere.training.data import build_data

    network, record = load_model(parsed.model)
    data = build_data(record.config, _say, network.projection)  # type: ignore[arg-type]
    if getattr(data, parsed.split) is None:
        raise ManifestError(f"the data of {parsed.model} have no {parsed.split} split")
    _report_broken(data.broken)
    _evaluate_run(parsed.model, network, data, parsed.split)
    return 0


def _explain(arguments: list[str]) -> int:
    parser = _parser("explain")
    parser.add_argument("videos", nargs="+", help="video files, folders or globs")
    parser.add_argument("--model", type=Path, required=True, help="folder of a run")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results, one folder a video")
    parser.add_argument("--top", type=int, default=5, help="classes in the answer")
    parsed = parser.parse_args(arguments)
    from whenwhere.explain import explain_all, find_videos
    from whenwhere.recognizer import load

    return FAILED if explain_all(load(parsed.model), find_videos(parsed.videos), parsed.out, parsed.top, _say) else 0


def _demo(arguments: list[str]) -> int:
    parser = _parser("demo")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parsed = parser.parse_args(arguments)
    from whenwhere.demo import demo

    demo(parsed.out, _say)
    return 0


def _compare(arguments: list[str]) -> int:
    parser = _parser("compare")
    _add_config(parser)
    parser.add_argument("--variants", nargs="+", default=["default", "paper", "frame_average"], help="what to compare")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="one run each")
    parser.add_argument("--split", default="test", choices=["val", "test"], help="where to measure")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and comparison.json")
    parsed = parser.parse_args(arguments)
    from rich.console import Console

    from whenwhere.compare import compare, comparison_table

    result = compare(_config(parser, parsed), parsed.variants, parsed.seeds, parsed.out, parsed.split, _say)
    Console().print(comparison_table(result, str(parsed.config[0]) if parsed.config else "comparison"))
    return 0


def _walls(arguments: list[str]) -> int:
    parser = _parser("walls")
    _add_config(parser)
    parser.add_argument("--split", default="test", choices=["train", "val", "test"], help="whose clips")
    parser.add_argument("--count", type=int, default=8, help="number of videos")
    parser.add_argument("--out", type=Path, required=True, help="folder for the videos and manifest.csv")
    parsed = parser.parse_args(arguments)
    from whenwhere.training.data import write_wall_videos

    _say(f"wrote {write_wall_videos(_config(parser, parsed), parsed.split, parsed.out, parsed.count)}")
    return 0


def _render(arguments: list[str]) -> int:
    from whenwhere.datasets.synthetic import SyntheticOptions, write_dataset

    parser = _parser("render")
    parser.add_class_arguments(SyntheticOptions, as_group=False)
    parser.add_argument("--out", type=Path, required=True, help="folder for the videos and manifest.csv")
    parsed = parser.parse_args(arguments)
    out = parsed.pop("out")
    _say(f"wrote {write_dataset(SyntheticOptions(**parsed.as_dict()), out)}")
    return 0


def _pretrain(arguments: list[str]) -> int:
    from whenwhere.features.glyph_pretraining import PretrainOptions, pretrain

    parser = _parser("pretrain")
    parser.add_class_arguments(PretrainOptions, as_group=False)
    _say(f"wrote {pretrain(PretrainOptions(**parser.parse_args(arguments).as_dict()))}")
    return 0


def _benchmark(arguments: list[str]) -> int:
    parser = _parser("benchmark")
    parser.add_argument("what", choices=["head"], help="head: step-by-step time over hoisted time")
    parser.add_argument("--repeats", type=int, default=3, help="timed rounds")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(arguments)
    import json

    from rich.console import Console

    from whenwhere.benchmarks import benchmark_head, format_head

    result = benchmark_head(repeats=parsed.repeats)
    if parsed.json:
        print(json.dumps(result))
    else:
        Console().print(format_head(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
