"""Features of whole sets of clips, computed once for a frozen backbone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from whenwhere.datasets.integrity import ContentHashes
from whenwhere.datasets.loader import Maps
from whenwhere.features.backbone import Backbone
from whenwhere.features.projection import Projection
from whenwhere.features.store import FeatureStore, Precision, StoreSpec, StoreWriter
from whenwhere.files import whole_file
from whenwhere.structures import Clip
from whenwhere.video import InputReader, VideoError, clip_sampler

Progress = Callable[[int, int], None]
Result = TypeVar("Result")
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
        times: `(N, T)` seconds of the frames.
        broken: ``(path, cause)`` of the clips that could not be read.
    """

    features: Tensor | StoredFeatures
    kept: tuple[int, ...]
    broken: tuple[tuple[str, str], ...]
    times: tuple[tuple[float, ...], ...] = ()

    def load(self) -> Tensor:
        """The features in memory."""
        return self.features.load() if isinstance(self.features, StoredFeatures) else self.features


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """In evaluation mode, and then each part in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@torch.inference_mode()
def frame_features(
    pixels: Tensor,
    backbone: Backbone,
    projection: Projection | None = None,
    batch: int = 32,
    preprocessing: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Features `(T, C, H, W)` of frames as read `(T, 3 or 2 L, height, width)` uint8, on the backbone's device.

    The backbone is in evaluation mode meanwhile, so each frame is seen alone. ``preprocessing`` replaces its own.
    """
    device, preprocessing = next(backbone.parameters()).device, preprocessing or backbone.preprocessing
    parts = []
    with _evaluating(backbone):
        for chunk in pixels.split(batch):
            part = backbone(preprocessing(chunk).to(device))
            parts.append(projection(part.to(projection.mean.device)) if projection else part)
    return torch.cat(parts)


def feature_spec(
    backbone: Backbone,
    frames: int,
    precision: Precision = "float16",
    fps: float | None = None,
    reader: InputReader | None = None,
) -> StoreSpec:
    """What features of ``frames`` frames, evenly spaced or ``fps`` a second, are, for a store."""
    sampling = f"uniform {frames}" if fps is None else f"window {frames} at {fps:g} fps"
    return StoreSpec(backbone.identity, (reader or InputReader()).describe(sampling), precision)


def extract(
    clips: Sequence[Clip],
    backbone: Backbone,
    projection: Projection | None,
    frames: int,
    folder: str | Path | None = None,
    precision: Precision = "float16",
    progress: Progress | None = None,
    fps: float | None = None,
    reader: InputReader | None = None,
) -> ClipFeatures:
    """Features of ``frames`` evenly spaced frames of every clip; a clip that cannot be decoded is reported and skipped.

    Args:
        projection: applied to what the backbone gives; then the result is in memory.
        folder: a store of what the backbone gives; clips that are in it are not computed again, under whichever name
            they are found. None: nothing is kept.
        precision: of the store.
        progress: called with clips done and clips in all.
        fps: look at the middle of each clip at this rate instead.
        reader: what is looked at; None: frames.

    Raises:
        VideoError: not one clip can be read, or there are none.
    """
    sampler, reader = clip_sampler(frames, fps), reader or InputReader()

    def features_of(clip: Clip, projection: Projection | None) -> tuple[Tensor, Sequence[float]]:
        read = reader(reader.file(clip), sampler)
        return frame_features(read.pixels, backbone, projection).half().cpu(), read.times.tolist()

    if folder is None:
        kept, parts, times = [], [], []
        broken: list[tuple[str, str]] = []
        for index, (done, seconds) in _each(clips, lambda clip: features_of(clip, projection), broken, progress):
            kept.append(index)
            parts.append(done)
            times.append(tuple(seconds))
        return ClipFeatures(torch.stack(parts).contiguous(), tuple(kept), tuple(broken), tuple(times))
    store = FeatureStore(folder, feature_spec(backbone, frames, precision, fps, reader))
    hashes = ContentHashes(Path(folder) / HASHES)
    result = _into_store(
        clips, store, lambda clip: hashes.of(reader.file(clip)), lambda clip: features_of(clip, None), progress
    )
    return replace(result, features=_projected(result.features, projection)) if projection else result


def _each(
    clips: Sequence[Clip],
    work: Callable[[Clip], Result],
    broken: list[tuple[str, str]],
    progress: Progress | None,
) -> Iterator[tuple[int, Result]]:
    """Index and result of every clip that can be read; the others go to ``broken``."""
    if not clips:
        raise VideoError("there are no clips to compute features of")
    for index, clip in enumerate(clips):
        try:
            yield index, work(clip)
        except VideoError as error:
            broken.append((clip.path, str(error)))
        if progress:
            progress(index + 1, len(clips))
    if len(broken) == len(clips):
        raise VideoError(f"none of the {len(broken)} clips can be read; the first: {broken[0][1]}")


def _into_store(
    clips: Sequence[Clip],
    store: FeatureStore,
    digest_of: Callable[[Clip], str],
    features_of: Callable[[Clip], tuple[Tensor, Sequence[float]]],
    progress: Progress | None,
) -> ClipFeatures:
    kept, digests = [], []
    broken: list[tuple[str, str]] = []
    with StoreWriter(store) as writer:

        def keep(clip: Clip) -> str:
            digest = digest_of(clip)
            if digest not in store:
                store.refresh()  # another writer may have it by now
            if digest not in store:
                writer.append(digest, *features_of(clip))
            return digest

        for index, digest in _each(clips, keep, broken, progress):
            kept.append(index)
            digests.append(digest)
    times = tuple(store.entries[digest].times for digest in digests)
    return ClipFeatures(StoredFeatures(store, digests), tuple(kept), tuple(broken), times)


@torch.inference_mode()
def _projected(features: Maps, projection: Projection) -> Tensor:
    return torch.stack([projection(features[index].float()).half() for index in range(len(features))])


def fit_projection(
    clips: Sequence[Clip],
    backbone: Backbone,
    components: int,
    frames: int,
    folder: str | Path | None = None,
    precision: Precision = "float16",
    most_clips: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
    fps: float | None = None,
    reader: InputReader | None = None,
) -> Projection:
    """Fit a :class:`Projection` on four of the frames of up to ``most_clips`` of these (training) clips.

    Args:
        frames, folder, precision, fps, reader: as :func:`extract`; with a store its features are used, and made where
            missing.

    Raises:
        ProjectionError: the clips differ in fewer directions than there are ``components``.
    """
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed))[:most_clips].tolist()
    chosen = [clips[index] for index in order]
    if folder:
        stored = extract(chosen, backbone, None, frames, folder, precision, progress, fps, reader).features
        assert isinstance(stored, StoredFeatures)
        return _projection_of(stored, components)
    sampler, reader = clip_sampler(frames, fps), reader or InputReader()

    def features_of(clip: Clip) -> Tensor:
        pixels = reader(reader.file(clip), sampler).pixels  # all of them, so that they are those a store would have
        return frame_features(pixels[_four(len(pixels))], backbone).half().cpu()

    return _fit([done for _, done in _each(chosen, features_of, [], progress)], components)


def _projection_of(stored: StoredFeatures, components: int) -> Projection:
    """Fitted on four frames of each clip, once: it lies beside the features it is of."""
    said = sha256(json.dumps([components, stored.digests]).encode()).hexdigest()[:16]
    path = stored.store.folder / f"projection-{said}.safetensors"
    if path.is_file():
        projection = Projection(stored.shape[2], components)
        projection.load_state_dict(load_file(str(path)))
        return projection
    projection = _fit([clip[_four(len(clip))] for clip in stored], components)
    with whole_file(path, shared=True) as partial:
        save_file({name: value.contiguous() for name, value in projection.state_dict().items()}, str(partial))
    return projection


def _fit(maps: Sequence[Tensor], components: int) -> Projection:
    """On every cell of maps `(T, C, H, W)`."""
    return Projection.fit(torch.cat([each.float().permute(0, 2, 3, 1).flatten(0, 2) for each in maps]), components)


def _four(frames: int) -> Tensor:
    return torch.linspace(0, frames - 1, min(4, frames)).long()
