"""Commands that train and measure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whenwhere.cli.common import add_config, make_parser, parsed_config, report_broken, say

if TYPE_CHECKING:
    from whenwhere.datasets.loader import Views
    from whenwhere.evaluate import EvaluationOptions
    from whenwhere.models import Network
    from whenwhere.training.checkpoint import ModelRecord
    from whenwhere.training.config import TrainConfig
    from whenwhere.training.data import Data


def train_command(arguments: list[str]) -> int:
    _train_run(*_parse_run("train", "folder of the run", arguments))
    return 0


def _parse_run(command: str, out: str, arguments: list[str]) -> tuple[TrainConfig, Path, bool, bool]:
    """Configuration, ``--out``, ``--resume`` and ``--unmeasured`` of a command that trains."""
    parser = make_parser(command)
    add_config(parser)
    parser.add_argument("--out", type=Path, required=True, help=out)
    parser.add_argument("--resume", action="store_true", help="go on from the state saved in --out")
    parser.add_argument("--unmeasured", action="store_true", help="do not measure it when done")
    parsed = parser.parse_args(arguments)
    return parsed_config(parser, parsed), parsed.out, parsed.resume, parsed.unmeasured


def _train_run(config: TrainConfig, out: Path, resume: bool, unmeasured: bool = False) -> Network:
    """Train, measure on validation clips unless told not to, and give the network that is kept."""
    from whenwhere.training.checkpoint import STATE_FILE, CheckpointError, load_model
    from whenwhere.training.data import build_data
    from whenwhere.training.loop import train

    if (out / STATE_FILE).exists() and not resume:
        raise CheckpointError(f"{out} holds a run already; add --resume to go on with it, or use another --out")
    out.mkdir(parents=True, exist_ok=True)
    if not (out / STATE_FILE).exists():  # else the run's own, which a resumption has to agree with
        (out / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    data = build_data(config, say)
    report_broken(data.broken)
    train(config, data, out, resume=resume)
    kept, record = load_model(out)
    if not unmeasured and _is_first_process():
        _evaluate_run(out, kept, record, data, "val" if data.val is not None else "train")
    return kept


def finetune_command(arguments: list[str]) -> int:
    config, out, resume, unmeasured = _parse_run("finetune", "folder of the run; the weights are in it", arguments)
    config = replace(config, method="frame_average", backbone=replace(config.backbone, trainable=True))
    network = _train_run(config, out, resume, unmeasured)
    assert network.backbone is not None
    if _is_first_process():
        say(f"wrote {network.backbone.save(out / 'backbone.safetensors')}")
    return 0


def _is_first_process() -> bool:
    """Of those that trained together (``fit.devices``), which all go on from there."""
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0


def _evaluate_run(
    run: Path, network: Network, record: ModelRecord, data: Data, split: str, options: EvaluationOptions | None = None
) -> None:
    """Print the table of a run's network on one split and leave its record, predictions and page in the run."""
    from rich.console import Console

    from whenwhere.evaluate import evaluate
    from whenwhere.evaluation.tables import print_scores, sanity_table

    scores, metrics = evaluate(run, network, record, data, split, options, say)
    print_scores(scores, f"{run}, {split} split")
    if "sanity" in metrics:
        Console(width=120).print(sanity_table(metrics["sanity"]))
    say(f"wrote {run / f'report_{split}.html'}")


def evaluate_command(arguments: list[str]) -> int:
    parser = make_parser("evaluate")
    parser.add_argument("--model", type=Path, required=True, help="folder of the run")
    parser.add_argument("--data", help="another manifest, bank or folder than the one it was trained from")
    parser.add_argument("--split", default="test", choices=["train", "val", "test"], help="which clips")
    parser.add_argument("--faithful", type=int, default=16, help="clips on which faithfulness is measured; 0: none")
    parser.add_argument(
        "--over",
        nargs="+",
        default=["joint"],
        choices=["joint", "space", "time"],
        help="what is deleted and inserted for faithfulness",
    )
    parser.add_argument("--sanity", type=int, default=0, help="clips for cascading randomisation and moved clips")
    parser.add_argument("--clips", type=int, default=1, help="draws of frames a video, averaged")
    parser.add_argument("--crops", type=int, default=1, choices=[1, 3, 10], help="crops of decoded frames, averaged")
    parser.add_argument(
        "--predictions", type=Path, help="write all it says of every clip to this .safetensors file, and no more"
    )
    averages = ["probabilities", "logits"]
    parser.add_argument("--average", default=averages[0], choices=averages, help="of clips and crops; TSN: logits")
    parsed = parser.parse_args(arguments)
    from whenwhere.datasets.loader import Views
    from whenwhere.datasets.manifest import ManifestError
    from whenwhere.evaluate import EvaluationOptions
    from whenwhere.features.device import best_device
    from whenwhere.training.checkpoint import load_model
    from whenwhere.training.data import build_data

    network, record = load_model(parsed.model)
    config = record.config
    if parsed.data is not None:
        config = replace(config, data=replace(config.data, path=parsed.data))
        record = replace(record, config=config)
    data = build_data(config, say, network.projection)  # type: ignore[arg-type]
    network.to(best_device())  # after the features: they are computed with its projection, on the processor
    if data.classes != record.classes:
        raise ManifestError(f"{parsed.model} knows the classes {record.classes}, the data has {data.classes}")
    if getattr(data, parsed.split) is None:
        raise ManifestError(f"the data of {parsed.model} have no {parsed.split} split")
    report_broken(data.broken)
    _look_more_often(getattr(data, parsed.split), Views(parsed.clips, parsed.crops, parsed.average))
    if parsed.predictions is not None:
        from whenwhere.evaluation.measure import predict
        from whenwhere.evaluation.recorded import save_predictions

        said = predict(network, getattr(data, parsed.split))
        say(f"wrote {save_predictions(parsed.predictions, said, data.classes)}")
        return 0
    once = parsed.clips * parsed.crops == 1
    options = EvaluationOptions(parsed.faithful, parsed.sanity, tuple(parsed.over)) if once else EvaluationOptions()
    _evaluate_run(parsed.model, network, record, data, parsed.split, options)
    return 0


def _look_more_often(dataset: Any, views: Views) -> None:
    from whenwhere.datasets.loader import FeatureDataset, VideoDataset
    from whenwhere.datasets.manifest import ManifestError

    if views.count == 1:
        return
    if not isinstance(dataset, (FeatureDataset, VideoDataset)):
        raise ManifestError("several views are for videos; mosaics and rendered clips are looked at once")
    if views.crops > 1 and isinstance(dataset, FeatureDataset):
        raise ManifestError("several crops need decoded frames (backbone.trainable); features are of one")
    dataset.views = views


def compare_command(arguments: list[str]) -> int:
    parser = make_parser("compare")
    add_config(parser)
    parser.add_argument("--variants", nargs="+", default=["default", "paper", "frame_average"], help="what to compare")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="one run each")
    parser.add_argument("--split", default="test", choices=["val", "test"], help="where to measure")
    parser.add_argument("--at", help="measure on data with changed options, key=value+key=value, as in a variant")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and comparison.json")
    parsed = parser.parse_args(arguments)
    from rich.console import Console

    from whenwhere.compare import compare, comparison_table

    result = compare(
        parsed_config(parser, parsed), parsed.variants, parsed.seeds, parsed.out, parsed.split, say, parsed.at
    )
    Console().print(comparison_table(result, str(parsed.config[0]) if parsed.config else "comparison"))
    return 0
