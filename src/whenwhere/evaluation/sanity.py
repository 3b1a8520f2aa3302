"""Sanity checks: explanations must go with what was learned, and move with the clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from whenwhere.evaluation.faithfulness import Explained, explain_features
from whenwhere.metrics.stability import Agreement, Move, agreement, rank_correlation
from whenwhere.models import Network

# Of the heads, from the logits towards the features; parts not named here come after these.
_FROM_LOGITS = (
    "classifier",
    "output",
    "lstm",
    "state_score",
    "temporal_attention",
    "conv_lstm",
    "start_hidden",
    "start_cell",
    "spatial_attention",
    "temporal_convolution",
)
MOVES = {
    "mirrored": Move(mirror=True),
    "right by 1": Move(columns=1),
    "down by 1": Move(rows=1),
}


def layers_from_logits(network: Network, backbone: bool = True) -> list[str]:
    """Names of submodules with parameters, from the logits downwards; the backbone's stages last, if wanted.

    What has parameters that belong to none of its parts comes after them as a whole.
    """
    head = _parts(network.head, "head")
    head.sort(key=lambda name: _FROM_LOGITS.index(_last(name)) if _last(name) in _FROM_LOGITS else len(_FROM_LOGITS))
    return head + (_parts(network.backbone.model, "backbone.model") if backbone and network.backbone else [])


def _parts(module: nn.Module, path: str) -> list[str]:
    """Parts of a module with parameters, last first, through wrappers; the module itself if it has some of its own."""
    children = [(name, child) for name, child in module.named_children() if next(child.parameters(), None) is not None]
    own = next(module.parameters(recurse=False), None) is not None
    if len(children) == 1 and not own:
        return _parts(children[0][1], f"{path}.{children[0][0]}")
    return [f"{path}.{name}" for name, _ in reversed(children)] + ([path] if own else [])


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def reinitialise(module: nn.Module) -> None:
    """Forget what was learned: every part's own ``reset_parameters``, inner ones first, on torch's generator.

    Parameters of parts without one (a position embedding, a learned scale) have their values shuffled.
    """
    for part in reversed(list(module.modules())):
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()  # type: ignore[operator]
            continue
        for parameter in part.parameters(recurse=False):
            order = torch.randperm(parameter.numel())
            with torch.no_grad():
                parameter.copy_(parameter.flatten()[order.to(parameter.device)].view_as(parameter))


class RandomisedLayer(NamedTuple):
    """One line of a cascading randomisation: with this layer and all above it random.

    Attributes:
        layer: name of the submodule; ``trained`` for the network as it is.
        mask, importance, evidence, grad_cam: rank correlation of the explanation with the trained network's,
            `(R, N)` over R draws and N clips. 0, even in the line ``trained``, where an explanation is constant.
        probability: `(R, N)` of the explained class.
    """

    layer: str
    mask: Tensor
    importance: Tensor
    evidence: Tensor
    grad_cam: Tensor
    probability: Tensor

    def means(self) -> dict[str, float]:
        """Every column's mean over draws and clips."""
        return {name: float(values.mean()) for name, values in self._asdict().items() if name != "layer"}


def cascading_randomisation(
    network: Network,
    batch: Mapping[str, Tensor],
    classes: Tensor,
    *,
    layers: Sequence[str] | None = None,
    draws: int = 3,
    clips: int = 16,
    seed: int = 0,
) -> list[RandomisedLayer]:
    """Randomise a network's layers one after another and see whether its explanations notice (Adebayo et al. 2018).

    An explanation that survives does not tell what the network has learned. A mask is made before the classifier and
    the recurrence, so it can only change once its own layers are reached. One draw may by chance resemble the trained
    network or its opposite; several are averaged. The network itself is left as it is.

    Args:
        batch: ``features`` `(N, T, C, H, W)` or ``frames`` `(N, T, 3, size, size)`, as the network takes them.
        classes: `(N,)` that are explained, the same at every line.
        layers: in this order; None: :func:`layers_from_logits`, the backbone's only where frames are given.

    Raises:
        ValueError: no draw, or a layer the network has not.
    """
    if draws < 1:
        raise ValueError(f"cascading randomisation needs draws >= 1, got {draws}")
    seen = "features" not in batch
    layers = layers_from_logits(network, backbone=seen) if layers is None else list(layers)
    known = dict(network.named_modules())
    for name in layers:
        if name not in known:
            raise ValueError(
                f"the network has no layer {name!r}; from the logits down it has {layers_from_logits(network)}"
            )
    trained = _explain(deepcopy(network).eval(), batch, classes, clips)
    lines: dict[str, list[list[Tensor]]] = {"trained": [_compare(trained, trained)], **{name: [] for name in layers}}
    device = next(network.head.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for draw in range(draws):
            torch.manual_seed(seed + draw)
            random = deepcopy(network).eval()
            for name in layers:
                reinitialise(random.get_submodule(name))
                lines[name].append(_compare(trained, _explain(random, batch, classes, clips)))
    return [RandomisedLayer(name, *(torch.stack(column) for column in zip(*rows))) for name, rows in lines.items()]


def _explain(network: Network, batch: Mapping[str, Tensor], classes: Tensor, clips: int) -> Explained:
    features = _features(network, batch, clips)
    return explain_features(network.head, features, classes.to(features.device), clips)


@torch.no_grad()
def _features(network: Network, batch: Mapping[str, Tensor], clips: int) -> Tensor:
    device = next(network.head.parameters()).device
    name = "features" if "features" in batch else "frames"
    return torch.cat([network.features({name: some.to(device)}) for some in batch[name].split(clips)])


def _compare(trained: Explained, random: Explained) -> list[Tensor]:
    """Columns of :class:`RandomisedLayer`, `(N,)` each."""
    names = ("mask", "importance", "evidence", "grad_cam")
    maps = [(getattr(trained, name).flatten(1), getattr(random, name).flatten(1)) for name in names]
    return [*(rank_correlation(*pair).cpu() for pair in maps), random.probability.cpu()]


def localization_stability(
    network: Network,
    batch: Mapping[str, Tensor],
    classes: Tensor,
    moves: Mapping[str, Move] | None = None,
    *,
    threshold: float = 0.5,
    clips: int = 16,
) -> dict[str, dict[str, Agreement]]:
    """Does the explanation of a moved clip, moved back, agree with that of the clip?

    Args:
        network: put into evaluation mode.
        batch, classes: as :func:`cascading_randomisation`.
        moves: by name; None: :data:`MOVES`. In cells where ``features`` are given, else in pixels of the frames. A
            move of frames is undone by as many whole cells as are nearest, one by less than half a cell in place.
        threshold: of the maps, see :func:`agreement`.

    Returns:
        By move, then by explanation (``mask``, ``importance``, ``evidence``, ``grad_cam``); of the importance, which
        has no place, how it stays as it is.
    """
    network.eval()
    name = "features" if "features" in batch else "frames"
    original = _explain(network, batch, classes, clips)
    grid, size = original.mask.shape[-2:], batch[name].shape[-2:]
    results = {}
    for label, move in (MOVES if moves is None else moves).items():
        moved = _explain(network, {name: move(batch[name])}, classes, clips)
        cells = Move(move.mirror, round(move.rows * grid[0] / size[0]), round(move.columns * grid[1] / size[1]))
        results[label] = {
            field: agreement(
                getattr(original, field).cpu(),
                getattr(moved, field).cpu(),
                None if field == "importance" else cells,
                threshold,
            )
            for field in ("mask", "importance", "evidence", "grad_cam")
        }
    return results


def sanity_report(network: Network, batch: Mapping[str, Tensor], classes: Tensor) -> dict[str, Any]:
    """Both checks as plain numbers, means over clips: ``cascade``, a row a layer, and ``stability``, a row a move."""
    cascade = [{"layer": line.layer, **line.means()} for line in cascading_randomisation(network, batch, classes)]
    stability = {
        move: {
            field: {name: float(values.mean()) for name, values in agreed._asdict().items()}
            for field, agreed in fields.items()
        }
        for move, fields in localization_stability(network, batch, classes).items()
    }
    return {"cascade": cascade, "stability": stability}
