from __future__ import annotations

import pytest
import torch

from whenwhere.evaluation.faithfulness import (
    Explained,
    FaithfulnessOptions,
    explain_features,
    explained_region,
    lower_is_better,
    measure_faithfulness,
    measure_region,
    saliency_maps,
)
from whenwhere.layers import frame_contribution
from whenwhere.metrics.faithfulness import CurveOptions, deletion_curve, loss_ratio
from whenwhere.models import FrameAverage, Network, SpatioTemporalAttention, SpatioTemporalAttentionOptions
from whenwhere.models.evidence import class_evidence, grad_cam

FRAMES, HEIGHT, WIDTH = 6, 4, 4


def planted(clips: int = 6) -> tuple[Network, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Averages two channels; the class's is raised in two frames, in one cell, and nowhere else.

    Returns:
        network, features, classes and the truth `(N, T, H, W)` bool.
    """
    torch.manual_seed(0)
    head = FrameAverage(2, 2)
    with torch.no_grad():
        head.classifier.weight.copy_(torch.eye(2) * 60)
        head.classifier.bias.zero_()
    classes = torch.arange(clips) % 2
    features = 0.01 * torch.rand(clips, FRAMES, 2, HEIGHT, WIDTH)
    truth = torch.zeros(clips, FRAMES, HEIGHT, WIDTH, dtype=torch.bool)
    for clip in range(clips):
        truth[clip, clip % 5 : clip % 5 + 2, clip % HEIGHT, (clip + 1) % WIDTH] = True
        features[clip, :, clip % 2][truth[clip]] = 3.0
    return Network(head), features, classes, truth


def test_the_true_map_wins_every_measure_and_its_opposite_loses() -> None:
    network, features, classes, truth = planted()
    generator = torch.Generator().manual_seed(1)
    maps = {
        "truth": truth.float(),
        "opposite": (~truth).float(),
        "random": torch.rand(truth.shape, generator=generator),
    }
    results = measure_faithfulness(network, features, classes, maps, FaithfulnessOptions(baseline="zero", steps=16))
    assert {len(values) for measures in results.values() for values in measures.values()} == {6}
    for measure in results["truth"]:
        right, random, wrong = (results[name][measure].mean().item() for name in ("truth", "random", "opposite"))
        if measure == "average increase":  # the intact clip is as sure as can be
            continue
        assert (right < random < wrong) if lower_is_better(measure) else (right > random > wrong), measure
    assert results["truth"]["average drop"].mean() < 0.05
    assert results["opposite"]["average drop"].mean() > 0.4


def test_of_a_linear_network_evidence_and_grad_cam_find_what_was_planted() -> None:
    network, features, classes, _ = planted()
    maps = saliency_maps(explain_features(network.eval().head, features, classes))
    assert list(maps) == ["attention", "class evidence", "Grad-CAM", "random", "centre"]
    results = measure_faithfulness(network, features, classes, maps, FaithfulnessOptions(baseline="set", steps=16))
    areas = {name: measures["deletion, joint"].mean().item() for name, measures in results.items()}
    assert max(areas["class evidence"], areas["Grad-CAM"]) < min(areas["random"], areas["centre"]) - 0.1


def test_a_clips_value_does_not_hang_on_the_clips_beside_it() -> None:
    network, features, classes, truth = planted()
    maps = {"noise": torch.rand(truth.shape)}
    together = measure_faithfulness(network, features, classes, maps)["noise"]
    in_twos = measure_faithfulness(network, features, classes, maps, FaithfulnessOptions(clips=2))["noise"]
    for measure, values in together.items():
        torch.testing.assert_close(in_twos[measure], values)
    assert list(together) == [
        "deletion, joint",
        "insertion, joint",
        "deletion, space",
        "insertion, space",
        "deletion, time",
        "insertion, time",
        "average drop",
        "average increase",
    ]


def test_the_runner_is_the_metric_with_the_heads_probability() -> None:
    torch.manual_seed(0)
    head = SpatioTemporalAttention(4, 3, SpatioTemporalAttentionOptions(hidden=4, steps=2))
    features, maps = torch.randn(1, FRAMES, 4, HEIGHT, WIDTH), torch.rand(1, FRAMES, HEIGHT, WIDTH)
    options = FaithfulnessOptions(over=("time",), steps=6)
    ours = measure_faithfulness(Network(head), features.half(), torch.tensor([2]), {"map": maps}, options)
    assert not head.training
    curve = deletion_curve(
        lambda clips: head(clips).logits.softmax(1)[:, 2],
        features.half().float(),
        maps.mean((2, 3)),
        CurveOptions("time", 6),
    )
    torch.testing.assert_close(ours["map"]["deletion, time"], curve.area)


def test_removing_the_planted_region_hurts_many_times_more_than_random_tubes() -> None:
    network, features, classes, truth = planted()
    result = measure_region(network, features, classes, truth, FaithfulnessOptions(clips=4, baseline="zero"))
    assert result.random.shape == (6, 8)
    assert (result.explained_loss > 0.4).all()
    assert loss_ratio(result.explained_loss, result.random_loss) > 4
    nothing = measure_region(network, features, classes, torch.zeros_like(truth))
    torch.testing.assert_close(nothing.explained_loss, torch.zeros(6), atol=1e-6, rtol=0)
    torch.testing.assert_close(nothing.random_loss, torch.zeros(6), atol=1e-6, rtol=0)


def test_what_a_head_explains_by_is_what_its_parts_give() -> None:
    torch.manual_seed(0)
    head = SpatioTemporalAttention(4, 3, SpatioTemporalAttentionOptions(hidden=4, steps=2)).eval()
    features, classes = torch.randn(5, FRAMES, 4, HEIGHT, WIDTH), torch.tensor([0, 1, 2, 0, 1])
    explained = explain_features(head, features, classes, clips=2)
    output, evidence = class_evidence(head, features, classes)
    torch.testing.assert_close(explained.evidence, evidence)
    torch.testing.assert_close(explained.grad_cam, grad_cam(head, features, classes)[1])
    torch.testing.assert_close(explained.importance, output.importance)
    torch.testing.assert_close(explained.probability, output.logits.softmax(1)[range(5), classes])
    attention = saliency_maps(explained)["attention"].sum((2, 3))
    torch.testing.assert_close(
        attention / attention.sum(1, keepdim=True), frame_contribution(output.mask, output.weights)
    )


def test_the_controls_know_nothing_of_the_clip() -> None:
    explained = Explained(
        torch.rand(2, 5, 3, 3), torch.rand(2, 5), torch.rand(2, 5), torch.rand(2, 5, 3, 3), torch.rand(2, 5, 3, 3), None
    )  # type: ignore[arg-type]
    maps = saliency_maps(explained, seed=3)
    assert torch.equal(maps["centre"][0], maps["centre"][1])
    assert maps["centre"][0].argmax() == 2 * 9 + 4
    assert maps["centre"].min() == 0
    assert torch.equal(maps["random"], saliency_maps(explained, seed=3)["random"])
    assert not torch.equal(maps["random"], saliency_maps(explained, seed=4)["random"])


def test_the_explained_region_is_the_mask_in_the_important_frames() -> None:
    importance = torch.tensor([[0.1, 0.8, 0.1]])
    mask = torch.tensor([0.9, 0.5, 0.2, 0.1]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    region = explained_region(Explained(mask, importance, importance, mask, mask, importance[:, 0]))
    assert region.flatten(2).tolist() == [[[False] * 4, [True, True, False, False], [False] * 4]]


def test_maps_that_do_not_fit_are_told_by_name() -> None:
    network, features, classes, truth = planted()
    with pytest.raises(ValueError, match=r"map 'mask' must be \(6, 6, 4, 4\)"):
        measure_faithfulness(network, features, classes, {"mask": truth[:, :, :2]})
    with pytest.raises(ValueError, match="6 clips need as many classes"):
        measure_faithfulness(network, features, classes[:2], {"mask": truth})
    with pytest.raises(ValueError, match="clip, set or zero, got 'grey'"):
        FaithfulnessOptions(baseline="grey")  # type: ignore[arg-type]
