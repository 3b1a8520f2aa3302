"""Train variants of one recipe over several seeds and lay their numbers side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml
from rich.table import Table
from torch.utils.data import Dataset

from whenwhere.datasets.mosaic import MosaicDataset
from whenwhere.evaluation.answers import CAM, is_of_attention
from whenwhere.evaluation.measure import predict
from whenwhere.evaluation.probe import cell_probe
from whenwhere.evaluation.scores import Score, all_scores
from whenwhere.models import METHODS
from whenwhere.training.checkpoint import load_model
from whenwhere.training.config import TrainConfig, with_options
from whenwhere.training.data import Data, build_data
from whenwhere.training.loop import train


def apply_variant(config: TrainConfig, variant: str) -> TrainConfig:
    """A recipe with a variant's changes.

    Args:
        variant: ``default`` (no change), ``paper``, the name of a method, or any options as ``key=value+key=value``,
            for instance ``model.energy=additive+loss.unimodality=0``; changes may follow a name:
            ``paper+model.energy=joint``.
    """
    name, *changes = variant.split("+")
    if "=" in name:
        name, changes = "default", [name, *changes]
    if name == "paper":
        config = replace(config, model=replace(config.model, variant="paper"))
    elif name in METHODS:
        config = replace(config, method=name)  # type: ignore[arg-type]
    elif name != "default":
        raise ValueError(
            f"unknown variant {name!r}; valid ones are default, paper, {', '.join(METHODS)}, or key=value changes"
        )
    pairs = [change.partition("=") for change in changes]
    return with_options(config, {key: yaml.safe_load(value) for key, _, value in pairs})


def compare(
    config: TrainConfig,
    variants: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    split: str = "test",
    log: Callable[[str], None] = print,
    at: str | None = None,
) -> dict[str, Any]:
    """Train every variant with every seed; write ``comparison.json`` as results come in.

    A run that is already in ``out`` with the same options is not trained again.

    Args:
        at: changes of options, as in a variant, that make the data on which networks are measured; None: those they
            were trained from. The file is then ``comparison_AT.json``.

    Returns:
        ``variants``: per variant and measure the values by seed, and those of Grad-CAM of the same networks;
        ``controls``: per measure those that need no network; ``probe``: for
        mosaics, :func:`cell_probe`.
    """
    data = build_data(config, log)
    measured = data if at is None else build_data(apply_variant(config, at), log, data.projection)  # type: ignore[arg-type]
    result: dict[str, Any] = {"split": split, "at": at, "seeds": list(seeds), "variants": {}, "controls": {}}
    if getattr(measured, split) is None:
        raise ValueError(f"this data has no {split} split")
    if isinstance(measured.train, MosaicDataset):
        result["probe"] = cell_probe(measured.train, getattr(measured, split))
    out.mkdir(parents=True, exist_ok=True)
    suffix = f"_{_slug(at)}.json" if at else ".json"
    for variant in variants:
        measures: dict[str, list[float]] = {}
        for seed in seeds:
            changed = apply_variant(config, variant)
            changed = replace(changed, fit=replace(changed.fit, seed=seed))
            log(f"{variant}, seed {seed}")
            run = out / f"{_slug(variant)}_{seed}"
            _train_once(changed, data, run)
            for score in _measure_once(changed, getattr(measured, split), run, f"scores_{split}{suffix}"):
                measures.setdefault(score.name, []).append(score.value)
                controls = {name: control.value for name, control in score.controls.items()}
                if CAM in controls:  # of this very network, so a column of its own numbers
                    cam = controls.pop(CAM)
                    if is_of_attention(score.name):
                        measures.setdefault(f"{score.name}, {CAM}", []).append(cam)
                result["controls"][score.name] = {"n": score.count, **controls}
        result["variants"][variant] = measures
        (out / f"comparison{suffix}").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def _slug(variant: str) -> str:
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in variant)


def _train_once(config: TrainConfig, data: Data, run: Path) -> None:
    """Train into ``run`` unless a training with the same options ended there."""
    ended = run / "trained.json"
    if not (ended.is_file() and ended.read_text() == config.to_json()):
        run.mkdir(parents=True, exist_ok=True)
        data.train.seed = config.fit.seed  # type: ignore[union-attr]
        train(config, data, run, quiet=True)
        for stale in run.glob("scores*.json"):
            stale.unlink()
        ended.write_text(config.to_json())


def _measure_once(config: TrainConfig, dataset: Dataset, run: Path, name: str) -> list[Score]:
    """Scores of the network in ``run``, from its file ``name`` where they were measured before."""
    measured = run / name
    if not measured.is_file():
        scores = list(all_scores(predict(load_model(run)[0], dataset)))
        text = json.dumps({"config": config.to_json(), "scores": [score.to_dict() for score in scores]})
        measured.write_text(text)
    return [Score.from_dict(score) for score in json.loads(measured.read_text())["scores"]]


def comparison_table(result: dict[str, Any], title: str) -> Table:
    """One column a variant, mean and spread (standard deviation) over seeds, controls last."""
    variants = result["variants"]
    at = f" at {result['at']}" if result["at"] else ""
    table = Table(title=f"{title}{at}: {result['split']} split, seeds {result['seeds']}")
    table.add_column("measure")
    for name in variants:
        table.add_column(name, justify="right")
    table.add_column("trivial controls")
    for measure, controls in result["controls"].items():
        cells = [_spread(values[measure]) if measure in values else "-" for values in variants.values()]
        said = ", ".join(f"{name} {value:.3f}" for name, value in controls.items() if name != "n")
        table.add_row(f"{measure} (n={controls['n']})", *cells, said)
        cam = [values.get(f"{measure}, {CAM}") for values in variants.values()]
        if any(cam):
            table.add_row(f"{measure}, {CAM} of the same network", *(_spread(v) if v else "-" for v in cam), "")
    if "probe" in result:
        table.add_row("cell found by a linear probe with cell labels", *[""] * len(variants), f"{result['probe']:.3f}")
    return table


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
