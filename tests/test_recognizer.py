from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import whenwhere
from whenwhere.datasets.mosaic import MosaicOptions
from whenwhere.datasets.synthetic import SyntheticOptions
from whenwhere.features.backbone import BackboneOptions
from whenwhere.features.extract import frame_features
from whenwhere.localization import LocalizationOptions
from whenwhere.models import METHODS, SpatioTemporalAttentionOptions
from whenwhere.models.evidence import grad_cam
from whenwhere.recognizer import Recognizer, load, merge_repeats
from whenwhere.structures import Explanation
from whenwhere.training.checkpoint import MODEL_FILE, CheckpointError, ModelRecord, load_model
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.training.loop import train
from whenwhere.video import Between, Uniform, VideoError, read_frames, write_video


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of no skill, but of all parts."""
    config = TrainConfig(
        data=DataOptions(source="synthetic", synthetic=SyntheticOptions(clips=12, frames=12)),
        backbone=BackboneOptions(name="test_resnet", weights="random", size=64),
        model=SpatioTemporalAttentionOptions(hidden=8, steps=2),
        fit=FitOptions(epochs=1, batch_size=6),
    )
    out = tmp_path_factory.mktemp("run")
    train(config, build_data(config, lambda text: None), out, quiet=True)
    return out


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "noise.mp4"
    generator = np.random.default_rng(0)
    write_video(path, (generator.integers(0, 255, (60, 80, 3), dtype=np.uint8) for _ in range(30)), 10.0)
    return path


def test_explains_a_video_file(run: Path, video: Path, tmp_path: Path) -> None:
    explanation = whenwhere.load(run).explain(video, top=3)
    assert (explanation.width, explanation.height) == (80, 60)
    assert explanation.duration == pytest.approx(3.0, abs=0.01)
    assert len(explanation.labels) == 3
    assert [score for _, score in explanation.labels] == sorted((s for _, s in explanation.labels), reverse=True)
    assert len(explanation.times) == 12
    assert explanation.mask_area == (0, 0, 80, 60)
    assert explanation.segments
    assert all(0 <= s.start < s.end <= explanation.duration + 1e-6 for s in explanation.segments)
    assert all(0 <= box.x0 < box.x1 <= 80 and 0 <= box.y0 < box.y1 <= 60 for box in explanation.boxes)
    explanation.save(tmp_path / "e.json")
    assert Explanation.load(tmp_path / "e.json").to_dict() == explanation.to_dict()


@pytest.fixture(scope="module")
def stitched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of three seconds each, joined."""
    path = tmp_path_factory.mktemp("video") / "stitched.mp4"
    generator = np.random.default_rng(0)
    clips = [generator.integers(0, 255, (1, 60, 80, 3), dtype=np.uint8) for _ in range(3)]
    write_video(path, (np.roll(clips[i // 30][0], i, axis=1) for i in range(90)), 10.0)
    return path


def test_a_window_as_long_as_the_video_changes_nothing(run: Path, stitched: Path) -> None:
    recognizer = load(run)
    assert recognizer.explain(stitched, window=100.0).to_dict() == recognizer.explain(stitched).to_dict()


def test_each_window_is_seen_as_a_video_of_its_own(run: Path, stitched: Path) -> None:
    recognizer = load(run)
    explanation = recognizer.explain(stitched, window=3.0, overlap=0.0)
    assert len(explanation.times) == 3 * 12
    masks, probabilities, importance = [], [], []
    for start in (0.0, 3.0, 6.0):
        frames = read_frames(stitched, Between(Uniform(12), start, start + 3))
        output = recognizer.recognize(frames)
        masks.append(output.mask[0, :, 0])
        probabilities.append(output.logits[0].softmax(-1))
        importance.append(probabilities[-1].max() * output.importance[0] / output.importance.max())
    np.testing.assert_allclose(explanation.masks, torch.cat(masks), atol=1e-5)
    trace = torch.cat(importance)
    np.testing.assert_allclose(explanation.importance, trace / trace.sum(), rtol=1e-3)
    named = dict(explanation.labels)
    for number, name in enumerate(recognizer.classes):
        if name in named:
            shares = [float(p[number]) for p in probabilities]
            assert min(shares) - 1e-6 <= named[name] <= max(shares) + 1e-6


def test_overlapping_windows_cover_the_video_and_look_at_a_frame_once(
    run: Path, stitched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = load(run)
    seen = []

    def counting(pixels: torch.Tensor, *others: object, **named: object) -> torch.Tensor:
        seen.append(len(pixels))
        return frame_features(pixels, *others, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("whenwhere.recognizer.frame_features", counting)
    explanation = recognizer.explain(stitched, window=3.6, overlap=0.5)  # frames 0.3 s apart, the same in both windows
    assert len(explanation.times) == sum(seen) == 30
    assert explanation.times[0] < 0.3
    assert explanation.times[-1] > 8.7
    assert sum(explanation.importance) == pytest.approx(1, abs=1e-4)
    assert {segment.label for segment in explanation.segments} <= set(recognizer.classes)
    assert all(0 <= s.start < s.end <= 9 + 1e-6 for s in explanation.segments)
    tubes = recognizer.explain(stitched, localization=LocalizationOptions(rule="parts"), window=3.6)
    assert tubes.segments
    assert tubes.boxes
    assert all(box.tube is not None for box in tubes.boxes)


def test_a_network_is_not_changed_by_those_who_look_with_it(run: Path, video: Path) -> None:
    """A wall of two by two clips is looked at with twice the size of one, by the second recogniser too."""
    network, record = load_model(run)
    assert network.backbone is not None
    own, identity = network.backbone.preprocessing, network.backbone.identity
    data = replace(record.config.data, source="mosaic", mosaic=MosaicOptions(rows=2, columns=2))
    walls = replace(record, config=replace(record.config, data=data))
    recognizers = [Recognizer(network, walls) for _ in range(2)]
    assert [each.preprocessing.size for each in recognizers] == [128, 128]
    assert (network.backbone.preprocessing, network.backbone.identity) == (own, identity)
    once, twice = (each.explain(video).to_dict() for each in recognizers)
    assert once == twice
    assert recognizers[0].recognize(read_frames(video, Uniform(3))).mask.shape[-2:] == (4, 4)
    network.backbone.preprocessing = replace(own, resize="crop", resize_short=70)
    assert Recognizer(network, walls).preprocessing.resize_short == 140


def test_a_video_that_is_slower_than_its_windows(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "slow.mp4"
    write_video(path, (np.full((32, 32, 3), 40 * i, dtype=np.uint8) for i in range(6)), 1.0)
    explanation = load(run).explain(path, window=0.7)
    assert explanation.times == pytest.approx(range(6))


def test_grad_cam_answers_when_and_where_for_the_same_label(run: Path, video: Path) -> None:
    recognizer = load(run)
    attention, cam = recognizer.explain(video), recognizer.explain(video, answer="grad_cam")
    assert cam.labels == attention.labels
    assert cam.times == attention.times
    assert cam.model == f"{attention.model}, Grad-CAM"
    frames = read_frames(video, Uniform(12)).pixels
    with torch.inference_mode():
        seen = recognizer.features(frames)
    features = seen.clone().unsqueeze(0).requires_grad_()
    logits = recognizer.network.head(features).logits[0]
    (gradient,) = torch.autograd.grad(logits.max(), features)
    expected = (gradient.mean((3, 4), keepdim=True) * features).sum(2)[0].relu().detach()
    assert expected.max() > 0
    np.testing.assert_allclose(cam.masks, expected / expected.max(), atol=1e-4)
    assert np.abs(cam.masks - attention.masks).max() > 0.1
    assert all(p.grad is None for p in recognizer.network.parameters())


def test_an_unknown_answer_is_an_error(run: Path, video: Path) -> None:
    with pytest.raises(ValueError, match="answer must be one of attention, grad_cam, got 'cam'"):
        load(run).explain(video, answer="cam")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", METHODS)
def test_every_head_has_a_gradient_to_answer_with(name: str) -> None:
    torch.manual_seed(0)
    output, maps = grad_cam(METHODS[name](8, 3).eval(), torch.rand(1, 8, 8, 4, 4), torch.tensor([1]))
    assert maps.shape == (1, 8, 4, 4)
    assert output.logits.shape == (1, 3)


def test_windows_that_cannot_be_are_an_error(run: Path, video: Path) -> None:
    with pytest.raises(ValueError, match="window must be a positive number of seconds, got 0"):
        load(run).explain(video, window=0.0)
    with pytest.raises(ValueError, match="overlap must be a share"):
        load(run).explain(video, window=1.0, overlap=1.0)


def test_same_answer_twice_and_after_loading_again(run: Path, video: Path) -> None:
    recognizer = load(run)
    first = recognizer.explain(video).to_dict()
    assert recognizer.explain(video).to_dict() == first
    assert load(run / MODEL_FILE).explain(video).to_dict() | {"model": ""} == first | {"model": ""}


def test_a_video_shorter_than_the_model_looks_at(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    write_video(path, (np.full((32, 32, 3), 60 * i, dtype=np.uint8) for i in range(3)), 10.0)
    explanation = load(run).explain(path)
    assert len(explanation.times) == 3
    assert sum(explanation.importance) == pytest.approx(1, abs=1e-5)


def test_merging_repeats_adds_shares_and_averages_masks() -> None:
    masks = torch.tensor([0.2, 0.4, 1.0]).view(3, 1, 1)
    times, importance, weights, merged = merge_repeats(
        np.array([0.0, 0.0, 1.0]), torch.tensor([0.1, 0.2, 0.7]), torch.tensor([0.3, 0.3, 0.4]), masks
    )
    assert times.tolist() == [0.0, 1.0]
    torch.testing.assert_close(importance, torch.tensor([0.3, 0.7]))
    torch.testing.assert_close(weights, torch.tensor([0.6, 0.4]))
    torch.testing.assert_close(merged.flatten(), torch.tensor([0.3, 1.0]))


def test_errors_say_what_is_wrong(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no model at"):
        load(tmp_path)
    (tmp_path / MODEL_FILE).write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="not a model of this package"):
        load(tmp_path)
    with pytest.raises(VideoError, match=r"nowhere\.mp4"):
        load(run).explain(tmp_path / "nowhere.mp4")


def test_changed_backbone_weights_are_noticed(run: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    with safe_open(str(run / MODEL_FILE), framework="pt") as file:
        record = ModelRecord.from_metadata(file.metadata())
    other = replace(record, backbone_identity="0" * 16)
    save_file(load_file(str(run / MODEL_FILE)), str(tmp_path / MODEL_FILE), other.metadata())
    with pytest.raises(CheckpointError, match="other backbone weights"):
        load(tmp_path)
