"""Probabilities that hang on one known cell, and curves that can be worked out by hand."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from whenwhere.metrics.baselines import mean_baseline
from whenwhere.metrics.faithfulness import (
    Curve,
    CurveOptions,
    confidence_drop,
    confidence_increase,
    delete_region,
    deletion_curve,
    insertion_curve,
    keep_salient,
    loss_ratio,
    probabilities,
    random_tubes,
)

FRAMES, HEIGHT, WIDTH = 4, 2, 3
CELLS = HEIGHT * WIDTH
NOTHING = torch.zeros(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def first_channel(t: int, y: int, x: int):
    """The probability is what one cell holds in its first channel."""
    return lambda clips: clips[:, t, 0, y, x]


def ones(clips: int = 1) -> Tensor:
    return torch.ones(clips, FRAMES, 2, HEIGHT, WIDTH)


def soft(seed: int = 0):
    """A smooth probability that hangs on every value."""
    weight = torch.randn(FRAMES, 2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))
    return lambda clips: torch.sigmoid((torch.tanh(clips) * weight).sum((1, 2, 3, 4)))


@pytest.mark.parametrize("place", range(FRAMES * CELLS))
def test_the_sooner_the_cell_that_matters_goes_the_smaller_the_area(place):
    """At the place-th rank of 24 it is there for ``place`` steps and half of the next; so the right order is best."""
    t, y, x = 2, 1, 0
    saliency = torch.rand(1, FRAMES, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(place))
    order = saliency.flatten().sort(descending=True).values
    cell = saliency[0, t, y, x].clone()
    saliency[saliency == order[place]] = cell  # swap it with whatever is at that place
    saliency[0, t, y, x] = order[place]
    options = CurveOptions(steps=FRAMES * CELLS)
    deleted = deletion_curve(first_channel(t, y, x), ones(), saliency, options, baseline=NOTHING)
    inserted = insertion_curve(first_channel(t, y, x), ones(), saliency, options, baseline=NOTHING)
    expected = (place + 0.5) / (FRAMES * CELLS)
    assert deleted.area.item() == pytest.approx(expected)
    assert inserted.area.item() == pytest.approx(1 - expected)


@pytest.mark.parametrize("place", range(FRAMES))
def test_in_time_whole_frames_go(place):
    saliency = torch.arange(FRAMES).float().roll(place + 1)[None]  # the highest stands at frame ``place``
    curve = deletion_curve(first_channel(0, 1, 1), ones(), saliency, CurveOptions("time", FRAMES), baseline=NOTHING)
    rank = saliency[0].argsort(descending=True).tolist().index(0)
    assert curve.area.item() == pytest.approx((rank + 0.5) / FRAMES)


def test_in_space_as_many_cells_go_from_every_frame_whatever_its_level():
    saliency = torch.rand(1, FRAMES, HEIGHT, WIDTH) + 10 * torch.arange(FRAMES).view(1, -1, 1, 1)
    seen = []

    def watch(clips: Tensor) -> Tensor:
        seen.append((clips[:, :, 0] == 0).sum((2, 3)))
        return clips[:, 0, 0, 0, 0]

    deletion_curve(watch, ones(), saliency, CurveOptions("space", CELLS), baseline=NOTHING)
    gone = torch.cat(seen)
    assert torch.equal(gone, gone[:, :1].expand(-1, FRAMES))
    assert sorted(gone[:, 0].tolist()) == list(range(CELLS + 1))


@pytest.mark.parametrize("over", ["joint", "space", "time"])
@pytest.mark.parametrize("take", [deletion_curve, insertion_curve])
def test_a_plain_loop_gives_the_same(over, take):
    generator = torch.Generator().manual_seed(3)
    content = torch.randn(3, FRAMES, 2, HEIGHT, WIDTH, generator=generator)
    saliency = torch.rand(3, FRAMES, HEIGHT, WIDTH, generator=generator)
    saliency = saliency.mean((2, 3)) if over == "time" else saliency
    curve = take(soft(), content, saliency, CurveOptions(over, steps=5))
    for clip in range(3):
        mean = content[clip].mean((0, 2, 3))
        for point, share in enumerate(curve.shares.tolist()):
            there = content[clip].clone() if take is deletion_curve else mean.view(1, 2, 1, 1).expand_as(content[clip])
            there, source = there.clone(), content[clip]
            groups = (
                [list(product(range(FRAMES), range(HEIGHT), range(WIDTH)))]
                if over == "joint"
                else [[(t, y, x) for y in range(HEIGHT) for x in range(WIDTH)] for t in range(FRAMES)]
                if over == "space"
                else [[(t,) for t in range(FRAMES)]]
            )
            for group in groups:
                best = sorted(group, key=lambda place: -saliency[clip][place].item())[: round(share * len(group))]
                for place in best:
                    at = (place[0], slice(None), *place[1:])
                    fill = mean.view(2, *[1] * (2 if over == "time" else 0))
                    there[at] = fill if take is deletion_curve else source[at]
            assert curve.probability[clip, point].item() == pytest.approx(soft()(there[None]).item(), abs=1e-5)


@pytest.mark.parametrize("take", [deletion_curve, insertion_curve])
def test_only_the_order_of_saliency_counts(take):
    content, saliency = torch.randn(2, FRAMES, 2, HEIGHT, WIDTH), torch.rand(2, FRAMES, HEIGHT, WIDTH)
    torch.testing.assert_close(take(soft(), content, saliency).area, take(soft(), content, saliency.exp() - 9).area)


def test_rearranging_clip_saliency_and_probability_alike_changes_nothing():
    content, saliency = torch.randn(2, FRAMES, 2, HEIGHT, WIDTH), torch.rand(2, FRAMES, HEIGHT, WIDTH)
    frames, rows, columns = (torch.randperm(size) for size in (FRAMES, HEIGHT, WIDTH))
    backwards = [order.argsort() for order in (frames, rows, columns)]

    def moved(clips: Tensor) -> Tensor:
        return soft()(clips[:, backwards[0]][..., backwards[1], :][..., backwards[2]])

    for over in ("joint", "space"):
        there = deletion_curve(
            moved,
            content[:, frames][..., rows, :][..., columns],
            saliency[:, frames][..., rows, :][..., columns],
            CurveOptions(over),
        )
        torch.testing.assert_close(there.area, deletion_curve(soft(), content, saliency, CurveOptions(over)).area)


def test_ties_are_broken_at_random_and_by_the_seed():
    """The top left corner is no more salient than any other cell, so on average half of the others go before it."""
    flat = torch.zeros(1, FRAMES, HEIGHT, WIDTH)

    def area(seed: int) -> float:
        options = CurveOptions(steps=FRAMES * CELLS, seed=seed)
        return deletion_curve(first_channel(0, 0, 0), ones(), flat, options, baseline=NOTHING).area.item()

    areas = [area(seed) for seed in range(100)]
    assert areas[0] == area(0)
    assert sum(areas) / 100 == pytest.approx(0.5, abs=0.1)
    assert len(set(areas)) > 15


def test_ties_keep_their_place_among_the_others():
    saliency = torch.zeros(1, FRAMES, HEIGHT, WIDTH)
    saliency[0, 2, 1, 0] = 1
    options = CurveOptions(steps=FRAMES * CELLS)
    curve = deletion_curve(first_channel(2, 1, 0), ones(), saliency, options, baseline=NOTHING)
    assert curve.probability[0].tolist() == [1] + [0] * FRAMES * CELLS


@pytest.mark.parametrize("over", ["joint", "space", "time"])
def test_a_constant_probability_has_itself_as_area(over):
    saliency = torch.rand(2, FRAMES, HEIGHT, WIDTH)
    saliency = saliency.mean((2, 3)) if over == "time" else saliency
    for take in (deletion_curve, insertion_curve):
        curve = take(lambda clips: torch.full((len(clips),), 0.3), ones(2), saliency, CurveOptions(over, 7))
        torch.testing.assert_close(curve.area, torch.tensor([0.3, 0.3]))


def test_one_step_is_the_line_between_the_ends():
    content, saliency = torch.randn(2, FRAMES, 2, HEIGHT, WIDTH), torch.rand(2, FRAMES, HEIGHT, WIDTH)
    curve = deletion_curve(soft(), content, saliency, CurveOptions(steps=1))
    assert curve.shares.tolist() == [0, 1]
    ends = torch.stack([soft()(content), soft()(mean_baseline(content).expand_as(content))])
    torch.testing.assert_close(curve.probability, ends.T)
    torch.testing.assert_close(curve.area, ends.mean(0))


def test_there_are_no_more_steps_than_frames():
    curve = deletion_curve(soft(), ones(), torch.rand(1, FRAMES), CurveOptions("time", steps=50))
    assert curve.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_clips_are_told_apart_however_they_are_batched():
    """Every clip has a cell of its own that matters; row r is a version of clip r % N."""
    clips, saliency = 3, torch.zeros(3, FRAMES, HEIGHT, WIDTH)
    saliency[range(3), range(3), 0, 0] = torch.tensor([1.0, -1.0, 1.0])  # first, last, first to go

    def probability(versions: Tensor) -> Tensor:
        rows = torch.arange(len(versions))
        return versions[rows, rows % clips, 0, 0, 0]

    curves = [
        deletion_curve(probability, ones(3), saliency, CurveOptions(steps=24, rows=rows), baseline=NOTHING)
        for rows in (1, 7, 1000)
    ]
    torch.testing.assert_close(curves[0].area, torch.tensor([0.5, 23.5, 0.5]) / 24)
    assert all(torch.equal(curve.probability, curves[0].probability) for curve in curves)


def test_known_ends_are_not_asked_for_again():
    content, saliency = torch.randn(2, FRAMES, 2, HEIGHT, WIDTH), torch.rand(2, FRAMES, HEIGHT, WIDTH)
    asked = []

    def counting(clips: Tensor) -> Tensor:
        asked.append(len(clips))
        return soft()(clips)

    ends = probabilities(soft(), torch.stack([content, mean_baseline(content).expand_as(content)]))
    for take in (deletion_curve, insertion_curve):
        asked.clear()
        known = take(counting, content, saliency, CurveOptions(steps=6), ends=ends)
        assert sum(asked) == 2 * 5
        torch.testing.assert_close(
            known.probability, take(soft(), content, saliency, CurveOptions(steps=6)).probability
        )


def test_a_coarse_saliency_stands_for_patches_of_pixels():
    saliency = torch.tensor([[0.0, 1.0, 2.0]]).view(1, 1, 1, 3).expand(1, 2, 2, 3)
    frames = torch.ones(1, 2, 3, 8, 12)
    seen = []

    def watch(clips: Tensor) -> Tensor:
        seen.append(clips[:, 1, 2])
        return clips.mean((1, 2, 3, 4))

    curve = deletion_curve(watch, frames, saliency, CurveOptions("space", steps=3), baseline=NOTHING)
    torch.testing.assert_close(curve.area, torch.tensor([0.5]))
    after_one = next(frame for frame in torch.cat(seen) if frame.mean() == pytest.approx(2 / 3))
    assert torch.equal(after_one, torch.tensor([1.0] * 8 + [0.0] * 4).expand(8, 12))


def test_area_is_that_of_a_trapezoid_on_uneven_shares():
    curve = Curve(torch.tensor([0.0, 0.25, 1.0]), torch.tensor([[1.0, 0.5, 0.0]]))
    assert curve.area.item() == pytest.approx(0.25 * 0.75 + 0.75 * 0.25)


def test_a_model_that_only_averages_cannot_tell_the_clip_from_its_mean():
    """A limit of the default baseline, said in its docstring; the mean of the set has no such blind spot."""
    saliency = torch.rand(4, FRAMES, HEIGHT, WIDTH)
    content = torch.rand(4, FRAMES, 2, HEIGHT, WIDTH) + torch.tensor([0.0, 1, 4, 5]).view(4, 1, 1, 1, 1)

    def pooled(clips: Tensor) -> Tensor:
        return torch.sigmoid(clips.mean((1, 3, 4))[:, 0])

    own = deletion_curve(pooled, content, saliency).probability
    torch.testing.assert_close(own[:, -1], own[:, 0])
    others = deletion_curve(pooled, content, saliency, baseline=mean_baseline(content, "set")).probability
    assert (others[:, -1] - others[:, 0]).abs().min() > 0.01


def test_keeping_the_salient_fades_the_rest_to_the_baseline():
    content, baseline = torch.full((2, 1, 1, 1, 4), 3.0), torch.full((1,), 1.0)
    saliency = torch.tensor([[2.0, 1.0, 0.0, -5.0], [0.0, -1.0, 0.0, 0.0]]).view(2, 1, 1, 4)
    assert keep_salient(content, saliency, baseline).flatten(1).tolist() == [[3, 2, 1, 1], [1, 1, 1, 1]]
    flat = torch.full((2, 1, 1, 4), 0.2)
    torch.testing.assert_close(keep_salient(content, flat, baseline), content)


def test_drop_and_increase_by_hand():
    intact, kept = torch.tensor([0.8, 0.5, 0.5, 0.0]), torch.tensor([0.2, 0.9, 0.5, 0.0])
    torch.testing.assert_close(confidence_drop(intact, kept), torch.tensor([0.75, 0.0, 0.0, 0.0]))
    assert confidence_increase(intact, kept).tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("volume", [0, 1, 7, 37, 100, 5 * 4 * 6])
def test_random_tubes_are_boxes_as_near_in_volume_as_boxes_come(volume):
    region = torch.zeros(1, 5, 4, 6, dtype=torch.bool)
    region.view(-1)[torch.randperm(120)[:volume]] = True
    possible = [t * y * x for t, y, x in product(range(1, 6), range(1, 5), range(1, 7))]
    nearest = min(abs(one - volume) for one in possible) if volume else 0
    for tube in random_tubes(region, draws=50)[:, 0]:
        assert abs(int(tube.sum()) - volume) == nearest
        box = torch.einsum("t,y,x->tyx", *(tube.amax(dims).int() for dims in ((1, 2), (0, 2), (0, 1)))).bool()
        assert torch.equal(tube, box)
        for axis, dims in enumerate(((1, 2), (0, 2), (0, 1))):
            runs = tube.amax(dims).int().diff(prepend=torch.zeros(1), append=torch.zeros(1)).abs().sum()
            assert runs == (2 if volume else 0), axis


def test_random_tubes_go_everywhere_differ_between_clips_and_follow_the_seed():
    region = torch.zeros(2, 3, 3, 3, dtype=torch.bool)
    region[:, 0, 0, :2] = True
    tubes = random_tubes(region, draws=400, seed=5)
    assert tubes.any(0).all()
    assert (tubes.float().mean(0)[:, 1, 1, 1] > 1 / 27).all()
    assert not torch.equal(tubes[:, 0], tubes[:, 1])
    assert torch.equal(tubes, random_tubes(region, draws=400, seed=5))
    assert not torch.equal(tubes, random_tubes(region, draws=400, seed=6))


def test_a_region_that_holds_the_class_weighs_more_than_random_tubes():
    region = torch.zeros(2, FRAMES, HEIGHT, WIDTH, dtype=torch.bool)
    region[0, 1:3, 1, 2] = True  # the second clip explains nothing
    content = torch.zeros(2, FRAMES, 1, HEIGHT, WIDTH)
    content[:, 1:3, :, 1, 2] = 0.5

    def probability(clips: Tensor) -> Tensor:
        return clips.sum((1, 2, 3, 4))

    result = delete_region(probability, content, region, baseline=NOTHING, draws=200)
    assert result.random.shape == (2, 200)
    torch.testing.assert_close(result.intact, torch.ones(2))
    torch.testing.assert_close(result.explained_loss, torch.tensor([1.0, 0.0]))
    # Two of 24 cells go each time, and with them on average about a twelfth of the two that count.
    assert result.random_loss[0] == pytest.approx(2 / 24, abs=0.05)
    assert result.random_loss[1] == 0
    others = delete_region(probability, content, region, baseline=NOTHING, draws=200, rows=1)
    assert all(torch.equal(one, other) for one, other in zip(result, others))


def test_the_ratio_is_of_means_and_never_over_nothing():
    explained, random = torch.tensor([0.8, 0.4]), torch.tensor([0.1, 0.3])
    assert loss_ratio(explained, random).item() == pytest.approx(3)
    assert loss_ratio(explained, torch.zeros(2)).item() == pytest.approx(60)
    assert loss_ratio(explained, torch.tensor([-0.5, 0.1])).item() == pytest.approx(60)
    assert loss_ratio(torch.zeros(2), torch.zeros(2)).item() == 0
    assert loss_ratio(-explained, random).item() == pytest.approx(-3)
    draws = torch.stack([explained, random]), torch.stack([random, explained])
    torch.testing.assert_close(loss_ratio(*draws), torch.tensor([3, 1 / 3]))


@pytest.mark.parametrize(
    "content, saliency, over, words",
    [
        (ones(), torch.rand(1, FRAMES, HEIGHT, 2), "joint", "h and w dividing 2 and 3"),
        (ones(), torch.rand(2, FRAMES, HEIGHT, WIDTH), "joint", r"must be \(1, 4, h, w\)"),
        (ones(), torch.rand(1, FRAMES), "joint", r"must be \(1, 4, h, w\)"),
        (ones(), torch.rand(1, FRAMES, HEIGHT, WIDTH), "time", r"must be \(1, 4\), got \(1, 4, 2, 3\)"),
        (ones(), torch.full((1, FRAMES), float("nan")), "time", "4 of 4 saliency values are not finite"),
        (ones(0), torch.rand(0, FRAMES, HEIGHT, WIDTH), "joint", "at least one clip"),
        (ones()[0], torch.rand(1, FRAMES, HEIGHT, WIDTH), "joint", r"must be \(N, T, C, H, W\)"),
    ],
)
def test_what_does_not_fit_is_an_error(content, saliency, over, words):
    with pytest.raises(ValueError, match=words):
        deletion_curve(soft(), content, saliency, CurveOptions(over))


def test_other_mistakes_are_told():
    saliency = torch.rand(1, FRAMES, HEIGHT, WIDTH)
    with pytest.raises(ValueError, match=r"one number a clip, \(2,\), got \(2, 5\)"):
        deletion_curve(lambda clips: torch.zeros(len(clips), 5), ones(), saliency)
    with pytest.raises(ValueError, match="region must be bool"):
        delete_region(soft(), ones(), saliency)
    with pytest.raises(ValueError, match="joint, space or time, got 'both'"):
        CurveOptions("both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1, got 0"):
        CurveOptions(steps=0)
