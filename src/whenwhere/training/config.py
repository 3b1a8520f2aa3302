"""Everything a training run can be told: the command line, a recipe and a checkpoint hold the same fields."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from whenwhere.datasets.mosaic import MosaicOptions
from whenwhere.datasets.synthetic import SyntheticOptions
from whenwhere.features.backbone import BackboneOptions
from whenwhere.features.store import Precision
from whenwhere.losses import LossOptions
from whenwhere.models import (
    SoftAttentionLSTMOptions,
    SpatioTemporalAttentionOptions,
    TRNOptions,
    TSNOptions,
    UntrimmedNetOptions,
)
from whenwhere.training.options import options_from
from whenwhere.video import DynamicImageOptions, InputReader, Modality


@dataclass(frozen=True)
class DataOptions:
    """Which clips, and how they are sampled.

    Attributes:
        source: ``videos``: labelled clips; ``mosaic``: walls made of labelled clips, with known truth;
            ``feature_bank``: walls made of features in one safetensors file; ``synthetic``: rendered clips.
        path: CSV manifest or folder with a folder per class (videos, mosaic), or the bank's file.
        modality: what is seen of a clip: ``rgb``: its frames; ``flow``: stacks of five fields of optical flow, which
            the manifest names in the column that ``whenwhere flow`` writes; ``dynamic``: dynamic images.
        background: label of clips in which nothing happens. They fill a mosaic's other cells; and their class, the
            absence of all others, has no map of ``model.class_maps``.
        frames: T, frames the model sees of a clip.
        eval_frames: T in validation, test and use, where it differs from training, for ``videos``; None: ``frames``.
        fps: rate at which frames are taken from a clip: T in a row, from a random start in training, else about the
            middle; None: T over the clip's whole length. A frozen backbone starts at random only among
            ``stored_frames``.
        stored_frames: frames kept of each clip for a frozen backbone; training draws T of them, so with more than T
            every epoch sees others. None: the greater T, so that every epoch sees the same frames; for mosaics 24.
        components: channels after a whitened principal component projection; None: all of the backbone's.
        val_share: share of training clips carved out by group for validation where the manifest has none; 0: none.
        split_seed: of that draw.
        max_broken: largest share of a split's clips that may be broken; they are skipped and counted, beyond it
            training does not start.
        cache: feature store, for rendered clips a folder for their features; None: they are kept in memory only.
        precision: of the store, or of a feature bank's copy in memory: ``float16``, or ``int8`` at half the size.
        workers: processes that decode.
    """

    source: Literal["videos", "mosaic", "feature_bank", "synthetic"] = "videos"
    path: str | None = None
    modality: Modality = "rgb"
    background: str | None = None
    frames: int = 16
    eval_frames: int | None = None
    fps: float | None = None
    stored_frames: int | None = None
    components: int | None = None
    val_share: float = 0.2
    split_seed: int = 0
    max_broken: float = 0.25
    cache: str | None = None
    precision: Precision = "float16"
    workers: int = 0
    mosaic: MosaicOptions = field(default_factory=MosaicOptions)
    synthetic: SyntheticOptions = field(default_factory=SyntheticOptions)
    dynamic: DynamicImageOptions = field(default_factory=DynamicImageOptions)

    def __post_init__(self) -> None:
        most = max(self.frames, self.eval_frames or 0)
        if self.source == "videos" and self.stored_frames is not None and self.stored_frames < most:
            raise ValueError(
                f"data.stored_frames is {self.stored_frames}, but data.frames or data.eval_frames asks for {most}: "
                "store at least as many"
            )
        if self.eval_frames is None:
            return
        if self.source != "videos":
            raise ValueError(
                f"data.eval_frames is for data.source videos; clips of source {self.source} are made with their number "
                "of frames: leave data.eval_frames out"
            )
        if self.eval_frames < 1:
            raise ValueError(f"data.eval_frames must be at least 1, got {self.eval_frames}")

    @property
    def reader(self) -> InputReader:
        """What reads a clip."""
        return InputReader(self.modality, self.dynamic)

    @property
    def clip_frames(self) -> int:
        """T: frames the model is trained on, whatever the source."""
        return {
            "mosaic": self.mosaic.frames,
            "feature_bank": self.mosaic.frames,
            "synthetic": self.synthetic.frames,
        }.get(self.source, self.frames)

    @property
    def seen_frames(self) -> int:
        """T in validation, test and use, whatever the source."""
        return self.eval_frames or self.clip_frames

    @property
    def cells(self) -> int:
        """Clips along the longer side of a picture; each is as large as the backbone's input."""
        return max(self.mosaic.rows, self.mosaic.columns) if self.source in ("mosaic", "feature_bank") else 1


@dataclass(frozen=True)
class FitOptions:
    """How to optimise.

    Attributes:
        epochs: passes over the training clips.
        batch_size: clips a step.
        accumulate: steps whose gradients are summed before an update.
        lr: peak learning rate of the head.
        backbone_lr: peak learning rate of a trainable backbone.
        optimizer: ``adamw``, ``adam``, or ``sgd`` with momentum 0.9.
        weight_decay: of the optimizer; with ``adam`` and ``sgd`` it is part of the gradient.
        schedule: how the rate falls after its rise: ``cosine`` to 0, or ``step``: to a tenth at every milestone.
        milestones: epochs after which ``step`` divides the rate by 10; those after the last epoch are never reached.
        warmup: share of training over which the rate rises, before it falls.
        clip_norm: largest gradient norm; 0: no clipping.
        precision: of Lightning Fabric: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        ema: decay of a moving average of the weights, used for validation and kept; 0: none.
        select: by which validation measure the epoch is chosen that is kept: ``loss``, or ``accuracy`` (of equal ones
            the lower loss), which goes on rising when a few confident mistakes raise the loss.
        patience: epochs without a better one before stopping; None: train to the end.
        checkpoint_steps: also write the resumable state every so many updates within an epoch; None: every epoch.
        seed: of initial weights, order, draws and dropout.
        devices: number of devices or processes.
    """

    epochs: int = 20
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 1e-3
    backbone_lr: float = 1e-4
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    weight_decay: float = 1e-2
    schedule: Literal["cosine", "step"] = "cosine"
    milestones: tuple[int, ...] = ()
    warmup: float = 0.1
    clip_norm: float = 1.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    ema: float = 0.0
    select: Literal["loss", "accuracy"] = "loss"
    patience: int | None = None
    checkpoint_steps: int | None = None
    seed: int = 0
    devices: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.accumulate < 1:
            raise ValueError("epochs, batch_size and accumulate must be at least 1")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be in [0, 1), got {self.ema}")
        if bool(self.milestones) != (self.schedule == "step"):
            raise ValueError(
                "fit.schedule step needs fit.milestones, and they need it; "
                f"got schedule {self.schedule} and milestones {list(self.milestones)}"
            )
        if list(self.milestones) != sorted({epoch for epoch in self.milestones if epoch >= 1}):
            raise ValueError(f"fit.milestones must be rising epochs from 1 on, got {list(self.milestones)}")


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
        method: ``spatio_temporal_attention``; ``frame_average``, the pooling baseline; or another published method,
            made of the options of its name.
        model: of spatio_temporal_attention; of frame_average its dropout.
    """

    method: Literal[
        "spatio_temporal_attention", "frame_average", "soft_attention_lstm", "tsn", "trn", "untrimmed_net"
    ] = "spatio_temporal_attention"
    data: DataOptions = field(default_factory=DataOptions)
    backbone: BackboneOptions = field(default_factory=BackboneOptions)
    model: SpatioTemporalAttentionOptions = field(default_factory=SpatioTemporalAttentionOptions)
    soft_attention_lstm: SoftAttentionLSTMOptions = field(default_factory=SoftAttentionLSTMOptions)
    tsn: TSNOptions = field(default_factory=TSNOptions)
    trn: TRNOptions = field(default_factory=TRNOptions)
    untrimmed_net: UntrimmedNetOptions = field(default_factory=UntrimmedNetOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    fit: FitOptions = field(default_factory=FitOptions)

    def __post_init__(self) -> None:
        modality, source = self.data.modality, self.data.source
        if modality != "rgb" and source not in ("videos", "mosaic"):
            raise ValueError(f"data.modality {modality} is for videos and mosaics; data.source is {source}")
        if modality == "flow" and source == "mosaic" and self.data.mosaic.mirror:
            raise ValueError(
                "data.mosaic.mirror is not for data.modality flow: features of mirrored flow are of another motion; "
                "leave it out"
            )
        channels = self.data.reader.channels
        if self.backbone.in_channels == BackboneOptions.in_channels != channels:
            object.__setattr__(self, "backbone", dataclasses.replace(self.backbone, in_channels=channels))
        if self.backbone.in_channels != channels:
            raise ValueError(
                f"backbone.in_channels is {self.backbone.in_channels} and data.modality {modality} has {channels}; "
                "leave it out"
            )

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def to_yaml(self) -> str:
        """A recipe with every option."""
        import yaml

        return yaml.safe_dump(json.loads(self.to_json()), sort_keys=False)

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        return options_from(cls, json.loads(text))


def with_options(config: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """A configuration with some options changed, named as on the command line: ``{"model.hidden": 16}``.

    Raises:
        ValueError: an unknown option, or a value it cannot have; the message lists the valid ones.
    """
    values = dataclasses.asdict(config)
    for key, value in changes.items():
        *path, last = key.split(".")
        place: Any = values
        for part in path:
            place = place.get(part, {}) if isinstance(place, dict) else {}
        if not isinstance(place, dict) or last not in place:
            valid = ", ".join(sorted(place)) if isinstance(place, dict) and place else ", ".join(sorted(values))
            raise ValueError(f"unknown option {key!r}; valid ones there are {valid}")
        place[last] = value
    return options_from(TrainConfig, values)


def flat_options(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by their names on the command line, as :func:`with_options` takes them: ``{"fit.lr": 1e-3}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flat_options(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
