"""Features of whole sets of clips, computed once for a frozen backbone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from whenwhere.datasets.integrity import ContentHashes
from whenwhere.features.backbone import Backbone
from whenwhere.features.projection import Projection
from whenwhere.features.store import FeatureStore, Precision, StoreSpec, StoreWriter
from whenwhere.structures import Clip
from whenwhere.video import VideoError, make_sampler, read_frames

Progress = Callable[[int, int], None]
HASHES = "files.jsonl"


class StoredFeatures(Sequence[Tensor]):
    """Features of clips in a store, read when asked for; all of one shape, as a tensor `(N, T, C, H, W)` has.

    Attributes:
        shape: (N, T, C, H, W).
    """

    def __init__(self, store: FeatureStore, digests: Sequence[str]) -> None:
        self.store, self.digests = store, tuple(digests)
        self.shape = torch.Size((len(digests), *store.entries[digests[0]].shape))

    def __len__(self) -> int:
        return len(self.digests)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]
        return self.store.read(self.digests[index])

    def load(self) -> Tensor:
        """All of them in memory."""
        return torch.stack(list(self))


@dataclass(frozen=True)
class ClipFeatures:
    """Features of the clips that could be read.

    Attributes:
        features: `(N, T, C, H, W)` float16, in memory or in a store.
        kept: index of each into the clips asked for.
        broken: ``(path, cause)`` of the clips that could not be read.
    """

    features: Tensor | StoredFeatures
    kept: tuple[int, ...]
    broken: tuple[tuple[str, str], ...]

    def load(self) -> Tensor:
        """The features in memory."""
        return self.features.load() if isinstance(self.features, StoredFeatures) else self.features


@torch.inference_mode()
def frame_features(pixels: Tensor, backbone: Backbone, projection: Projection | None = None, batch: int = 32) -> Tensor:
    """Features `(T, C, H, W)` of displayed frames `(T, 3, height, width)` uint8, on the backbone's device."""
    device = next(backbone.parameters()).device
    parts = []
    for chunk in pixels.split(batch):
        part = backbone(backbone.preprocessing(chunk).to(device))
        parts.append(projection(part) if projection else part)
    return torch.cat(parts)


def feature_spec(
    backbone: Backbone, projection: Projection | None, frames: int, precision: Precision = "float16"
) -> StoreSpec:
    """What these features are, for a store."""
    return StoreSpec(backbone.identity, f"uniform {frames}", _projection_identity(projection), precision)


def extract(
    clips: Sequence[Clip],
    backbone: Backbone,
    projection: Projection | None,
    frames: int,
    folder: str | Path | None = None,
    precision: Precision = "float16",
    progress: Progress | None = None,
) -> ClipFeatures:
    """Features of ``frames`` evenly spaced frames of every clip; a clip that cannot be decoded is reported and skipped.

    Args:
        folder: a store; clips that are in it are not computed again, whichever file of theirs it was. None: in memory.
        precision: of the store.
        progress: called with clips done and clips in all.

    Raises:
        VideoError: not one clip can be read.
    """
    sampler = make_sampler("uniform", frames=frames)

    def features_of(clip: Clip) -> tuple[Tensor, Sequence[float]]:
        read = read_frames(clip.path, sampler)
        return frame_features(read.pixels, backbone, projection).half().cpu(), read.times.tolist()

    if folder is None:
        return _into_memory(clips, features_of, progress)
    spec = feature_spec(backbone, projection, frames, precision)
    return _into_store(clips, Path(folder), spec, features_of, progress)


def _into_memory(
    clips: Sequence[Clip], features_of: Callable[[Clip], tuple[Tensor, Sequence[float]]], progress: Progress | None
) -> ClipFeatures:
    kept, broken, parts = [], [], []
    for index, clip in enumerate(clips):
        try:
            parts.append(features_of(clip)[0])
            kept.append(index)
        except VideoError as error:
            broken.append((clip.path, str(error)))
        if progress:
            progress(index + 1, len(clips))
    _check_any(kept, broken)
    return ClipFeatures(torch.stack(parts).contiguous(), tuple(kept), tuple(broken))


def _into_store(
    clips: Sequence[Clip],
    folder: Path,
    spec: StoreSpec,
    features_of: Callable[[Clip], tuple[Tensor, Sequence[float]]],
    progress: Progress | None,
) -> ClipFeatures:
    store, hashes = FeatureStore(folder, spec), ContentHashes(folder / HASHES)
    kept, broken, digests = [], [], []
    with StoreWriter(store) as writer:
        for index, clip in enumerate(clips):
            try:
                digest = hashes.of(clip.path)
                if digest not in store:
                    store.refresh()  # another writer may have it by now
                if digest not in store:
                    writer.append(digest, *features_of(clip))
                kept.append(index)
                digests.append(digest)
            except VideoError as error:
                broken.append((clip.path, str(error)))
            if progress:
                progress(index + 1, len(clips))
    _check_any(kept, broken)
    return ClipFeatures(StoredFeatures(store, digests), tuple(kept), tuple(broken))


def _check_any(kept: Sequence[int], broken: Sequence[tuple[str, str]]) -> None:
    if not kept:
        raise VideoError(f"none of the {len(broken)} clips can be read; the first: {broken[0][1]}")


def fit_projection(
    clips: Sequence[Clip],
    backbone: Backbone,
    components: int,
    cache: Path | None = None,
    frames: int = 4,
    most_clips: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
) -> Projection:
    """Fit a :class:`Projection` on a few frames of up to ``most_clips`` of these (training) clips.

    A fit is kept in the cache: fitted again on another number of threads it would differ in its last bits, and
    with it the key of every feature behind it.
    """
    file = cache / f"projection_{_key(clips, backbone, frames)}_{components}.safetensors" if cache else None
    if file and file.is_file():
        projection = Projection(backbone.channels, components)
        projection.load_state_dict(load_file(str(file)))
        return projection
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed))[:most_clips].tolist()
    sample = extract([clips[index] for index in order], backbone, None, frames, progress=progress)
    cells = sample.load().float().permute(0, 1, 3, 4, 2).flatten(0, 3)
    projection = Projection.fit(cells, components)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".partial")
        save_file({name: value.contiguous() for name, value in projection.state_dict().items()}, str(partial))
        partial.replace(file)
    return projection


def _projection_identity(projection: Projection | None) -> str:
    if projection is None:
        return ""
    digest = hashlib.sha256(projection.matrix.cpu().numpy().tobytes() + projection.mean.cpu().numpy().tobytes())
    return digest.hexdigest()[:24]


def _key(clips: Sequence[Clip], backbone: Backbone, frames: int) -> str:
    digest = hashlib.sha256(f"1 {backbone.identity} {frames}".encode())
    for part in _fingerprints(clips):
        digest.update(part.encode())
    return digest.hexdigest()[:24]


def _fingerprints(clips: Sequence[Clip]) -> Iterator[str]:
    for clip in clips:
        path = Path(clip.path)
        stat = path.stat() if path.exists() else None
        yield json.dumps([str(path.resolve()), stat and stat.st_size, stat and stat.st_mtime_ns])
