from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from whenwhere.cli import _add_config, _config, _parser
from whenwhere.training.config import FitOptions, TrainConfig, options_from

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


def test_json_round_trip() -> None:
    config = TrainConfig(fit=FitOptions(epochs=3))
    config = replace(config, model=replace(config.model, mask_widths=(4, 2)))
    assert TrainConfig.from_json(config.to_json()) == config


def test_unknown_keys_are_errors_that_list_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"fit\.'epoch'; valid ones are accumulate, .*epochs"):
        options_from(TrainConfig, {"fit": {"epoch": 3}})


def test_bad_values_are_errors() -> None:
    with pytest.raises(ValueError, match="ema"):
        FitOptions(ema=1.5)
    with pytest.raises(ValueError, match="at least 1"):
        FitOptions(epochs=0)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_parses(recipe: Path) -> None:
    parser = _parser("train")
    _add_config(parser)
    config = _config(parser, parser.parse_args(["--config", str(recipe)]))
    assert TrainConfig.from_json(config.to_json()) == config


def test_unknown_key_in_a_recipe_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("fit: {epoch: 3}\n")
    parser = _parser("train")
    _add_config(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--config", str(tmp_path / "bad.yaml")])
    assert "epoch" in capsys.readouterr().err
