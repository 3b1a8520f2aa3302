"""TSN: a consensus of segments that does not know their order."""

from __future__ import annotations

import pytest
import torch

from whenwhere.models import TSN, FrameAverage, TSNOptions


def tsn(consensus: str = "average", channels: int = 6, classes: int = 4) -> TSN:
    torch.manual_seed(0)
    model = TSN(channels, classes, TSNOptions(consensus=consensus))  # type: ignore[arg-type]
    torch.nn.init.normal_(model.classifier.weight)
    return model.eval()


@pytest.mark.parametrize("consensus", ["average", "max"])
def test_consensus_is_blind_to_the_order_of_segments(consensus: str) -> None:
    model, features = tsn(consensus), torch.randn(3, 7, 6, 2, 2)
    order = torch.randperm(7)
    there, shuffled = model(features), model(features[:, order])
    torch.testing.assert_close(shuffled.logits, there.logits)
    torch.testing.assert_close(shuffled.mask, there.mask[:, order])
    torch.testing.assert_close(shuffled.weights, there.weights[..., order])


def test_average_consensus_is_the_frame_average() -> None:
    """The classifier is linear, so the mean of its logits is its logit of the mean feature."""
    model, features = tsn(), torch.randn(3, 7, 6, 2, 2)
    average = FrameAverage(6, 4).eval()
    average.load_state_dict(model.state_dict())
    for ours, theirs in zip(model(features), average(features), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_max_consensus_is_of_the_segment_that_decides() -> None:
    model, features = tsn("max"), torch.randn(5, 7, 6, 2, 2)
    output = model(features)
    each = model.classifier(features.mean((3, 4)))
    for clip in range(5):
        assert torch.equal(output.logits[clip], each[clip].max(0).values)
        deciding = int(each[clip, :, output.logits[clip].argmax()].argmax())
        assert output.weights[clip, 0].tolist() == [float(t == deciding) for t in range(7)]


def test_consensus_comes_before_softmax() -> None:
    """Two sure segments against one: the mean of probabilities would be another answer than that of logits."""
    model = tsn(channels=2, classes=2)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.eye(2))
        model.classifier.bias.zero_()
    features = torch.tensor([[4.0, 0.0], [4.0, 0.0], [0.0, 20.0]]).view(1, 3, 2, 1, 1)
    assert features.flatten(2).softmax(-1).mean(1).argmax() == 0
    assert model(features).logits.argmax() == 1


def test_each_segment_loses_channels_of_its_own_in_training() -> None:
    torch.manual_seed(0)
    dropped = TSN(1000, 2).train().dropout(torch.ones(1, 3, 1000)) == 0
    assert (dropped.float().mean(-1) - 0.8).abs().max() < 0.05
    assert not torch.equal(dropped[0, 0], dropped[0, 1])


def test_parameters_are_as_many_as_those_of_the_published_classifier() -> None:
    """BN-Inception's 1024 channels and the 101 classes of UCF101: one linear layer."""
    assert sum(p.numel() for p in TSN(1024, 101).parameters()) == 1024 * 101 + 101 == 103_525


def test_starts_as_the_public_code_does() -> None:
    model = TSN(2048, 101)
    assert float(model.classifier.weight.detach().std()) == pytest.approx(0.001, rel=0.05)
    assert not model.classifier.bias.any()


def test_bad_options_and_shapes_are_errors() -> None:
    with pytest.raises(ValueError, match=r"tsn\.dropout must be in \[0, 1\), got 1"):
        TSNOptions(dropout=1.0)
    with pytest.raises(ValueError, match="average or max, got 'mean'"):
        TSNOptions(consensus="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must be \(B, T, C, H, W\), got \(2, 6\)"):
        tsn()(torch.zeros(2, 6))
