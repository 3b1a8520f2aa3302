"""The published sizes and schedules: recipes of the repository, one for each method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whenwhere.datasets.manifest import ManifestError
from whenwhere.reproduce.rows import METHODS
from whenwhere.reproduce.settings import Options, Setting
from whenwhere.training.config import flat_options

# Sampling of each data set as the paper's Sec. 4 and B.1 say; T = 50 and frames of 224 pixels where they do not.
_PUBLISHED_DATA: dict[str, Options] = {
    "moments": {"data.frames": 15, "data.fps": 5.0, "backbone.frame_size": [340, 256], "backbone.size": 256},
    "thumos14": {"data.fps": 10.0, "data.stored_frames": 100},
}
# The recipe each method is published with, in the repository's folder of recipes; paper.yaml for the others.
RECIPES = {
    "soft_attention_lstm": "baselines/soft_attention_lstm.yaml",
    "untrimmed_net_soft": "baselines/untrimmed_net_soft.yaml",
    "untrimmed_net_hard": "baselines/untrimmed_net_hard.yaml",
    "frame_average": "baselines/frame_average.yaml",
    "frame_average_flow": "baselines/bninception_flow.yaml",
    "frame_average_dynamic": "baselines/dynamic_image.yaml",
    "tsn": "baselines/tsn_rgb.yaml",
    "tsn_flow": "baselines/tsn_flow.yaml",
    "trn": "baselines/trn_rgb.yaml",
    "trn_flow": "baselines/trn_flow.yaml",
}
FINETUNE = "finetune.yaml"
_ATTENTION = (*(method for method in METHODS if method not in RECIPES), "soft_attention_lstm")


def published_setting(
    manifest: Path, out: Path, weights: str, dataset: str | None, recipes: Path, epochs: int | None = None
) -> Setting:
    """The published sizes and schedules, from the recipes; attention stands on a backbone fine-tuned first (Sec. 3.1).

    Raises:
        ManifestError: no such folder of recipes.
    """
    if not (recipes / "paper.yaml").is_file():
        raise ManifestError(
            f"no recipes in {recipes}: expected paper.yaml and others there; give the repository's folder as --recipes"
        )
    base: dict[str, Any] = {
        "data.source": "videos",
        "data.path": str(manifest),
        "data.cache": str(out / "cache"),
        "backbone.weights": weights,
    }
    of = {method: _recipe(recipes / RECIPES.get(method, "paper.yaml")) for method in METHODS}
    sampling = _PUBLISHED_DATA.get(dataset or "", {})
    finetuned = {**sampling, "backbone.weights": str(out / "finetuned" / "backbone.safetensors")}
    shorter = {"fit.epochs": epochs} if epochs else {}
    methods = {method: {**(finetuned if method in _ATTENTION else {}), **shorter} for method in METHODS}
    return Setting(
        f"{dataset or manifest}, test split",
        base,
        of,
        methods,
        dataset=dataset,
        manifest=manifest,
        views=_VIEWS,
        flow=out / "flow" / "clips.csv",
    )


# 25 frames x 10 crops (TSN, Sec. 5.1); the frames are data.eval_frames of the recipes.
_VIEWS = dict.fromkeys(("tsn", "tsn_flow"), ("--crops", "10", "--average", "logits"))


def _recipe(path: Path) -> dict[str, Any]:
    """Options of a recipe by their names, ``{"fit.lr": 1e-3}``; none where there is no such file yet."""
    import yaml

    if not path.is_file():
        return {}
    flat = flat_options(yaml.safe_load(path.read_text(encoding="utf-8")))
    for own in ("method", "model.variant", "data.modality"):  # the method's own, not the recipe's
        flat.pop(own, None)
    return flat
