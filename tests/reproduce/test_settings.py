"""Settings make a run of every method."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from whenwhere.datasets.manifest import ManifestError
from whenwhere.reproduce.published import RECIPES, published_setting
from whenwhere.reproduce.rows import METHODS
from whenwhere.reproduce.settings import quick_setting, quick_video_setting, small_setting, wall_setting
from whenwhere.training.config import flat_options

ROOT = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_published_run(method: str, tmp_path: Path) -> None:
    for dataset in ("ucf101", "moments", "thumos14"):
        config = published_setting(Path("clips.csv"), tmp_path, "hub", dataset, ROOT).config(method, 3)
        assert config.fit.seed == 3
        assert config.data.path in ("clips.csv", str(tmp_path / "flow" / "clips.csv"))
    if method in RECIPES:
        assert (ROOT / RECIPES[method]).is_file()


def test_the_paper_form_has_the_published_sizes(tmp_path: Path) -> None:
    config = published_setting(Path("clips.csv"), tmp_path, "hub", "ucf101", ROOT).config("paper", 0)
    loss = config.loss.resolved(config.model.variant)
    assert (config.data.frames, config.model.hidden, config.model.variant) == (50, 512, "paper")
    assert (loss.total_variation, loss.contrast, loss.unimodality) == (1e-5, 1e-4, 1.0)
    assert config.backbone.weights == str(tmp_path / "finetuned" / "backbone.safetensors")
    moments = published_setting(Path("clips.csv"), tmp_path, "hub", "moments", ROOT).config("paper", 0)
    assert (moments.data.frames, moments.data.fps, moments.backbone.size) == (15, 5.0, 256)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_small_run(method: str, tmp_path: Path) -> None:
    for setting in (small_setting(Path("clips.csv"), tmp_path, "random"), quick_video_setting(tmp_path)):
        config = setting.config(method, 0)
        assert config.data.stored_frames in (12, 24), "features are shared"
        assert not config.backbone.trainable


def test_tsn_and_frame_average_see_few_frames_in_training_and_many_at_test(tmp_path: Path) -> None:
    setting = small_setting(Path("clips.csv"), tmp_path, "random")
    assert (setting.config("tsn", 0).data.frames, setting.config("tsn", 0).data.seen_frames) == (3, 24)
    assert 3 <= setting.config("frame_average", 0).data.frames <= 5


def test_flow_needs_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="modality flow is for videos"):
        quick_setting(tmp_path).config("tsn_flow", 0)


def test_no_recipes_are_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no recipes in"):
        published_setting(Path("clips.csv"), tmp_path, "hub", None, tmp_path)


def test_the_quick_default_is_told_what_the_recipe_of_the_rendered_clips_is_told(tmp_path: Path) -> None:
    recipe = flat_options(yaml.safe_load((ROOT / "synthetic_a.yaml").read_text(encoding="utf-8")))
    config = quick_setting(tmp_path).config("default", 0)
    ours = flat_options(json.loads(config.to_json()))
    for name in ("model.fade_in", "model.class_maps", *(key for key in recipe if key.startswith("loss."))):
        assert ours[name] == recipe[name], name
    paper = quick_setting(tmp_path).config("paper", 0)
    assert paper.loss.resolved("paper").area == 0
    assert (paper.loss.warmup, paper.model.fade_in) == (0, 0)


@pytest.mark.parametrize("labels, maps", [(("fight", "calm"), True), (("run", "jump", "calm"), False)])
def test_an_action_and_its_absence_are_told_apart_by_a_map_of_the_action(
    labels: tuple[str, ...], maps: bool, tmp_path: Path
) -> None:
    manifest = tmp_path / "clips.csv"
    manifest.write_text("path,label\n" + "".join(f"{label}.mp4,{label}\n" for label in labels), encoding="utf-8")
    setting = wall_setting(manifest, tmp_path, "hub", "calm", rows=2)
    config = setting.config("default", 0)
    assert (config.model.class_maps, config.data.mosaic.absent > 0) == (maps, maps)
    assert not setting.config("paper", 0).model.class_maps
    recipe = flat_options(yaml.safe_load((ROOT / "mosaic_fight.yaml").read_text(encoding="utf-8")))
    if maps:
        ours = flat_options(json.loads(config.to_json()))
        told = [name for name in recipe if name.startswith(("data.mosaic.", "model.", "loss.", "fit."))]
        assert {name: ours[name] for name in told} == {name: recipe[name] for name in told}
