from __future__ import annotations

import json
import typing
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from whenwhere.cli.common import add_config, make_parser, parsed_config
from whenwhere.datasets.mosaic import MosaicOptions
from whenwhere.features.backbone import BackboneOptions
from whenwhere.models import METHODS
from whenwhere.training.checkpoint import build_head
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig, flat_options, options_from, with_options
from whenwhere.training.loop import _terms
from whenwhere.training.optimization import make_optimizer

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.yaml"))


def test_json_round_trip() -> None:
    config = TrainConfig(fit=FitOptions(epochs=3))
    config = replace(config, model=replace(config.model, mask_widths=(4, 2)))
    assert TrainConfig.from_json(config.to_json()) == config


def test_options_by_their_names_make_the_configuration_they_came_from() -> None:
    config = TrainConfig(data=DataOptions(source="mosaic"), fit=FitOptions(epochs=3))
    flat = flat_options(json.loads(config.to_json()))
    assert flat["fit.epochs"] == 3
    assert flat["data.mosaic.frames"] == config.data.mosaic.frames
    assert with_options(TrainConfig(), flat) == config


def test_a_written_recipe_is_read_as_the_same_configuration(tmp_path: Path) -> None:
    config = TrainConfig(data=DataOptions(modality="flow"), fit=FitOptions(schedule="step", milestones=(2, 3)))
    (tmp_path / "recipe.yaml").write_text(config.to_yaml())
    assert read(tmp_path / "recipe.yaml") == config


def test_unknown_keys_are_errors_that_list_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"fit\.'epoch'; valid ones are accumulate, .*epochs"):
        options_from(TrainConfig, {"fit": {"epoch": 3}})


def choices(hint: Any) -> tuple[Any, ...]:
    """Of a Literal, or of one that may be None as well."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    return next((found for one in typing.get_args(hint) if (found := choices(one))), ())


def literals(cls: type, prefix: str = "") -> dict[str, tuple[Any, ...]]:
    """Every option with a list of valid values, however deep, by its name on the command line."""
    found: dict[str, tuple[Any, ...]] = {}
    for name, hint in typing.get_type_hints(cls).items():
        if is_dataclass(hint):
            found |= literals(hint, f"{prefix}{name}.")
        elif choices(hint):
            found[prefix + name] = choices(hint)
    return found


LITERALS = literals(TrainConfig)


def test_options_with_a_list_of_valid_values_are_found() -> None:
    assert {"method", "model.order", "model.mask_scale", "loss.form", "fit.schedule", "data.precision"} < set(LITERALS)


@pytest.mark.parametrize("option", LITERALS)
def test_misspelt_values_are_errors_that_list_the_valid_ones(option: str) -> None:
    with pytest.raises(ValueError, match=rf"{option} must be one of {', '.join(LITERALS[option])}.*'diference'"):
        with_options(TrainConfig(), {option: "diference"})


@pytest.mark.parametrize(
    ("option", "value", "valid"),
    [
        ("fit.epochs", "3", "a whole number"),
        ("fit.epochs", 3.0, "a whole number"),
        ("fit.epochs", True, "a whole number"),
        ("fit.lr", "1e-3", r"a number \(1e-3 is written 1\.0e-3 in YAML\)"),
        ("fit.patience", "never", "a whole number or null"),
        ("fit.epochs", None, "a whole number"),
        ("model.spatial", "no", "true or false"),
        ("data.path", 3, "text or null"),
        ("data.mosaic.action_frames", [2, 4, 6], r"tuple\[int, int\]"),
        ("data.mosaic.train_grid", 2, r"tuple\[int, int\] or null"),
        ("fit.milestones", [1.5], r"tuple\[int, \.\.\.\]"),
        ("model", "paper", "a mapping of options"),
    ],
)
def test_values_of_another_type_are_errors_that_tell_the_type(option: str, value: Any, valid: str) -> None:
    with pytest.raises(ValueError, match=rf"{option} must be {valid}, got"):
        with_options(TrainConfig(), {option: value})


def test_whole_numbers_lists_and_null_are_taken_where_they_fit() -> None:
    changes = {"fit.lr": 1, "data.mosaic.train_grid": [3, 4], "fit.patience": None, "data.synthetic.tier": "B"}
    config = with_options(TrainConfig(), changes)
    assert (config.fit.lr, config.data.mosaic.train_grid, config.fit.patience) == (1, (3, 4), None)


def test_bad_values_are_errors() -> None:
    with pytest.raises(ValueError, match="ema"):
        FitOptions(ema=1.5)
    with pytest.raises(ValueError, match="at least 1"):
        FitOptions(epochs=0)
    with pytest.raises(ValueError, match=r"schedule step needs fit\.milestones.*got schedule step and milestones \[\]"):
        FitOptions(schedule="step")
    with pytest.raises(ValueError, match=r"got schedule cosine and milestones \[3\]"):
        FitOptions(milestones=(3,))
    for milestones in ((60, 30), (0, 3), (3, 3)):
        with pytest.raises(ValueError, match=r"rising epochs from 1 on, got"):
            FitOptions(schedule="step", milestones=milestones)


def test_frames_of_evaluation_are_those_of_training_unless_told() -> None:
    assert DataOptions(frames=3).seen_frames == 3
    options = DataOptions(frames=3, eval_frames=25)
    assert (options.clip_frames, options.seen_frames) == (3, 25)
    with pytest.raises(ValueError, match=r"eval_frames is for data\.source videos; clips of source mosaic"):
        DataOptions(source="mosaic", eval_frames=25)
    with pytest.raises(ValueError, match=r"stored_frames is 24, but .* asks for 25"):
        DataOptions(frames=3, eval_frames=25, stored_frames=24)
    with pytest.raises(ValueError, match="eval_frames must be at least 1"):
        DataOptions(eval_frames=0)


def test_every_method_can_be_named_and_has_its_options() -> None:
    assert typing.get_args(typing.get_type_hints(TrainConfig)["method"]) == tuple(METHODS)
    for method in METHODS:
        head = build_head(TrainConfig(method=method), channels=16, classes=3)  # type: ignore[arg-type]
        assert isinstance(head, METHODS[method])


def test_the_modality_sets_the_channels_of_the_backbone() -> None:
    flow = TrainConfig(data=DataOptions(modality="flow"))
    assert flow.backbone.in_channels == 10
    assert TrainConfig.from_json(flow.to_json()) == flow
    assert TrainConfig(data=DataOptions(modality="dynamic")).backbone.in_channels == 3
    with pytest.raises(ValueError, match=r"in_channels is 10 and data\.modality rgb has 3"):
        TrainConfig(backbone=BackboneOptions(in_channels=10))
    with pytest.raises(ValueError, match=r"in_channels is 8 and data\.modality flow has 10"):
        replace(flow, backbone=BackboneOptions(in_channels=8))
    with pytest.raises(ValueError, match=r"modality dynamic is for videos and mosaics; data\.source is synthetic"):
        TrainConfig(data=DataOptions(source="synthetic", modality="dynamic"))


def test_mosaics_of_flow_are_not_mirrored() -> None:
    """Mirrored motion has the opposite sign, which mirrored features have not."""
    mirrored = DataOptions(source="mosaic", modality="flow", mosaic=MosaicOptions(mirror=True))
    with pytest.raises(ValueError, match=r"data\.mosaic\.mirror is not for data\.modality flow"):
        TrainConfig(data=mirrored)
    TrainConfig(data=replace(mirrored, modality="rgb"))
    TrainConfig(data=replace(mirrored, mosaic=MosaicOptions()))
    TrainConfig(data=replace(mirrored, source="videos"))


def read(recipe: Path) -> TrainConfig:
    parser = make_parser("train")
    add_config(parser)
    return parsed_config(parser, parser.parse_args(["--config", str(recipe)]))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_parses(recipe: Path) -> None:
    config = read(recipe)
    assert TrainConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_takes_a_step(recipe: Path) -> None:
    torch.manual_seed(0)
    config = read(recipe)
    head = build_head(config, channels=16, classes=3)
    before = {name: value.detach().clone() for name, value in head.named_parameters()}
    optimizer = make_optimizer(head.parameters(), config.fit)
    output = head(torch.rand(2, min(config.data.clip_frames, 8), 16, 4, 4))
    terms = _terms(config.method, output, torch.tensor([0, 2]), config.loss.resolved(config.model.variant))
    terms["total"].backward()
    optimizer.step()
    assert not [name for name, value in head.named_parameters() if torch.equal(value, before[name])]


def test_unknown_key_in_a_recipe_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("fit: {epoch: 3}\n")
    parser = make_parser("train")
    add_config(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--config", str(tmp_path / "bad.yaml")])
    assert "epoch" in capsys.readouterr().err
