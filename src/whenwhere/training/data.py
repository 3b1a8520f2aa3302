"""From options to training, validation and test sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from whenwhere.datasets.loader import FeatureDataset, VideoDataset
from whenwhere.datasets.manifest import ManifestError, read_clips
from whenwhere.datasets.mosaic import ClipBank, MosaicDataset
from whenwhere.datasets.splits import class_names, split_clips, with_one_label
from whenwhere.datasets.synthetic import SyntheticDataset
from whenwhere.datasets.truth import split_truth
from whenwhere.datasets.wall import write_walls
from whenwhere.features.backbone import Backbone
from whenwhere.features.device import on_best_device
from whenwhere.features.extract import ClipFeatures, extract, fit_projection
from whenwhere.features.projection import Projection
from whenwhere.features.rendered import rendered_features, rendered_projection
from whenwhere.features.store import Precision, dequantize, quantize
from whenwhere.structures import Clip
from whenwhere.training.config import DataOptions, TrainConfig
from whenwhere.video import VideoError, probe

Log = Callable[[str], None]
SPLITS = ("train", "val", "test")
EVALUATION_SEED = 20_190_507  # evaluation mosaics are the same in every run, whatever its seed


@dataclass
class Data:
    """What a run trains and is measured on.

    Attributes:
        classes: names, in the order of the logits.
        channels: C of the features the head gets.
        train, val, test: data sets; None where there are no such clips, or they were not asked for.
        backbone, projection: what turned frames into features, None for a feature bank.
        broken: ``(path, cause)`` of clips that were skipped.
        clips: files of each split's samples, where a sample is one file.
        banks, bank_clips: target and filler clips of each split's mosaics, as features and as files.
    """

    classes: tuple[str, ...]
    channels: int
    train: Dataset | None
    val: Dataset | None
    test: Dataset | None
    backbone: Backbone | None = None
    projection: nn.Module | None = None
    broken: list[tuple[str, str]] = field(default_factory=list)
    clips: dict[str, list[Clip]] = field(default_factory=dict)
    banks: dict[str, tuple[ClipBank, ClipBank]] = field(default_factory=dict)
    bank_clips: dict[str, tuple[list[Clip], list[Clip]]] = field(default_factory=dict)


def build_data(
    config: TrainConfig, log: Log = print, projection: Projection | None = None, splits: Sequence[str] = SPLITS
) -> Data:
    """Make the data sets of a run; frozen backbones run here, once.

    Args:
        projection: of a trained model, to measure it on the features it knows; None: fit one where one is asked for.
        splits: those to be built, of train, val and test.
    """
    builders: dict[str, Callable[[TrainConfig, Log, Projection | None, Sequence[str]], Data]] = {
        "videos": _videos,
        "mosaic": _mosaic,
        "feature_bank": _feature_bank,
        "synthetic": _synthetic,
    }
    return builders[config.data.source](config, log, projection, splits)


def _required_path(options: DataOptions, what: str) -> Path:
    if options.path is None:
        raise ManifestError(f"data.path is not set; give {what}")
    return Path(options.path)


def _read(options: DataOptions, what: str) -> list[Clip]:
    clips = read_clips(_required_path(options, what))
    if options.modality == "flow" and not any(clip.flow for clip in clips):
        raise ManifestError(
            f"{options.path} names no optical flow (column 'flow'), which data.modality flow needs. Compute it with "
            f"`whenwhere flow --data {options.path} --out FOLDER` and give FOLDER/clips.csv as data.path"
        )
    return clips


def _videos(config: TrainConfig, log: Log, known: Projection | None, wanted: Sequence[str]) -> Data:
    options = config.data
    clips, several = with_one_label(_read(options, "a CSV manifest or a folder with a folder per class"))
    if several:
        log(f"{len(several)} clips with several labels are left out, the first {several[0].path}")
    classes = class_names(clips)
    if options.background not in (None, *classes):
        raise ManifestError(f"data.background must name the class in which nothing happens, one of {list(classes)}")
    splits = split_clips(clips, options.val_share, seed=options.split_seed, training="train" in wanted)
    backbone = Backbone(config.backbone)
    if config.backbone.trainable:
        return _decoded_videos(config, {name: splits[name] for name in wanted}, classes, backbone)
    stored = options.stored_frames or max(options.frames, options.seen_frames)
    tables, projection, broken = _extract_splits(config, splits, backbone, stored, log, known, wanted)
    kept = {name: [splits[name][index] for index in table.kept] for name, table in tables.items()}
    sets = {
        name: FeatureDataset(
            table.features,
            torch.tensor([classes.index(str(clip.label)) for clip in kept[name]]),
            options.frames if name == "train" else options.seen_frames,
            seed=config.fit.seed if name == "train" else None,
            truth=split_truth(kept[name], table.times, backbone.preprocessing) if name != "train" else None,
            mirror=options.modality != "flow",
            consecutive=options.fps is not None,
        )
        for name, table in tables.items()
    }
    train, val, test = (sets.get(name) for name in SPLITS)
    channels = options.components or backbone.channels
    return Data(classes, channels, train, val, test, backbone, projection, broken, kept)


def _decoded_videos(
    config: TrainConfig, splits: dict[str, list[Clip]], classes: tuple[str, ...], backbone: Backbone
) -> Data:
    broken: list[tuple[str, str]] = []
    sets = {}
    kept: dict[str, list[Clip]] = {}
    for name, clips in splits.items():
        readable, causes = [], []
        for clip in clips:
            try:
                probe(config.data.reader.file(clip))
                readable.append(clip)
            except VideoError as error:
                causes.append((clip.path, str(error)))
        check_broken(causes, len(clips), config.data.max_broken, name)
        broken += causes
        training = name == "train"
        seed, frames = (config.fit.seed, config.data.frames) if training else (None, config.data.seen_frames)
        if readable:
            kept[name] = readable
            rate, reader = config.data.fps, config.data.reader
            sets[name] = VideoDataset(readable, classes, frames, backbone.preprocessing, seed, rate, reader)
    if "train" in splits and "train" not in sets:
        raise VideoError(f"none of the training clips can be read; the first: {broken[0][1]}")
    train, val, test = (sets.get(name) for name in SPLITS)
    return Data(classes, backbone.channels, train, val, test, backbone, None, broken, kept)


def check_broken(broken: Sequence[tuple[str, str]], clips: int, most: float, split: str) -> None:
    """Raise VideoError when more than the share ``most`` of a split's clips is broken: too many to overlook."""
    if len(broken) > most * clips:
        raise VideoError(
            f"{len(broken)} of {clips} {split} clips cannot be read, more than data.max_broken = {most:g} allows; "
            f"the first: {broken[0][1]}"
        )


def _extract_splits(
    config: TrainConfig,
    splits: dict[str, list[Clip]],
    backbone: Backbone,
    frames: int,
    log: Log,
    projection: Projection | None,
    wanted: Sequence[str],
) -> tuple[dict[str, ClipFeatures], Any, list[tuple[str, str]]]:
    """Features of every wanted split that has clips, the projection fitted on the training clips, broken clips."""
    cache, components, fps, reader = config.data.cache, config.data.components, config.data.fps, config.data.reader
    tables: dict[str, ClipFeatures] = {}
    broken: list[tuple[str, str]] = []
    with on_best_device(backbone):
        if components and projection is None:
            log(f"fitting a projection to {components} channels on training clips")
            projection = fit_projection(
                splits["train"], backbone, components, frames, cache, config.data.precision, fps=fps, reader=reader
            )
        for name, clips in splits.items():
            if not clips or name not in wanted:
                continue
            log(f"features of {len(clips)} {name} clips, {frames} frames each")
            tables[name] = extract(clips, backbone, projection, frames, cache, config.data.precision, None, fps, reader)
            check_broken(tables[name].broken, len(clips), config.data.max_broken, name)
            broken += tables[name].broken
    return tables, projection, broken


def _mosaic(config: TrainConfig, log: Log, known: Projection | None, wanted: Sequence[str]) -> Data:
    """Walls of real clips; the class ``background`` fills them and is the class of walls without an action."""
    options = config.data
    clips = _read(options, "a manifest of trimmed clips")
    names = class_names(clips)
    if options.background not in names:
        raise ManifestError(f"data.background must name the class that fills the other cells, one of {list(names)}")
    actions = tuple(name for name in names if name != options.background)
    splits = split_clips(clips, options.val_share, seed=options.split_seed, training="train" in wanted)
    backbone = Backbone(config.backbone)
    frames = options.stored_frames or 24
    tables, projection, broken = _extract_splits(config, splits, backbone, frames, log, known, wanted)
    banks, bank_clips = {}, {}
    for name, table in tables.items():
        features = table.load()
        readable = [splits[name][index] for index in table.kept]
        labels = [str(clip.label) for clip in readable]
        is_filler = torch.tensor([label == options.background for label in labels])
        index = torch.tensor([actions.index(label) if label in actions else -1 for label in labels])
        banks[name] = (
            ClipBank(features[~is_filler], index[~is_filler]),
            ClipBank(features[is_filler], index[is_filler]),
        )
        bank_clips[name] = (
            [clip for clip in readable if clip.label != options.background],
            [clip for clip in readable if clip.label == options.background],
        )
    classes = (*actions, str(options.background)) if options.mosaic.absent else actions
    data = _mosaic_sets(config, classes, len(actions), options.components or backbone.channels, banks)
    data.backbone, data.projection, data.broken, data.bank_clips = backbone, projection, broken, bank_clips
    return data


def write_wall_videos(config: TrainConfig, split: str, folder: Path, count: int) -> Path:
    """Write the first mosaics of a split as videos; gives the manifest with their truth."""
    whole = replace(config, data=replace(config.data, components=None))  # only which clips are where matters here
    data = build_data(whole, splits=(split,))
    dataset = getattr(data, split)
    if split not in data.bank_clips:
        raise ManifestError(f"walls can be written for data.source mosaic with {split} clips only")
    return write_walls(dataset, *data.bank_clips[split], data.classes, folder, count)


def _mosaic_sets(
    config: TrainConfig,
    classes: tuple[str, ...],
    actions: int,
    channels: int,
    banks: dict[str, tuple[ClipBank, ClipBank]],
) -> Data:
    mosaic = config.data.mosaic
    sets: dict[str, Dataset] = {}
    for name, (targets, fillers) in banks.items():
        training = name == "train"
        length, seed = (mosaic.clips, config.fit.seed) if training else (mosaic.eval_clips, EVALUATION_SEED)
        options = mosaic.for_training() if training else replace(mosaic, mirror=False)
        sets[name] = MosaicDataset(targets, fillers, actions, options, length, seed)
    return Data(classes, channels, sets.get("train"), sets.get("val"), sets.get("test"), banks=banks)


def _feature_bank(config: TrainConfig, log: Log, known: Projection | None, wanted: Sequence[str]) -> Data:
    """Walls from a file with the tensors ``{target,filler}_{features,group,is_test}`` and ``target_label``."""
    path = _required_path(config.data, "a safetensors file of features")
    try:
        tensors = load_file(str(path))
        groups = {kind: tensors[f"{kind}_group"].long() for kind in ("target", "filler")}
        labels = {"target": tensors["target_label"].long(), "filler": torch.zeros(len(groups["filler"])).long()}
        held_out = {kind: tensors[f"{kind}_is_test"].bool() for kind in groups}
        features = {kind: _as_stored(tensors[f"{kind}_features"], config.data.precision) for kind in groups}
    except Exception as error:
        raise ManifestError(f"{path} is not a feature bank: {type(error).__name__}: {error}") from error
    sides: dict[str, dict[str, Tensor]] = {"train": {}, "val": {}, "test": held_out}
    for kind, group in groups.items():
        people = group[~held_out[kind]].unique()
        chosen = people[torch.randperm(len(people), generator=torch.Generator().manual_seed(config.data.split_seed))]
        val = torch.isin(group, chosen[: round(config.data.val_share * len(people))]) & ~held_out[kind]
        sides["train"][kind], sides["val"][kind] = ~held_out[kind] & ~val, val
    banks = {
        name: tuple(ClipBank(features[kind][side[kind]], labels[kind][side[kind]]) for kind in ("target", "filler"))
        for name, side in sides.items()
        if side["target"].any() and name in wanted
    }
    classes = tuple(f"class {number}" for number in range(int(labels["target"].max()) + 1))
    log(f"feature bank: {', '.join(f'{len(t.features)} + {len(f.features)} {n}' for n, (t, f) in banks.items())} clips")
    return _mosaic_sets(config, classes, len(classes), features["target"].shape[2], banks)  # type: ignore[arg-type]


def _as_stored(features: Tensor, precision: Precision) -> Tensor:
    """Features as a store of that precision would give them back, `(N, T, C, H, W)`."""
    if precision == "float16":
        return features
    return torch.stack([dequantize(*quantize(clip)) for clip in features])


def _synthetic(config: TrainConfig, log: Log, known: Projection | None, wanted: Sequence[str]) -> Data:
    """Rendered clips; their features are computed once as those of any frozen backbone."""
    backbone = Backbone(config.backbone)
    options, projection = config.data.synthetic, known
    smaller = replace(options, clips=options.eval_clips)
    sets = {}
    with on_best_device(backbone):
        if config.data.components and projection is None:
            projection = rendered_projection(SyntheticDataset(options, "train"), backbone, config.data.components)
        for name in wanted:
            rendered = SyntheticDataset(options if name == "train" else smaller, name)
            tensors = rendered_features(rendered, backbone, projection, config.data.cache, log)
            truth = {"active": tensors["active"].bool(), "boxes": tensors["boxes"] / options.size}
            seed = config.fit.seed if name == "train" else None
            features, label = tensors["features"], tensors["label"]
            sets[name] = FeatureDataset(features, label, options.frames, seed, truth, mirror=False)
    channels = config.data.components or backbone.channels
    return Data(options.classes, channels, sets.get("train"), sets.get("val"), sets.get("test"), backbone, projection)
