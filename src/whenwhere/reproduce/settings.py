"""What the rows are trained on: options of data, backbone and training, for each size of reproduction.

``quick``: the rendered clips that come with the package. ``small``: a CPU-sized head on frozen features, for clips of
one's own. ``published``: the paper's sizes, for a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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


# Of the rendered clips our default is told that targets are small, that attention comes late, and that every class has
# to be found, as in recipes/synthetic_a.yaml, whose validation clips these were chosen on.
_SMALL_TARGETS: Options = {
    "model.fade_in": 1.0,
    "model.class_maps": True,
    "loss.warmup": 1.0,
    "loss.detection": 3.0,
    "loss.area": 0.2,
    "loss.area_measure": "effective",
    "loss.area_range": [0.005, 0.015],
}


@dataclass(frozen=True)
class Setting:
    """Data and sizes of a table's runs.

    Attributes:
        title: what the numbers are on, in words.
        base: options of all methods, by name: ``{"fit.epochs": 8}``.
        recipes: options of some methods' published recipes, by key of ``METHODS``; what makes the method comes after.
        methods: more for some, the last word.
        dataset: as ``prepare`` names it, where the published numbers are on the same data.
        manifest: file or folder whose content the runs stand on; None: rendered.
        views: more arguments of ``evaluate``, by method.
        flow: manifest to be written by ``whenwhere flow``, for methods that look at flow.
    """

    title: str
    base: Options
    recipes: Mapping[str, Options] = field(default_factory=dict)
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
        recipe, last = self.recipes.get(method, {}), self.methods.get(method, {})
        changes = {**self.base, **recipe, **METHODS[method], **last, "fit.seed": seed}
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
    return Setting("rendered clips, tier A", base, methods={**_baselines(), "default": _SMALL_TARGETS})


def quick_video_setting(out: Path, epochs: int = 8) -> Setting:
    """The same as files, for rows that look at motion between frames; whose features no backbone was trained for."""
    base = {
        "data.source": "videos",
        "data.path": str(out / "clips" / "manifest.csv"),
        "data.frames": 12,
        "data.stored_frames": 12,
        "data.val_share": 0.0,
        "data.cache": str(out / "cache"),
        "backbone.weights": "glyphs",
        "model.hidden": 24,
        "model.steps": 8,
        "fit.epochs": epochs,
        "fit.batch_size": 16,
        "fit.lr": 2e-3,
    }
    return Setting(
        "rendered clips of tier A as files",
        base,
        methods=_baselines(12),
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
    flow = out / "flow" / "clips.csv"
    return Setting(f"the test clips of {manifest}", base, methods=_baselines(24), manifest=manifest, flow=flow)


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
    methods = _baselines()
    if len(labels) == 2:  # an action and its absence: without, the mask is the same whatever the class
        methods["default"] = {"model.class_maps": True, "loss.detection": 3.0}
    kind = f"mosaics of {rows} x {rows} clips" if rows > 1 else "clips stitched in time"
    flow = out / "flow" / "clips.csv"
    return Setting(f"{kind} from the test clips of {manifest}", base, methods=methods, manifest=manifest, flow=flow)


def _baselines(stored: int | None = None) -> dict[str, Options]:
    """Baselines in the size of the small heads: a linear layer needs larger steps than attention.

    Args:
        stored: frames of each clip that features are kept of, for ``data.source`` videos; then those methods that are
            trained on a few frames and tested on many are so here, too.
    """
    own: dict[str, dict[str, Any]] = {method: {"fit.lr": 0.03} for method in LINEAR}
    own["soft_attention_lstm"] = {
        "soft_attention_lstm.hidden": 64,
        "soft_attention_lstm.layers": 1,
        "soft_attention_lstm.width": 32,
    }
    for method in ("untrimmed_net_soft", "untrimmed_net_hard"):
        own[method]["untrimmed_net.dropout"] = 0.5
    for method in ("tsn", "tsn_flow"):
        own[method]["tsn.dropout"] = 0.5
    for method in ("trn", "trn_flow"):
        own[method] = {"trn.dropout": 0.5, "trn.width": 64, "trn.bottleneck": 64}
    if stored:
        seen = {"data.eval_frames": stored, "data.stored_frames": stored}
        for method in ("frame_average", "frame_average_flow", "frame_average_dynamic"):
            own[method] |= {"data.frames": 4, **seen}  # 3 to 5 random frames of a clip
        for method in ("tsn", "tsn_flow"):
            own[method] |= {"data.frames": 3, **seen}  # 3 segments
        for method in ("trn", "trn_flow"):
            own[method] |= {"data.frames": 8, "data.eval_frames": 8, "data.stored_frames": stored}
    return dict(own)


def _frozen(manifest: Path, out: Path, weights: str) -> dict[str, Any]:
    return {
        "data.path": str(manifest),
        "data.stored_frames": 24,
        "data.components": 128,
        "data.val_share": 0.0,
        "data.cache": str(out / "cache"),
        "backbone.weights": weights,
    }


def knows(clips: list[Clip], what: Literal["segments", "boxes"]) -> bool:
    """Whether test clips (all, where there are no splits) say when or where."""
    tested = [clip for clip in clips if clip.split in (None, "test")]
    return any(getattr(clip, what) for clip in tested)
