"""What the rows are trained on: options of data, backbone and training, for each size of reproduction.

``quick``: the rendered clips that come with the package. ``small``: a CPU-sized head on frozen features, for clips of
one's own. ``published``: the paper's sizes, for a GPU.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from whenwhere.datasets.manifest import ManifestError, read_clips
from whenwhere.reproduce.rows import METHODS
from whenwhere.structures import Clip
from whenwhere.training.config import TrainConfig, with_options

Options = Mapping[str, Any]
Scale = Literal["quick", "small", "published"]

# A linear layer, or a few, needs a larger step than attention does; the same for all of them.
LINEAR = (
    "frame_average",
    "frame_average_flow",
    "frame_average_dynamic",
    "tsn",
    "tsn_flow",
    "untrimmed_net_soft",
    "untrimmed_net_hard",
)


@dataclass(frozen=True)
class Setting:
    """Data and sizes of a table's runs.

    Attributes:
        title: what the numbers are on, in words.
        base: options of all methods, by name: ``{"fit.epochs": 8}``.
        methods: more for some, by key of ``METHODS``.
        dataset: as ``prepare`` names it, where the published numbers are on the same data.
        manifest: file or folder whose content the runs stand on; None: rendered.
        views: more arguments of ``evaluate``, by method.
        flow: manifest to be written by ``whenwhere flow``, for methods that look at flow.
    """

    title: str
    base: Options
    methods: Mapping[str, Options] = field(default_factory=dict)
    dataset: str | None = None
    manifest: Path | None = None
    views: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flow: Path | None = None

    def config(self, method: str, seed: int) -> TrainConfig:
        """The run of a method.

        Raises:
            ValueError: a method or an option that this package does not know.
        """
        changes = {**self.base, **METHODS[method], **self.methods.get(method, {}), "fit.seed": seed}
        if changes.get("data.modality") == "flow" and self.flow:
            changes["data.path"] = str(self.flow)
        return with_options(TrainConfig(), changes)


def quick_setting(out: Path, clips: int = 600, epochs: int = 8) -> Setting:
    """Rendered clips of tier A with exact truth, and the backbone that ships with the package."""
    base = {
        "data.source": "synthetic",
        "data.synthetic.tier": "A",
        "data.synthetic.clips": clips,
        "data.cache": str(out / "cache"),
        "backbone.weights": "glyphs",
        "model.hidden": 24,
        "model.steps": 8,
        "model.fade_in": 0.5,
        "loss.warmup": 0.5,
        "fit.epochs": epochs,
        "fit.batch_size": 16,
        "fit.lr": 2e-3,
    }
    return Setting("rendered clips, tier A", base, {method: {"fit.lr": 0.03} for method in LINEAR})


def quick_video_setting(out: Path, epochs: int = 8) -> Setting:
    """The same as files, for rows that look at motion between frames; whose features no backbone was trained for."""
    base = {
        "data.source": "videos",
        "data.path": str(out / "clips" / "manifest.csv"),
        "data.frames": 12,
        "data.val_share": 0.0,
        "data.cache": str(out / "cache"),
        "backbone.weights": "glyphs",
        "model.hidden": 24,
        "model.steps": 8,
        "fit.epochs": epochs,
        "fit.batch_size": 16,
        "fit.lr": 2e-3,
    }
    methods: dict[str, Options] = {method: {"fit.lr": 0.03} for method in LINEAR}
    return Setting(
        "rendered clips of tier A as files",
        base,
        methods,
        manifest=out / "clips" / "manifest.csv",
        flow=out / "flow" / "clips.csv",
    )


def small_setting(manifest: Path, out: Path, weights: str, epochs: int | None = None) -> Setting:
    """Clips of one's own with a label each: frozen features, computed once (recipes/surveillance_fight.yaml)."""
    base = {
        **_frozen(manifest, out, weights),
        "data.source": "videos",
        "data.frames": 16,
        "model.hidden": 16,
        "model.steps": 8,
        "model.mask_widths": [32, 16],
        "model.order": "motion",
        "model.dropout": 0.5,
        "fit.epochs": epochs or 12,
        "fit.batch_size": 16,
        "fit.lr": 1e-3,
        "fit.weight_decay": 0.1,
    }
    methods: dict[str, Options] = {method: {"fit.lr": 0.03} for method in LINEAR}
    flow = out / "flow" / "clips.csv"
    return Setting(f"the test clips of {manifest}", base, methods, manifest=manifest, flow=flow)


def wall_setting(
    manifest: Path, out: Path, weights: str, background: str | None, rows: int, epochs: int | None = None
) -> Setting:
    """Clips of one's own put together in space (``rows`` 2) or time alone (1), so that where and when are known.

    Training walls have one cell and longer actions, as in recipes/mosaic_fight.yaml.

    Raises:
        ManifestError: ``background`` is not a label of the clips.
    """
    labels = sorted({str(clip.label) for clip in read_clips(manifest)})
    if background not in labels:
        said = "is not given" if background is None else f"{background!r} is none of them"
        raise ManifestError(
            f"{manifest} does not say where and when, so clips are put together to walls; --background {said}: "
            f"the label of clips without action, one of {', '.join(labels)}"
        )
    base = {
        **_frozen(manifest, out, weights),
        "data.source": "mosaic",
        "data.background": background,
        "data.mosaic.rows": rows,
        "data.mosaic.columns": rows,
        "data.mosaic.frames": 24,
        "data.mosaic.action_frames": [6, 12],
        "data.mosaic.train_action_frames": [16, 24],
        "data.mosaic.train_grid": [1, 1],
        # With one action alone there has to be its absence, or there is nothing to tell.
        "data.mosaic.absent": 0.5 if len(labels) == 2 else 0.0,
        "data.mosaic.clips": 480,
        "data.mosaic.eval_clips": 240,
        "model.hidden": 16,
        "model.steps": 6,
        "model.mask_widths": [32, 16],
        "model.dropout": 0.3,
        "model.order": "motion",
        "model.fade_in": 0.3,
        "loss.warmup": 0.6,
        "fit.epochs": epochs or 4,
        "fit.batch_size": 16,
        "fit.lr": 1e-3,
        "fit.weight_decay": 0.05,
    }
    kind = f"mosaics of {rows} x {rows} clips" if rows > 1 else "clips stitched in time"
    methods: dict[str, Options] = {method: {"fit.lr": 0.03} for method in LINEAR}
    flow = out / "flow" / "clips.csv"
    return Setting(f"{kind} from the test clips of {manifest}", base, methods, manifest=manifest, flow=flow)


def _frozen(manifest: Path, out: Path, weights: str) -> dict[str, Any]:
    return {
        "data.path": str(manifest),
        "data.stored_frames": 24,
        "data.components": 128,
        "data.val_share": 0.0,
        "data.cache": str(out / "cache"),
        "backbone.weights": weights,
    }


# Sampling of each data set as the paper's Sec. 4 and B.1 say; T = 50 and frames of 224 pixels where they do not.
_PUBLISHED_DATA: dict[str, Options] = {
    "moments": {"data.frames": 15, "data.fps": 5.0, "backbone.frame_size": [340, 256], "backbone.size": 256},
    "thumos14": {"data.fps": 10.0, "data.stored_frames": 100},
}


def published_setting(manifest: Path, out: Path, weights: str, dataset: str | None, epochs: int | None) -> Setting:
    """The paper's sizes and schedule (Sec. 4, B.1; recipes/paper.yaml)."""
    base: dict[str, Any] = {
        "data.source": "videos",
        "data.path": str(manifest),
        "data.frames": 50,
        "data.cache": str(out / "cache"),
        "data.workers": 8,
        "backbone.weights": weights,
        "backbone.size": 224,
        "model.hidden": 512,
        "model.mask_widths": [1024, 512],
        "model.dropout": 0.2,
        "fit.epochs": epochs or 200,
        "fit.batch_size": 20,
        "fit.lr": 1e-4,
        "fit.weight_decay": 1e-4,
        "fit.patience": 20,
        **_PUBLISHED_DATA.get(dataset or "", {}),
    }
    return Setting(
        f"{dataset or manifest}, test split", base, dataset=dataset, manifest=manifest, flow=out / "flow" / "clips.csv"
    )


def knows(clips: list[Clip], what: Literal["segments", "boxes"]) -> bool:
    """Whether test clips (all, where there are no splits) say when or where."""
    tested = [clip for clip in clips if clip.split in (None, "test")]
    return any(getattr(clip, what) for clip in tested)


def with_changes(setting: Setting, changes: Options) -> Setting:
    """The setting with options of all methods changed last, whatever the method says."""
    methods = {method: {**setting.methods.get(method, {}), **changes} for method in METHODS}
    return replace(setting, base={**setting.base, **changes}, methods=methods)


def as_yaml(config: TrainConfig) -> str:
    """A recipe."""
    import yaml

    return yaml.safe_dump(json.loads(config.to_json()), sort_keys=False)
