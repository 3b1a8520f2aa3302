"""Sharma et al.: the equations, step by step, and what follows from them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from whenwhere.losses import LossOptions, soft_attention_loss
from whenwhere.models import AttentionOutput, SoftAttentionLSTM, SoftAttentionLSTMOptions
from whenwhere.models.evidence import class_evidence

FORMS: list[dict[str, Any]] = [{"attention": "joint"}, {"attention": "location", "grid": (2, 3)}]
each_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form["attention"])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def build(channels: int = 5, classes: int = 4, **options: Any) -> SoftAttentionLSTM:
    return SoftAttentionLSTM(channels, classes, SoftAttentionLSTMOptions(**{"hidden": 6, **options})).eval()


def clips(count: int = 2, frames: int = 7) -> Tensor:
    return torch.randn(count, frames, 5, 2, 3)


def by_the_equations(model: SoftAttentionLSTM, clip: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities `(T, K)` and shares `(T, H W)` of one clip `(T, C, H, W)`, gate by gate; one layer."""
    cells = clip.flatten(2).transpose(1, 2)
    mean = cells.mean((0, 1))
    hidden, cell = torch.tanh(model.start_hidden(mean)), torch.tanh(model.start_cell(mean))
    lstm = model.lstm
    steps, shares = [], []
    for frame in cells:
        if model.options.attention == "location":
            energies = torch.stack([weight @ hidden for weight in model.location.weight])
        else:
            energies = torch.stack(
                [model.energy.weight[0] @ torch.tanh(model.key(x) + model.query.weight @ hidden) for x in frame]
            )
        share = energies.exp() / energies.exp().sum()
        seen = sum(part * x for part, x in zip(share, frame, strict=True))
        gates = lstm.weight_ih_l0 @ seen + lstm.bias_ih_l0 + lstm.weight_hh_l0 @ hidden + lstm.bias_hh_l0
        i, f, g, o = gates.split(model.options.hidden)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        steps.append(model.classifier(torch.tanh(model.output(hidden))).softmax(0).log())
        shares.append(share)
    return torch.stack(steps), torch.stack(shares)


@each_form
@torch.no_grad()
def test_forward_is_the_equations(form: dict[str, Any]) -> None:
    model, features = build(layers=1, **form).double(), clips().double()
    output = model(features)
    for clip, steps, mask in zip(features, output.steps, output.mask, strict=True):
        expected, shares = by_the_equations(model, clip)
        torch.testing.assert_close(steps, expected)
        torch.testing.assert_close(mask.flatten(1), shares)


@torch.no_grad()
def test_without_attention_it_is_torchs_lstm_on_mean_features() -> None:
    """All layers, each from the same two start states."""
    model, features = build(layers=3), clips()
    model.energy.weight.zero_()
    reference = nn.LSTM(5, 6, 3, batch_first=True)
    reference.load_state_dict(model.lstm.state_dict())
    mean = features.mean((1, 3, 4))
    start = tuple(layer(mean).tanh().expand(3, 2, 6).contiguous() for layer in (model.start_hidden, model.start_cell))
    states, _ = reference(features.mean((3, 4)), start)
    expected = model.classifier(model.output(states).tanh()).log_softmax(-1)
    torch.testing.assert_close(model(features).steps, expected)


@each_form
def test_weights_of_cells_sum_to_1_and_time_is_uniform(form: dict[str, Any]) -> None:
    output = build(**form)(10 * clips())
    assert output.mask.shape == (2, 7, 1, 2, 3)
    assert output.mask.min() >= 0
    torch.testing.assert_close(output.mask.sum((2, 3, 4)), torch.ones(2, 7))
    torch.testing.assert_close(output.weights, torch.full((2, 1, 7), 1 / 7))
    assert torch.equal(output.importance.argmax(1), output.mask.pow(4).sum((2, 3, 4)).argmax(1)), (
        "where it looks at least"
    )


@pytest.mark.parametrize("last, counted", [(None, 7), (1, 1), (3, 3), (30, 7)])
def test_the_clips_probabilities_are_the_mean_of_the_last_steps(last: int | None, counted: int) -> None:
    output = build(last=last)(clips())
    torch.testing.assert_close(output.logits.exp(), output.steps.exp()[:, -counted:].mean(1))
    torch.testing.assert_close(output.logits.softmax(1), output.logits.exp())


@torch.no_grad()
def test_joint_attention_follows_what_is_in_the_cells_and_location_does_not() -> None:
    features, order = clips(), torch.tensor([4, 2, 0, 5, 1, 3])
    moved = features.flatten(3)[..., order].unflatten(3, (2, 3))
    joint, location = build(**FORMS[0]), build(**FORMS[1])
    torch.testing.assert_close(joint(moved).logits, joint(features).logits)
    torch.testing.assert_close(joint(moved).mask.flatten(3), joint(features).mask.flatten(3)[..., order])
    # The first look depends on the mean feature alone, so it stays where it was.
    torch.testing.assert_close(location(moved).mask[:, 0], location(features).mask[:, 0])
    assert (location(moved).logits - location(features).logits).abs().max() > 1e-4


@each_form
@torch.no_grad()
def test_order_of_frames_matters(form: dict[str, Any]) -> None:
    model, features = build(**form), clips()
    assert (model(features.flip(1)).logits - model(features).logits).abs().max() > 1e-4


@each_form
def test_every_parameter_gets_a_gradient(form: dict[str, Any]) -> None:
    model, target = build(**form).train(), torch.tensor([0, 3])
    output = model(clips())
    soft_attention_loss(output.logits, output.steps, target, output.mask, LossOptions())["total"].backward()
    assert not [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]


@each_form
def test_overfits_eight_clips(form: dict[str, Any]) -> None:
    features, target = clips(8, 6), torch.arange(8) % 4
    model = build(hidden=16, layers=2, dropout=0.0, **form).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        output = model(features)
        terms = soft_attention_loss(
            output.logits, output.steps, target, output.mask, LossOptions(doubly_stochastic=0.1)
        )
        optimizer.zero_grad()
        terms["total"].backward()
        optimizer.step()
    assert (model.eval()(features).logits.argmax(1) == target).all()


def test_evidence_of_a_class_is_gradient_times_feature() -> None:
    """The mask is made step by step, so no gradient reaches the one that is shown."""
    model, features, classes = build(), clips(), torch.tensor([1, 2])
    output, evidence = class_evidence(model, features, classes)
    assert isinstance(output, AttentionOutput)
    assert not output.mask.requires_grad
    given = features.clone().requires_grad_()
    probability = model(given).logits.softmax(1)[range(2), classes]
    (probability.log() - (1 - probability).log()).sum().backward()
    torch.testing.assert_close(evidence, (given.grad * features).sum(2), rtol=1e-3, atol=1e-6)


def parameters(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize(
    "form, count", [({}, 10_265_651), ({"attention": "location", "grid": (7, 7)}, 8_715_827)], ids=["joint", "location"]
)
def test_parameters_at_the_published_size(form: dict[str, Any], count: int) -> None:
    c, d, k, layers = 1024, 512, 51, 3
    lstm = 4 * d * (c + d + 2) + (layers - 1) * 4 * d * (2 * d + 2)
    attention = (c * c + c) + d * c + c if not form else 49 * d
    formula = attention + 2 * (c + 1) * d + lstm + (d + 1) * d + (d + 1) * k
    with torch.device("meta"):
        assert parameters(SoftAttentionLSTM(c, k, SoftAttentionLSTMOptions(**form))) == formula == count


def test_parameters_of_the_released_code() -> None:
    """Shapes of its init_params with the options of evaluate_ucf11.py: one layer, 512 units, 11 classes."""
    c, d, k = 1024, 512, 11
    start = 2 * (c * d + d)
    decoder = c * 4 * d + d * 4 * d + 4 * d + c * c + d * c + c + c + 1
    released = start + decoder + (d * d + d) + (d * k + k)
    second_bias, bias_before_softmax = 4 * d, 1
    with torch.device("meta"):
        ours = parameters(SoftAttentionLSTM(c, k, SoftAttentionLSTMOptions(layers=1)))
    assert released == 6_040_588
    assert ours == released + second_bias - bias_before_softmax == 6_042_635


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"attention": "soft"}, "attention must be joint or location, got 'soft'"),
        ({"attention": "location"}, "set grid to the"),
        ({"last": 0}, "last must be at least 1 step, got 0"),
    ],
)
def test_options_that_make_no_sense_are_errors(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SoftAttentionLSTMOptions(**wrong)


def test_features_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ValueError, match=r"\(B, T, C, H, W\), got \(2, 5\)"):
        build()(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"grid of \(2, 3\), the features have \(4, 4\)"):
        build(**FORMS[1])(torch.zeros(1, 2, 5, 4, 4))
