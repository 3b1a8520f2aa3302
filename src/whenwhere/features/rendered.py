"""Features of rendered clips, computed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from whenwhere.datasets.synthetic import SyntheticDataset
from whenwhere.features.backbone import Backbone
from whenwhere.features.extract import frame_features
from whenwhere.features.projection import Projection
from whenwhere.files import whole_file


def rendered_features(
    rendered: SyntheticDataset,
    backbone: Backbone,
    projection: Projection | None,
    folder: str | Path | None,
    log: Callable[[str], None] = print,
) -> dict[str, Tensor]:
    """``features`` `(N, T, C, H, W)` float16, ``label`` `(N,)`, ``active`` `(N, T)` of 0 and 1, ``boxes`` `(N, T, 4)`.

    Args:
        folder: where they are kept, under a name that stands for all that makes them; None: not kept.
    """
    said = json.dumps([asdict(rendered.options), rendered.split, backbone.identity], sort_keys=True)
    digest = hashlib.sha256(said.encode())
    for value in projection.state_dict().values() if projection else ():
        digest.update(value.numpy().tobytes())
    name = f"synthetic-{digest.hexdigest()[:16]}.safetensors"
    path = Path(folder) / name if folder else None
    if path and path.is_file():
        return load_file(str(path))
    log(f"rendering {len(rendered)} {rendered.split} clips of tier {rendered.options.tier}")
    items = [rendered[index] for index in range(len(rendered))]
    tensors = {name: torch.stack([item[name] for item in items]) for name in ("label", "active", "boxes")}
    tensors["active"] = tensors["active"].to(torch.uint8)
    tensors["features"] = torch.stack(
        [frame_features(item["pixels"], backbone, projection, 256).half().cpu() for item in items]
    )
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, shared=True) as partial:
            save_file(tensors, str(partial))
    return tensors


def rendered_projection(train: SyntheticDataset, backbone: Backbone, components: int, clips: int = 100) -> Projection:
    """A projection fitted on four frames of the first training clips, which are drawn like any others."""
    four = torch.linspace(0, train.options.frames - 1, 4).long()
    some = [frame_features(train[index]["pixels"][four], backbone).cpu() for index in range(min(clips, len(train)))]
    return Projection.fit(torch.cat(some).movedim(1, -1).flatten(0, 2), components)
