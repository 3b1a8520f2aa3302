from __future__ import annotations

import weakref
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tiny_runs import config_for, quiet

from whenwhere.compare import apply_variant, compare, comparison_table
from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.models import METHODS
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import Data, build_data
from whenwhere.video import write_video


def test_variants_are_changes_of_options() -> None:
    base = TrainConfig()
    assert apply_variant(base, "default") == base
    assert apply_variant(base, "paper").model.variant == "paper"
    for method in METHODS:
        assert apply_variant(base, method) == replace(base, method=method)  # type: ignore[arg-type]
    assert apply_variant(base, "untrimmed_net+untrimmed_net.selection=hard").untrimmed_net.selection == "hard"
    assert apply_variant(base, "tsn+tsn.consensus=max").tsn.consensus == "max"
    changed = apply_variant(base, "paper+model.energy=joint+loss.unimodality=0.5+loss.area_range=[0, 1]")
    assert (changed.model.variant, changed.model.energy, changed.loss.unimodality) == ("paper", "joint", 0.5)
    assert apply_variant(base, "model.spatial=false").model.spatial is False


def test_unknown_variants_are_errors() -> None:
    with pytest.raises(ValueError, match=r"unknown variant 'papre'; valid ones are default, paper, .*untrimmed_net"):
        apply_variant(TrainConfig(), "papre")
    with pytest.raises(ValueError, match=r"unknown option 'model\.energie'.*energy"):
        apply_variant(TrainConfig(), "model.energie=joint")


def test_a_misspelt_value_ends_it_before_anything_is_trained(tmp_path: Path, tiny_bank: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.order must be one of none, .*'diference'"):
        compare(config_for(tiny_bank, epochs=1), ["default", "model.order=diference"], [0], tmp_path, log=quiet)
    assert not any(tmp_path.iterdir())


def test_compares_seeds_and_does_not_train_twice(tmp_path: Path, tiny_bank: Path) -> None:
    config = config_for(tiny_bank, epochs=1)
    first = compare(config, ["default", "frame_average"], [0, 1], tmp_path, log=quiet)
    assert set(first["variants"]) == {"default", "frame_average"}
    assert len(first["variants"]["default"]["accuracy"]) == 2
    assert 0 <= first["probe"] <= 1
    models = sorted(tmp_path.glob("*/model.safetensors"))
    stamps = [path.stat().st_mtime_ns for path in models]
    again = compare(config, ["default", "frame_average"], [0, 1], tmp_path, log=quiet)
    assert again == first
    assert [path.stat().st_mtime_ns for path in models] == stamps
    cams = [name for name in first["variants"]["default"] if name.endswith(", Grad-CAM")]
    assert {"when: mean tIoU, Grad-CAM", "where: pointing, Grad-CAM"} < set(cams)
    assert not any("Grad-CAM" in controls for controls in first["controls"].values())
    assert comparison_table(first, "x").row_count == len(first["controls"]) + len(cams) + 1


def test_grad_cam_is_of_the_variant_it_stands_under(tmp_path: Path, tiny_bank: Path) -> None:
    config, name = config_for(tiny_bank, epochs=1), "where: mass inside, Grad-CAM"
    both = compare(config, ["default", "frame_average"], [0], tmp_path / "both", log=quiet)["variants"]
    alone = compare(config, ["default"], [0], tmp_path / "alone", log=quiet)["variants"]
    assert both["default"][name] == alone["default"][name]
    assert both["default"][name] != both["frame_average"][name]


def test_networks_are_measured_on_walls_of_another_size_without_being_trained_again(
    tmp_path: Path, tiny_bank: Path
) -> None:
    config = config_for(tiny_bank, epochs=1)
    own = compare(config, ["default"], [0], tmp_path, log=quiet)
    stamp = (tmp_path / "default_0/model.safetensors").stat().st_mtime_ns
    larger = compare(config, ["default"], [0], tmp_path, log=quiet, at="data.mosaic.rows=3+data.mosaic.columns=3")
    assert (tmp_path / "default_0/model.safetensors").stat().st_mtime_ns == stamp
    full_frame = "where: mass inside"
    assert own["controls"][full_frame]["full frame"] == pytest.approx(1 / 4)
    assert larger["controls"][full_frame]["full frame"] == pytest.approx(1 / 9)
    assert (tmp_path / "comparison.json").is_file()
    assert len(list(tmp_path.glob("comparison_*.json"))) == 1


def test_scores_of_one_split_are_not_taken_for_those_of_another(tmp_path: Path, tiny_bank: Path) -> None:
    config = config_for(tiny_bank, epochs=1)
    config = replace(config, data=replace(config.data, val_share=0.4))
    val = compare(config, ["default"], [0], tmp_path, "val", quiet)["controls"]
    test = compare(config, ["default"], [0], tmp_path, "test", quiet)["controls"]
    assert val != test


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(str(run / "model.safetensors"))


def test_every_run_starts_from_the_backbone_as_given(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("test", 2)):
        for label, shade in (("bright", 200), ("dark", 30)):
            (tmp_path / "clips" / split / label).mkdir(parents=True)
            for number in range(count):
                frames = (np.full((32, 48, 3), shade + number, np.uint8) for _ in range(4))
                path = tmp_path / "clips" / split / label / f"{number}.mp4"
                write_video(path, frames, 4.0, preset="ultrafast")
    config = TrainConfig(
        "frame_average",
        DataOptions(path=str(tmp_path / "clips"), frames=2, val_share=0.0),
        BackboneOptions("test_resnet", "random", size=32, trainable=True),
        fit=FitOptions(epochs=1, batch_size=4, backbone_lr=0.01),
    )
    compare(config, ["default"], [0, 1], tmp_path / "both", log=quiet)
    compare(config, ["default"], [1], tmp_path / "alone", log=quiet)
    both, alone = weights(tmp_path / "both/default_1"), weights(tmp_path / "alone/default_1")
    assert all(torch.equal(both[name], alone[name]) for name in alone)
    given = Backbone(config.backbone).state_dict()
    assert any(not torch.equal(value, alone[f"backbone.{name}"]) for name, value in given.items())


FEWER = "data.mosaic.frames=6"


def test_a_variant_that_changes_the_data_has_its_own(
    tmp_path: Path, tiny_bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the variant were the recipe; data are made once for variants that share them, and one at a time is held."""
    config, held = config_for(tiny_bank, epochs=1), []

    def watched(*arguments: Any) -> Data:
        assert all(data() is None for data in held), "what was held before is still there"
        data = build_data(*arguments)
        held.append(weakref.ref(data))
        return data

    monkeypatch.setattr("whenwhere.compare.build_data", watched)
    variants = ["default", "frame_average", FEWER]
    result = compare(config, variants, [0], tmp_path / "variants", log=quiet)
    assert len(held) == 2
    alone = compare(apply_variant(config, FEWER), ["default"], [0], tmp_path / "alone", log=quiet)
    assert result["variants"][FEWER] == alone["variants"]["default"] != result["variants"]["default"]
    assert result["own_controls"][FEWER] == alone["controls"] != result["controls"]
    recipe = compare(config, variants[:2], [0], tmp_path / "variants", log=quiet)
    assert result["controls"] == recipe["controls"]
    assert "own_controls" not in recipe
    text = StringIO()
    Console(file=text, width=400).print(comparison_table(result, "x"))
    assert f"{FEWER} (n=24): " in text.getvalue()


def test_what_is_measured_at_other_data_keeps_the_change_of_its_variant(tmp_path: Path, tiny_bank: Path) -> None:
    config, at = config_for(tiny_bank, epochs=1), "data.mosaic.rows=3"
    result = compare(config, ["default", FEWER], [0], tmp_path / "variants", log=quiet, at=at)
    alone = compare(apply_variant(config, FEWER), ["default"], [0], tmp_path / "alone", log=quiet, at=at)
    assert result["variants"][FEWER] == alone["variants"]["default"]
    assert alone["controls"]["where: mass inside"]["full frame"] == pytest.approx(1 / 6)
