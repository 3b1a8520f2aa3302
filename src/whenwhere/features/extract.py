"""Features of whole sets of clips, computed once for a frozen backbone and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from whenwhere.features.backbone import Backbone
from whenwhere.features.projection import Projection
from whenwhere.structures import Clip
from whenwhere.video import VideoError, make_sampler, read_frames

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ClipFeatures:
    """Features of the clips that could be read.

    Attributes:
        features: `(N, T, C, H, W)` float16.
        kept: index of each into the clips asked for.
        broken: ``(path, cause)`` of the clips that could not be read.
    """

    features: Tensor
    kept: tuple[int, ...]
    broken: tuple[tuple[str, str], ...]


@torch.inference_mode()
def frame_features(pixels: Tensor, backbone: Backbone, projection: Projection | None = None, batch: int = 32) -> Tensor:
    """Features `(T, C, H, W)` of displayed frames `(T, 3, height, width)` uint8, on the backbone's device."""
    device = next(backbone.parameters()).device
    parts = []
    for chunk in pixels.split(batch):
        part = backbone(backbone.preprocessing(chunk).to(device))
        parts.append(projection(part) if projection else part)
    return torch.cat(parts)


def extract(
    clips: Sequence[Clip],
    backbone: Backbone,
    projection: Projection | None,
    frames: int,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> ClipFeatures:
    """Features of ``frames`` evenly spaced frames of every clip, from the cache where they are already there.

    The cache key covers the files (path, size, time of change), the backbone with its weights and
    preprocessing, the projection and the sampling, so a stale file is never read. A clip that cannot be
    decoded is reported and skipped.
    """
    file = cache / f"{_key(clips, backbone, projection, frames)}.safetensors" if cache else None
    if file and file.is_file():
        return _load(file)
    result = _extract(clips, backbone, projection, frames, progress)
    if file:
        _save(file, result)
    return result


def _extract(
    clips: Sequence[Clip], backbone: Backbone, projection: Projection | None, frames: int, progress: Progress | None
) -> ClipFeatures:
    sampler = make_sampler("uniform", frames=frames)
    kept, broken, parts = [], [], []
    for index, clip in enumerate(clips):
        try:
            pixels = read_frames(clip.path, sampler).pixels
        except VideoError as error:
            broken.append((clip.path, str(error)))
        else:
            parts.append(frame_features(pixels, backbone, projection).half().cpu())
            kept.append(index)
        if progress:
            progress(index + 1, len(clips))
    if not parts:
        raise VideoError(f"none of the {len(clips)} clips can be read; the first: {broken[0][1]}")
    return ClipFeatures(torch.stack(parts).contiguous(), tuple(kept), tuple(broken))


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
    file = cache / f"projection_{_key(clips, backbone, None, frames)}_{components}.safetensors" if cache else None
    if file and file.is_file():
        projection = Projection(backbone.channels, components)
        projection.load_state_dict(load_file(str(file)))
        return projection
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed))[:most_clips].tolist()
    sample = _extract([clips[index] for index in order], backbone, None, frames, progress)
    cells = sample.features.float().permute(0, 1, 3, 4, 2).flatten(0, 3)
    projection = Projection.fit(cells, components)
    if file:
        _save_tensors(file, {name: value.contiguous() for name, value in projection.state_dict().items()}, {})
    return projection


def _key(clips: Sequence[Clip], backbone: Backbone, projection: Projection | None, frames: int) -> str:
    digest = hashlib.sha256(f"1 {backbone.identity} {frames}".encode())
    for part in _fingerprints(clips):
        digest.update(part.encode())
    if projection:
        digest.update(projection.matrix.cpu().numpy().tobytes())
        digest.update(projection.mean.cpu().numpy().tobytes())
    return digest.hexdigest()[:24]


def _fingerprints(clips: Sequence[Clip]) -> Iterator[str]:
    for clip in clips:
        path = Path(clip.path)
        stat = path.stat() if path.exists() else None
        yield json.dumps([str(path.resolve()), stat and stat.st_size, stat and stat.st_mtime_ns])


def _save(file: Path, result: ClipFeatures) -> None:
    metadata = {"kept": json.dumps(result.kept), "broken": json.dumps(result.broken)}
    _save_tensors(file, {"features": result.features}, metadata)


def _save_tensors(file: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    save_file(tensors, str(partial), metadata)
    partial.replace(file)


def _load(file: Path) -> ClipFeatures:
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as opened:
        metadata = opened.metadata()
    broken = tuple((path, cause) for path, cause in json.loads(metadata["broken"]))
    return ClipFeatures(load_file(str(file))["features"], tuple(json.loads(metadata["kept"])), broken)
