"""The model: hoisted equals step by step, and every place where the printed method breaks has its test."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from whenwhere.layers import mask_of_maps, scale_mask_by_clip_mean, smooth_mask, temporal_difference, temporal_encoding
from whenwhere.losses import LossOptions, attention_loss
from whenwhere.models import AttentionOutput, SpatioTemporalAttention, SpatioTemporalAttentionOptions

CHANNELS, CLASSES = 12, 4
VARIANTS = ["default", "paper"]
ORDERS = ["none", "encoding", "difference", "motion", "convolution"]


def build(channels: int = CHANNELS, **options: Any) -> SpatioTemporalAttention:
    torch.manual_seed(0)
    options = {"hidden": 8, "dropout": 0.0, **options}
    return SpatioTemporalAttention(channels, CLASSES, SpatioTemporalAttentionOptions(**options))


def clips(frames: int = 6, batch: int = 3) -> Tensor:
    return torch.randn(batch, frames, CHANNELS, 4, 6, generator=torch.Generator().manual_seed(1))


def weights_of(model: SpatioTemporalAttention, masked: list[Tensor], state: Tensor) -> Tensor:
    """Eq. 2-3 for one clip: the weights of its frames under a state averaged over cells."""
    attention = model.temporal_attention
    if attention is None:
        return torch.full((len(masked),), 1 / len(masked))
    vectors = torch.stack([frame.mean((1, 2)) for frame in masked])
    if attention.energy == "joint":
        vectors = vectors / vectors.square().mean().sqrt()
    energies = [attention.query(state) + attention.key(vector) for vector in vectors]
    if attention.energy == "joint":
        energies = [attention.score(energy.tanh()) for energy in energies]
    return torch.cat(energies).softmax(0)


def by_the_equations(model: SpatioTemporalAttention, features: Tensor) -> AttentionOutput:
    """Eq. 1-6, clip by clip and frame by frame, written without the model's forward pass (in eval mode)."""
    options, outputs = model.options, []
    for clip in features:
        if options.order in ("difference", "motion"):
            change = temporal_difference(clip[None])[0]
            clip = torch.cat([clip, change.abs() if options.order == "motion" else change], dim=1)
        if model.temporal_convolution is not None:
            moved = clip.transpose(0, 1)[None]
            for layer in model.temporal_convolution:
                moved = layer(moved)
            clip = torch.cat([clip, moved[0].transpose(0, 1)], dim=1)
        mask = torch.ones_like(clip[:, :1])
        if model.spatial_attention is not None:
            mask = torch.sigmoid(model.spatial_attention.layers(clip))
        scaled = scale_mask_by_clip_mean(mask[None])[0] if options.mask_scale == "clip_mean" else mask
        masked = [frame * m for frame, m in zip(clip, scaled, strict=True)]
        frames = len(masked)
        if options.order == "encoding":
            code = temporal_encoding(frames, clip.shape[1])
            masked = [frame + c[:, None, None] for frame, c in zip(masked, code, strict=True)]
        masked = [torch.nn.functional.avg_pool2d(frame, options.pool) for frame in masked]
        empty = torch.zeros(options.hidden)
        first = weights_of(model, masked, empty) if options.start == "attended" else torch.full((frames,), 1 / frames)
        start = sum(w * frame for w, frame in zip(first, masked, strict=True))
        cell, hidden = model.start_cell(start[None])[0], model.start_hidden(start[None])[0]
        states, weights = [], []
        for _ in range(options.steps or frames):
            weight = weights_of(model, masked, hidden.mean((1, 2)))
            mixed = sum(w * frame for w, frame in zip(weight, masked, strict=True))
            if options.divide_by_frames:
                mixed = mixed / frames
            gates = model.conv_lstm.input_conv(mixed[None]) + model.conv_lstm.state_conv(hidden[None])
            i, f, g, o = gates[0].split(options.hidden)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
            states.append(hidden)
            weights.append(weight)
        logits = model.classifier(torch.stack(states).mean((0, 2, 3)))
        outputs.append((logits, mask, torch.stack(weights)))
    return AttentionOutput(*(torch.stack(parts) for parts in zip(*outputs, strict=True)))


def first_convolved(model: SpatioTemporalAttention, features: Tensor, hoist: bool) -> Tensor:
    """What the input convolution of the recurrence is given first."""
    given: list[Tensor] = []
    model.conv_lstm.input_conv.register_forward_pre_hook(lambda module, args: given.append(args[0].detach()))
    model(features, hoist=hoist)
    return given[0]


def relative_error(ours: Tensor, reference: Tensor) -> float:
    ours, reference = ours.detach(), reference.detach()
    return float((ours - reference).abs().max() / reference.abs().max().clamp_min(1e-12))


FORMS = [
    *({"variant": v, "energy": e, "order": o} for v in VARIANTS for e in ("joint", "additive") for o in ORDERS),
    *({"variant": v, "temporal": False} for v in VARIANTS),
    *({"variant": v, "spatial": False} for v in VARIANTS),
    {"start": "mean"},
    {"pool": 2},
    *({"energy": e, "steps": s} for e in ("joint", "additive") for s in (1, 9)),
]


def name(form: dict[str, Any]) -> str:
    return "-".join(f"{k}={v}" for k, v in form.items())


@pytest.mark.parametrize("hoist", [True, False])
@pytest.mark.parametrize("form", FORMS, ids=name)
def test_forward_is_the_equations(form: dict[str, Any], hoist: bool) -> None:
    model = build(**form).eval()
    with torch.no_grad():
        ours, reference = model(clips(), hoist=hoist), by_the_equations(model, clips())
    assert ours.logits.shape == (3, CLASSES)
    for mine, expected in zip(ours[:3], reference[:3], strict=True):
        assert mine.shape == expected.shape
        assert relative_error(mine, expected) <= 1e-5


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("form", FORMS, ids=name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_hoisted_gradients_are_those_of_step_by_step(dtype: torch.dtype, form: dict[str, Any], training: bool) -> None:
    def gradients(hoist: bool) -> dict[str, Tensor]:
        model, features = build(**form).to(dtype).train(training), clips().to(dtype).requires_grad_()
        output = model(features, hoist=hoist)
        (output.logits.square().sum() + output.weights.square().sum() + output.mask.mean()).backward()
        parameters = {"features": features, **dict(model.named_parameters())}
        return {name: value.grad for name, value in parameters.items() if value.grad is not None}

    ours, expected = gradients(True), gradients(False)
    assert ours.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for parameter, gradient in expected.items():
        error = float((ours[parameter] - gradient).abs().max())
        assert error <= 1e-5 * largest, parameter
        if dtype == torch.float64:  # precise enough to compare small gradients on their own scale
            assert error <= 1e-8 * float(gradient.abs().max()) + 1e-14 * largest, parameter


@pytest.mark.parametrize("order", ["none", "encoding"])
def test_pooling_coarsens_states_but_neither_the_mask_nor_the_first_weights(order: str) -> None:
    """Keys are means over cells, so weights under an empty state do not see the pooling."""
    fine, pooled = build(order=order, steps=1).eval(), build(order=order, steps=1, pool=2).eval()
    pooled.load_state_dict(fine.state_dict())
    features = clips()
    assert pooled(features).mask.shape == (3, 6, 1, 4, 6)
    assert torch.equal(pooled(features).mask, fine(features).mask)
    assert first_convolved(pooled, features, hoist=True).shape[-2:] == (2, 3)
    for model in (fine, pooled):
        model.start_hidden, model.start_cell = (torch.nn.Conv2d(CHANNELS, 8, 1, bias=False) for _ in range(2))
        for start in (model.start_hidden, model.start_cell):
            torch.nn.init.zeros_(start.weight)
    torch.testing.assert_close(pooled(features).weights, fine(features).weights)


def test_pool_that_does_not_divide_the_grid_is_an_error() -> None:
    with pytest.raises(ValueError, match="pool must divide the grid's 4 x 6 cells, got 4"):
        build(pool=4)(clips())
    with pytest.raises(ValueError, match="pool must be at least 1, got 0"):
        SpatioTemporalAttentionOptions(pool=0)


# 1. Additive scalar energies cancel.


def test_additive_weights_do_not_see_the_state() -> None:
    model = build(energy="additive")
    output = model(clips(), hoist=False)
    assert (output.weights - output.weights[:, :1]).abs().max() < 1e-6
    assert output.weights.std() > 1e-3
    (output.logits.square().sum() + output.weights.square().sum()).backward()
    attention = model.temporal_attention
    assert attention is not None
    assert attention.query.weight.grad.abs().max() < 1e-6 * attention.key.weight.grad.abs().max()


def test_joint_weights_do() -> None:
    model = build(energy="joint")
    output = model(clips(), hoist=False)
    assert (output.weights - output.weights[:, :1]).abs().max() > 1e-4
    output.logits.square().sum().backward()
    attention = model.temporal_attention
    assert attention is not None
    assert attention.query.weight.grad.abs().max() > 1e-6
    assert attention.query.weight.grad.abs().max() > 1e-3 * attention.key.weight.grad.abs().max()


# 2. Without a signal of order the model cannot see it.


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("training", [True, False])
def test_order_none_is_blind_to_the_order_of_frames(variant: str, training: bool) -> None:
    model, permutation = build(variant=variant).train(training), torch.tensor([3, 0, 5, 1, 4, 2])
    output, permuted = model(clips()), model(clips()[:, permutation])
    torch.testing.assert_close(permuted.logits, output.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(permuted.weights, output.weights[..., permutation], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(permuted.mask, output.mask[:, permutation], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "form", [*({"order": o} for o in ("encoding", "difference", "convolution")), {"readout": "attention"}], ids=name
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_order_can_be_seen(variant: str, form: dict[str, Any]) -> None:
    model = build(variant=variant, **form).eval()
    logits = model(clips()).logits
    for permuted in (clips().flip(1), clips()[:, [3, 0, 5, 1, 4, 2]]):
        # Far more than the 1e-5 by which rounding moves the blind model.
        assert relative_error(model(permuted).logits, logits) > 1e-4


def test_motion_sees_order_but_not_direction() -> None:
    model = build(order="motion").eval()
    logits = model(clips()).logits
    torch.testing.assert_close(model(clips().flip(1)).logits, logits, rtol=1e-4, atol=1e-5)
    assert relative_error(model(clips()[:, [3, 0, 5, 1, 4, 2]]).logits, logits) > 1e-3


# 5. The 1/T of Eq. 4 shrinks the input.


def test_dividing_by_frames_shrinks_the_input_of_the_recurrence() -> None:
    divided = first_convolved(build(divide_by_frames=True).eval(), clips(frames=6), hoist=False)
    plain = first_convolved(build(divide_by_frames=False).eval(), clips(frames=6), hoist=False)
    torch.testing.assert_close(divided * 6, plain)


# 7. Every parameter learns.


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"order": "encoding"},
        {"order": "difference"},
        {"order": "motion"},
        {"order": "convolution"},
        {"readout": "attention"},
        {"steps": 2},
    ],
    ids=name,
)
def test_every_parameter_of_the_default_model_gets_a_gradient(form: dict[str, Any]) -> None:
    model = build(**form)
    output = model(clips())
    options = LossOptions().resolved("default")
    attention_loss(output.logits, torch.tensor([0, 1, 2]), output.mask, output.weights, options)["total"].backward()
    for parameter, value in model.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.isfinite().all(), parameter
        assert value.grad.abs().max() > 1e-9, parameter


# The published form.


def test_published_shapes() -> None:
    with torch.device("meta"):
        model = SpatioTemporalAttention(2048, 51, SpatioTemporalAttentionOptions(variant="paper"))
    shapes = {parameter: tuple(value.shape) for parameter, value in model.named_parameters() if value.ndim > 1}
    assert shapes == {
        "spatial_attention.layers.0.weight": (1024, 2048, 3, 3),
        "spatial_attention.layers.3.weight": (512, 1024, 3, 3),
        "spatial_attention.layers.6.weight": (1, 512, 3, 3),
        "conv_lstm.input_conv.weight": (4 * 512, 2048, 3, 3),
        "conv_lstm.state_conv.weight": (4 * 512, 512, 3, 3),
        "classifier.weight": (51, 512),
        "start_cell.0.weight": (1024, 2048, 3, 3),
        "start_cell.3.weight": (512, 1024, 3, 3),
        "start_hidden.0.weight": (1024, 2048, 3, 3),
        "start_hidden.3.weight": (512, 1024, 3, 3),
        "temporal_attention.key.weight": (1, 2048),
        "temporal_attention.query.weight": (1, 512),
    }
    assert model.temporal_attention is not None
    assert model.temporal_attention.key.bias is None
    assert model.dropout.p == 0.2
    output = model(torch.empty(2, 50, 2048, 7, 7, device="meta"))
    assert [tuple(part.shape) for part in output[:3]] == [(2, 51), (2, 50, 1, 7, 7), (2, 50, 50)]


def test_options_follow_the_variant_unless_set() -> None:
    paper = SpatioTemporalAttentionOptions(variant="paper").resolved()
    assert (paper.energy, paper.mask_scale, paper.divide_by_frames) == ("additive", "none", True)
    ours = SpatioTemporalAttentionOptions().resolved()
    assert (ours.energy, ours.mask_scale, ours.divide_by_frames) == ("joint", "clip_mean", False)
    mixed = SpatioTemporalAttentionOptions(variant="paper", energy="joint", divide_by_frames=False).resolved()
    assert (mixed.energy, mixed.mask_scale, mixed.divide_by_frames) == ("joint", "none", False)
    assert mixed.resolved() == mixed


# What the model says.


@pytest.mark.parametrize(
    "form", [{}, {"variant": "paper"}, {"temporal": False}, {"spatial": False}, {"readout": "attention"}], ids=name
)
def test_weights_and_importance_are_distributions(form: dict[str, Any]) -> None:
    output = build(**form).eval()(clips())
    assert output.mask.shape == (3, 6, 1, 4, 6)
    assert output.mask.min() >= 0
    assert output.mask.max() <= 1
    torch.testing.assert_close(output.weights.sum(-1), torch.ones(output.weights.shape[:2]))
    torch.testing.assert_close(output.importance.sum(1), torch.ones(3))
    if not form.get("temporal", True):
        torch.testing.assert_close(output.weights, torch.full((3, 6, 6), 1 / 6))
    if not form.get("spatial", True):
        torch.testing.assert_close(output.importance, output.weights.mean(1))


def test_importance_is_weight_times_mask() -> None:
    mask = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1, 1).expand(1, 3, 1, 2, 2)
    weights = torch.tensor([[[0.0, 0.5, 0.5], [0.2, 0.4, 0.4]]])
    importance = AttentionOutput(torch.zeros(1, 2), mask, weights).importance
    torch.testing.assert_close(importance, torch.tensor([[0.1, 0.225, 0.0]]) / 0.325)


def test_attention_readout_weighs_the_states_of_the_frames_in_order() -> None:
    model = build(readout="attention").eval()
    output = model(clips())
    masked = clips() * scale_mask_by_clip_mean(output.mask)
    states = model.conv_lstm(masked).mean((3, 4))
    weights = torch.stack([model.state_score(states[:, t])[:, 0] for t in range(6)], 1).softmax(1)
    torch.testing.assert_close(output.weights[:, 0], weights)
    pooled = sum(weights[:, t, None] * states[:, t] for t in range(6))
    torch.testing.assert_close(output.logits, model.classifier(pooled))
    # The state of a frame knows the frames before it only.
    later = clips()
    later[:, 4:] = 0
    torch.testing.assert_close(model.conv_lstm(later)[:, :4], model.conv_lstm(clips())[:, :4])


def test_dropout_takes_whole_channels_of_a_clip() -> None:
    model = build(dropout=0.5, spatial=False).train()
    convolved = first_convolved(model, torch.ones(3, 6, CHANNELS, 4, 5), hoist=True)
    kept = convolved.unflatten(0, (3, 6)).permute(0, 2, 1, 3, 4).flatten(2)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(kept.amin(-1), kept.amax(-1))


def test_features_of_another_rank_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, T, C, H, W\), got \(3, 6, 12\)"):
        build()(torch.zeros(3, 6, 12))


class _Half(torch.nn.Module):
    """A mask that is 1 left of the middle and 0 from there."""

    def forward(self, features: Tensor) -> Tensor:
        mask = torch.zeros_like(features[:, :, :1])
        mask[..., :2] = 1
        return mask


@pytest.mark.parametrize("gated", [True, False])
def test_with_gated_order_nothing_beside_the_mask_reaches_the_classifier(gated: bool) -> None:
    model = build(order="convolution", gate_order=gated).eval()
    model.spatial_attention = _Half()  # type: ignore[assignment]
    features = clips()
    changed = features.clone()
    changed[..., 2:] += torch.randn(changed[..., 2:].shape, generator=torch.Generator().manual_seed(2))
    same = torch.equal(model(features).logits, model(changed).logits)
    assert same == gated
    # Not because it is deaf: what lies within the mask counts.
    assert not torch.equal(model(features).logits, model(features.flip(3)).logits)


def test_gated_order_reads_everything_until_the_mask_fades_in() -> None:
    model = build(order="convolution", gate_order=True, fade_in=0.5).train()
    model.spatial_attention = _Half()  # type: ignore[assignment]
    features, changed = clips(), clips()
    changed[..., 2:] += 1
    for progress, same in ((0.0, False), (0.25, False), (0.5, True)):
        model.set_progress(progress)
        assert torch.equal(model(features).logits, model(changed).logits) == same


def test_a_smooth_mask_is_the_mask_smoothed() -> None:
    plain, smooth = build(), build(smooth_mask=True)
    features = clips()
    torch.testing.assert_close(smooth.eval()(features).mask, smooth_mask(plain.eval()(features).mask))


@pytest.mark.parametrize("wrong", [{"order": "none"}, {"order": "convolution", "spatial": False}])
def test_gated_order_needs_an_order_layer_and_a_mask(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needs model.order: convolution and model.spatial: true"):
        SpatioTemporalAttentionOptions(gate_order=True, **wrong)


def test_the_mask_is_made_of_a_map_for_each_class() -> None:
    torch.manual_seed(0)
    options = SpatioTemporalAttentionOptions(hidden=4, class_maps=True)
    model = SpatioTemporalAttention(6, 3, options).eval()
    output = model(torch.randn(2, 5, 6, 4, 4))
    assert output.maps is not None
    assert output.maps.shape == (2, 5, 3, 4, 4)
    assert torch.equal(output.mask, mask_of_maps(output.maps))
    assert SpatioTemporalAttention(6, 3).eval()(torch.randn(2, 5, 6, 4, 4)).maps is None
    of_two = SpatioTemporalAttention(6, 3, options, absence=1).eval()(torch.randn(2, 5, 6, 4, 4))
    assert of_two.maps is not None
    assert (of_two.maps.shape, of_two.logits.shape) == ((2, 5, 2, 4, 4), (2, 3))
    with pytest.raises(ValueError, match=r"class_maps makes the mask; it needs model.spatial: true"):
        SpatioTemporalAttentionOptions(class_maps=True, spatial=False)
