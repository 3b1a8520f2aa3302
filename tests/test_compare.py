from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_runs import config_for, quiet

from whenwhere.compare import apply_variant, compare, comparison_table
from whenwhere.models import METHODS
from whenwhere.training.config import TrainConfig


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
