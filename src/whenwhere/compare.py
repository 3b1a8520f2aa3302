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
from whenwhere.features.backbone import BackboneOptions
from whenwhere.features.device import best_device
from whenwhere.models import METHODS
from whenwhere.training.checkpoint import load_model
from whenwhere.training.config import DataOptions, TrainConfig, with_options
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

    Variants that change ``data`` or ``backbone`` have data sets of their own. One is held at a time (two with ``at``),
    so name variants of the same data one after another.

    Args:
        at: changes of options, as in a variant, that make the data on which networks are measured; None: those they
            were trained from. The file is then ``comparison_AT.json``.

    Returns:
        ``variants``: per variant and measure the values by seed, and those of Grad-CAM of the same networks;
        ``controls``: per measure those that need no network; ``own_controls``: the same per variant that is measured
        on other data than the recipe's; ``probe``: for mosaics, :func:`cell_probe`.
    """
    plans = [(variant, *_plan(apply_variant(config, variant), at)) for variant in variants]
    sets = _Sets(split, log)
    recipes = _plan(config, at)
    sets.hold(*recipes)
    result: dict[str, Any] = {"split": split, "at": at, "seeds": list(seeds), "variants": {}, "controls": {}}
    if isinstance(sets.measured.train, MosaicDataset):
        result["probe"] = cell_probe(sets.measured.train, getattr(sets.measured, split))
    out.mkdir(parents=True, exist_ok=True)
    suffix = f"_{_slug(at)}.json" if at else ".json"
    for variant, changed, measured in plans:
        sets.hold(changed, measured)
        same = _made_of(measured) == _made_of(recipes[1])
        controls = result["controls"] if same else result.setdefault("own_controls", {}).setdefault(variant, {})
        measures: dict[str, list[float]] = {}
        for seed in seeds:
            seeded = replace(changed, fit=replace(changed.fit, seed=seed))
            log(f"{variant}, seed {seed}")
            run = out / f"{_slug(variant)}_{seed}"
            _train_once(seeded, sets.data, run)
            scores = _measure_once(seeded, getattr(sets.measured, split), run, f"scores_{split}{suffix}")
            _lay_out(scores, measures, controls)
        result["variants"][variant] = measures
        (out / f"comparison{suffix}").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def _plan(config: TrainConfig, at: str | None) -> tuple[TrainConfig, TrainConfig]:
    """What a network is trained by, and what it is measured on."""
    return config, config if at is None else apply_variant(config, at)


def _made_of(config: TrainConfig) -> tuple[DataOptions, BackboneOptions]:
    """The options that data sets are made of."""
    return config.data, config.backbone


class _Sets:
    """The data a variant is trained from and measured on, kept for as long as the variants after it share them."""

    data: Data
    measured: Data

    def __init__(self, split: str, log: Callable[[str], None]) -> None:
        self.split, self.log = split, log
        self.held: tuple[Any, ...] | None = None

    def hold(self, config: TrainConfig, measured: TrainConfig) -> None:
        """Have these data; what was held before is let go of first.

        Raises:
            ValueError: there is nothing to measure on.
        """
        wanted = (_made_of(config), _made_of(measured))
        if wanted == self.held:
            return
        if self.held:
            del self.data, self.measured
            self.held = None
        self.data = self.measured = build_data(config, self.log)
        if wanted[0] != wanted[1]:
            self.measured = build_data(measured, self.log, self.data.projection)  # type: ignore[arg-type]
        if getattr(self.measured, self.split) is None:
            raise ValueError(f"this data has no {self.split} split")
        self.held = wanted


def _lay_out(scores: Sequence[Score], measures: dict[str, list[float]], controls: dict[str, Any]) -> None:
    """Add what one network scored to the values of its variant, and note the controls."""
    for score in scores:
        measures.setdefault(score.name, []).append(score.value)
        found = {name: control.value for name, control in score.controls.items()}
        if CAM in found:  # of this very network, so a column of its own numbers
            cam = found.pop(CAM)
            if is_of_attention(score.name):
                measures.setdefault(f"{score.name}, {CAM}", []).append(cam)
        controls[score.name] = {"n": score.count, **found}


def _slug(variant: str) -> str:
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in variant)


def _train_once(config: TrainConfig, data: Data, run: Path) -> None:
    """Train into ``run`` unless a training with the same options ended there."""
    ended = run / "trained.json"
    if not (ended.is_file() and ended.read_text() == config.to_json()):
        run.mkdir(parents=True, exist_ok=True)
        data.train.seed = config.fit.seed  # type: ignore[attr-defined]
        train(config, data, run, quiet=True)
        for stale in run.glob("scores*.json"):
            stale.unlink()
        ended.write_text(config.to_json())


def _measure_once(config: TrainConfig, dataset: Dataset, run: Path, name: str) -> list[Score]:
    """Scores of the network in ``run``, from its file ``name`` where they were measured before."""
    measured = run / name
    if not measured.is_file():
        scores = list(all_scores(predict(load_model(run)[0].to(best_device()), dataset)))
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
    controls = {"": result["controls"], **result.get("own_controls", {})}
    for measure in dict.fromkeys(name for found in controls.values() for name in found):
        cells = [_spread(values[measure]) if measure in values else "-" for values in variants.values()]
        of = {name: found[measure] for name, found in controls.items() if measure in found}
        said = "; ".join(_said(name, values) for name, values in of.items())
        table.add_row(f"{measure} (n={next(iter(of.values()))['n']})", *cells, said)
        cam = [values.get(f"{measure}, {CAM}") for values in variants.values()]
        if any(cam):
            table.add_row(f"{measure}, {CAM} of the same network", *(_spread(v) if v else "-" for v in cam), "")
    if "probe" in result:
        table.add_row("cell found by a linear probe with cell labels", *[""] * len(variants), f"{result['probe']:.3f}")
    return table


def _said(variant: str, controls: dict[str, float]) -> str:
    """Values of controls; of a variant's own data with its name."""
    said = ", ".join(f"{name} {value:.3f}" for name, value in controls.items() if name != "n")
    return f"{variant} (n={controls['n']}): {said}" if variant else said


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
