"""Does an explanation name what a decision rests on? Take away what it points at and watch the probability.

Nothing here knows a model: ``probability`` is any function from clips to the probability of the class each is explained
for. It is called with `(R, T, C, H, W)`, several versions of the same N clips one after another, so that row r is a
version of clip ``r % N``, and gives `(R,)`. Clips are feature maps or frames; a saliency grid coarser than theirs
stands for patches of them.

Every measure gives one value a clip, so that intervals over clips can be made of any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from whenwhere.metrics.baselines import mean_baseline

Probability = Callable[[Tensor], Tensor]
Over = Literal["joint", "space", "time"]


@dataclass(frozen=True)
class CurveOptions:
    """How a deletion or insertion curve is taken.

    Attributes:
        over: what goes at a time: ``joint``: cells of any frame, ranked over the clip; ``space``: cells ranked within
            each frame, as many from every frame; ``time``: whole frames.
        steps: points of the curve after the first; never more than there are things to rank.
        rows: steps are taken together while their clips are no more than this.
        seed: ties of the saliency are broken at random, or a constant one would go from the top left corner.
    """

    over: Over = "joint"
    steps: int = 20
    rows: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.over not in ("joint", "space", "time"):
            raise ValueError(f"CurveOptions.over must be joint, space or time, got {self.over!r}")
        if self.steps < 1 or self.rows < 1:
            raise ValueError(f"CurveOptions needs steps and rows of at least 1, got {self.steps} and {self.rows}")


class Curve(NamedTuple):
    """A class's probability while content goes or comes.

    Attributes:
        shares: `(S + 1,)`, of the content that is gone (deletion) or there (insertion), from 0 to 1.
        probability: `(N, S + 1)`.
    """

    shares: Tensor
    probability: Tensor

    @property
    def area(self) -> Tensor:
        """Area under each clip's curve, `(N,)`, in [0, 1]: a probability that never changes gives itself."""
        return torch.trapezoid(self.probability, self.shares, dim=-1)


def deletion_curve(
    probability: Probability,
    content: Tensor,
    saliency: Tensor,
    options: CurveOptions | None = None,
    *,
    baseline: Tensor | None = None,
    ends: Tensor | None = None,
) -> Curve:
    """Take content away, the most salient first: the sooner the class goes, the better (Petsiuk et al. 2018, RISE).

    Args:
        probability: see the module.
        content: `(N, T, C, H, W)`.
        saliency: `(N, T, h, w)`, or `(N, T)` where ``over`` is ``time``; any finite numbers, only their order counts.
            h and w divide H and W.
        baseline: what stands where content is gone, anything that broadcasts to ``content``; None:
            :func:`mean_baseline`.
        ends: `(2, N)`, the probabilities of the untouched clips and of the baseline alone, where they are known.

    Raises:
        ValueError: shapes that do not fit, saliency that is not finite, or no clips.
    """
    return _curve(probability, content, saliency, options or CurveOptions(), baseline, ends, insert=False)


def insertion_curve(
    probability: Probability,
    content: Tensor,
    saliency: Tensor,
    options: CurveOptions | None = None,
    *,
    baseline: Tensor | None = None,
    ends: Tensor | None = None,
) -> Curve:
    """Put content on the baseline, the most salient first: the sooner the class comes, the better; arguments and
    errors of :func:`deletion_curve`."""
    return _curve(probability, content, saliency, options or CurveOptions(), baseline, ends, insert=True)


@torch.no_grad()
def _curve(
    probability: Probability,
    content: Tensor,
    saliency: Tensor,
    options: CurveOptions,
    baseline: Tensor | None,
    ends: Tensor | None,
    insert: bool,
) -> Curve:
    _check(content, saliency, time=options.over == "time")
    baseline = mean_baseline(content) if baseline is None else baseline
    ranks = _falling_ranks(saliency, options)
    units = int(ranks.max()) + 1
    counts = torch.linspace(0, units, min(options.steps, units) + 1, device=content.device).round()
    if ends is None:
        ends = probabilities(probability, torch.stack([content, baseline.expand_as(content)]), options.rows)
    before, after = (baseline, content) if insert else (content, baseline)
    columns = [ends[1 if insert else 0][None]]
    for some in counts[1:-1].split(max(1, options.rows // len(content))):
        moved = _to_grid(ranks < some.view(-1, 1, 1, 1, 1), content)
        columns.append(probabilities(probability, torch.where(moved, after, before), options.rows))
    columns.append(ends[0 if insert else 1][None])
    return Curve(counts / units, torch.cat(columns).T)


def _falling_ranks(saliency: Tensor, options: CurveOptions) -> Tensor:
    """Place of everything in the order of falling saliency from 0, `(N, T, h, w)`, `(N, T, 1, 1)` for frames."""
    scores = saliency.flatten(2 if options.over == "space" else 1)
    generator = torch.Generator().manual_seed(options.seed)
    shuffled = torch.rand(scores.shape, generator=generator).argsort(-1).to(scores.device)
    order = shuffled.gather(-1, scores.gather(-1, shuffled).argsort(dim=-1, descending=True, stable=True))
    ranks = order.argsort(-1).view(saliency.shape)
    return ranks[..., None, None] if options.over == "time" else ranks


def probabilities(probability: Probability, versions: Tensor, rows: int = 16) -> Tensor:
    """Probabilities `(V, N)` of V versions of N clips, `(V, N, T, C, H, W)`, about ``rows`` clips at a time."""
    count, clips = versions.shape[:2]
    parts = [probability(some.flatten(0, 1)) for some in versions.split(max(1, rows // clips))]
    values = torch.cat(parts)
    if values.shape != (count * clips,):
        raise ValueError(f"probability must give one number a clip, ({count * clips},), got {tuple(values.shape)}")
    return values.view(count, clips)


def keep_salient(content: Tensor, saliency: Tensor, baseline: Tensor | None = None) -> Tensor:
    """Clips faded to the baseline where nothing is salient: saliency below 0 is taken as 0, its peak in the clip as 1.

    Args:
        content, baseline: as :func:`deletion_curve`.
        saliency: `(N, T, h, w)`; a clip without any positive saliency becomes the baseline.
    """
    _check(content, saliency, time=False)
    baseline = mean_baseline(content) if baseline is None else baseline
    share = saliency.clamp_min(0)
    share = share / share.amax(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(share.dtype).tiny)
    return baseline + _to_grid(share, content) * (content - baseline)


def confidence_drop(intact: Tensor, kept: Tensor) -> Tensor:
    """Share of the probability lost when only the salient is kept, `(N,)` in [0, 1], 0 where there was none.

    Its mean is the average drop (Chattopadhyay et al. 2018, Grad-CAM++). A saliency that is the same everywhere keeps
    everything and loses nothing: read it beside the curves, not alone.

    Args:
        intact, kept: `(N,)` probabilities of the clips and of :func:`keep_salient`.
    """
    lost = (intact - kept).clamp_min(0) / intact.clamp_min(torch.finfo(intact.dtype).tiny)
    return torch.where(intact > 0, lost, 0.0)


def confidence_increase(intact: Tensor, kept: Tensor) -> Tensor:
    """1 where the probability rises when only the salient is kept, else 0, `(N,)`; the mean is the average increase."""
    return (kept > intact).to(intact.dtype)


class RegionDeletion(NamedTuple):
    """Probabilities of a class, with and without a part of the clip.

    Attributes:
        intact: `(N,)`.
        explained: `(N,)`, without the explained region.
        random: `(N, D)`, without each of D random tubes of the same volume.
    """

    intact: Tensor
    explained: Tensor
    random: Tensor

    @property
    def explained_loss(self) -> Tensor:
        """`(N,)` in [-1, 1]."""
        return self.intact - self.explained

    @property
    def random_loss(self) -> Tensor:
        """`(N,)` in [-1, 1], mean over the draws."""
        return self.intact - self.random.mean(1)


@torch.no_grad()
def delete_region(
    probability: Probability,
    content: Tensor,
    region: Tensor,
    *,
    baseline: Tensor | None = None,
    draws: int = 8,
    seed: int = 0,
    rows: int = 16,
) -> RegionDeletion:
    """Take an explained space-time region away, and in its stead random tubes of equal volume.

    Args:
        probability, content, baseline: as :func:`deletion_curve`.
        region: `(N, T, h, w)` bool; an empty one takes nothing away, nor do its tubes.
        draws: tubes for each clip, see :func:`random_tubes`.
    """
    _check(content, region, time=False)
    if region.dtype != torch.bool or draws < 1:
        raise ValueError(f"region must be bool and draws at least 1, got {region.dtype} and {draws}")
    baseline = mean_baseline(content) if baseline is None else baseline
    gone = torch.cat([torch.zeros_like(region)[None], region[None], random_tubes(region, draws, seed)])
    values = [
        probabilities(probability, torch.where(_to_grid(some, content), baseline, content), rows)
        for some in gone.split(max(1, rows // len(content)))
    ]
    intact, explained, *random = torch.cat(values)
    return RegionDeletion(intact, explained, torch.stack(random, 1))


def random_tubes(region: Tensor, draws: int, seed: int = 0) -> Tensor:
    """Box-shaped runs of cells over runs of frames, each as near in volume to its clip's region as such a tube can be.

    Of all lengths, heights and widths that come nearest one is drawn, then a place for it; all are equally likely.

    Args:
        region: `(N, T, H, W)` bool.

    Returns:
        `(draws, N, T, H, W)` bool, empty where the region is.
    """
    generator = torch.Generator().manual_seed(seed)
    bounds = torch.tensor(region.shape[1:])
    extents = torch.cartesian_prod(*(torch.arange(1, int(bound) + 1) for bound in bounds))
    volume = region.sum(dim=(1, 2, 3)).cpu()
    away = (extents.prod(1) - volume[:, None]).abs()
    nearest = away == away.amin(1, keepdim=True)
    drawn = torch.rand((draws, *nearest.shape), generator=generator).masked_fill(~nearest, -1).argmax(-1)
    extent = extents[drawn]
    start = (torch.rand(extent.shape, generator=generator) * (bounds - extent + 1)).long()
    tubes = torch.ones((draws, *region.shape), dtype=torch.bool)
    for axis, bound in enumerate(bounds.tolist()):
        places = torch.arange(bound)
        first, last = start[..., axis, None], (start + extent)[..., axis, None]
        inside = (places >= first) & (places < last)
        tubes &= inside.view(*inside.shape[:2], *(bound if axis == other else 1 for other in range(3)))
    return (tubes & (volume > 0).view(-1, 1, 1, 1)).to(region.device)


def loss_ratio(explained_loss: Tensor, random_loss: Tensor, floor: float = 0.01) -> Tensor:
    """How many times more the explained region weighs than a random tube: mean loss over mean loss, `(..., N)` to
    `(...)`.

    Means first, because a single clip's ratio may be anything over nearly nothing. Random tubes that on average cost
    less than ``floor`` (of a probability), or that help, count as costing ``floor``: the ratio is then understated,
    and never more than ``1 / floor``.
    """
    return explained_loss.mean(-1) / random_loss.mean(-1).clamp_min(floor)


def _to_grid(values: Tensor, content: Tensor) -> Tensor:
    """`(..., T, h, w)` to `(..., T, 1, H, W)`: cells of a coarse grid as patches; one cell is left to broadcast."""
    for dim in (-2, -1):
        if 1 < values.shape[dim] < content.shape[dim]:
            values = values.repeat_interleave(content.shape[dim] // values.shape[dim], dim)
    return values.unsqueeze(-3)


def _check(content: Tensor, saliency: Tensor, time: bool) -> None:
    if content.ndim != 5 or content.numel() == 0:
        raise ValueError(f"content must be (N, T, C, H, W) of at least one clip, got {tuple(content.shape)}")
    clips, frames, _, height, width = content.shape
    expected = f"({clips}, {frames})" if time else f"({clips}, {frames}, h, w), h and w dividing {height} and {width}"
    fits = saliency.shape[:2] == content.shape[:2] and saliency.ndim == (2 if time else 4) and saliency.numel() > 0
    if not fits or (not time and (height % saliency.shape[2] or width % saliency.shape[3])):
        raise ValueError(f"saliency must be {expected}, got {tuple(saliency.shape)}")
    if not saliency.isfinite().all():
        count = int((~saliency.isfinite()).sum())
        raise ValueError(f"{count} of {saliency.numel()} saliency values are not finite numbers")
