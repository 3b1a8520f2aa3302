"""The shipped backbone: small, complete, and good at shapes it was never shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from whenwhere.datasets.glyphs import PRETRAINING
from whenwhere.datasets.scenes import SyntheticOptions, sample_scene
from whenwhere.datasets.synthetic import render_clip
from whenwhere.features.backbone import GLYPH_WEIGHTS, Backbone, BackboneOptions
from whenwhere.features.extract import frame_features
from whenwhere.features.glyph_pretraining import BACKGROUND, IGNORE, PretrainOptions, build, pretrain, render_batch


def test_shipped_file_is_small_half_precision_and_says_what_it_is() -> None:
    assert GLYPH_WEIGHTS.stat().st_size <= 2 * 2**20
    with safe_open(GLYPH_WEIGHTS, framework="pt") as file:
        metadata = file.metadata()
    wanted = "architecture arguments out_index mean std input_size seed steps accuracy"
    assert set(wanted.split()) <= set(metadata)
    assert metadata["input_size"] == "64"
    assert float(metadata["accuracy"]) > 0.8
    assert len(json.loads(metadata["mean"])) == len(json.loads(metadata["std"])) == 3
    state = load_file(GLYPH_WEIGHTS)
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert all(value.isfinite().all() for value in state.values())
    expected = {name for name in build().state_dict() if not name.endswith("num_batches_tracked")}
    assert set(state) == expected


def test_shipped_backbone_maps_64_pixels_to_8_by_8() -> None:
    backbone = Backbone(BackboneOptions(weights="glyphs"))
    assert backbone.preprocessing.size == 64
    features = frame_features(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), backbone)
    assert features.shape == (2, 96, 8, 8)
    assert backbone.channels == 96
    assert features.isfinite().all()


def test_labels_name_the_cells_with_ink() -> None:
    options = PretrainOptions(glyphs=1, rotation=0.0)
    pixels, labels = render_batch(options, 60, np.random.default_rng(0))
    assert pixels.shape == (60, 3, 64, 64)
    assert labels.shape == (60, 8, 8)
    values = pixels.float().amax(1).reshape(60, 8, 8, 8, 8)  # frame, row, y, column, x
    contrast = values.permute(0, 1, 3, 2, 4).flatten(3).amax(-1)
    named, empty = (labels != IGNORE) & (labels != BACKGROUND), labels == BACKGROUND
    for frame in range(60):
        assert 1 <= named[frame].sum() <= 4
        assert labels[frame][named[frame]].unique().numel() == 1
        assert contrast[frame][named[frame]].max() > contrast[frame][empty[frame]].median() + 20
    assert labels[named].max() < len(PRETRAINING)


def test_few_steps_write_a_whole_file_the_backbone_loads(tmp_path: Path) -> None:
    options = PretrainOptions(out=str(tmp_path / "new" / "a.safetensors"), steps=2, batch=4, validation=8)
    lines: list[str] = []
    out = pretrain(options, lines.append)
    assert [path.name for path in out.parent.iterdir()] == ["a.safetensors"]
    assert lines
    again = pretrain(PretrainOptions(out=str(tmp_path / "b.safetensors"), steps=2, batch=4, validation=8), lines.append)
    assert all(torch.equal(value, load_file(again)[name]) for name, value in load_file(out).items())
    assert Backbone(BackboneOptions(weights=str(out))).channels == 96
    with safe_open(out, framework="pt") as file:
        assert file.metadata()["steps"] == "2"


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="size=60"):
        PretrainOptions(size=60)


def _cells(split: str, clips: int, backbone: Backbone) -> tuple[np.ndarray, np.ndarray]:
    """Feature vectors at the true cell of every glyph in every frame, and its class (-1: distractor)."""
    options = SyntheticOptions(tier="A", clips=clips)
    vectors: list[np.ndarray] = []
    classes: list[int] = []
    for index in range(clips):
        scene = sample_scene(options, index, split)
        maps = frame_features(torch.from_numpy(render_clip(options, index, split).pixels), backbone)
        for rank, track in enumerate(scene.tracks):
            shown = np.flatnonzero(track.visible)
            centers = (track.boxes[shown, :2] + track.boxes[shown, 2:]) / 2
            column, row = (centers // 8).astype(int).T
            vectors.append(maps[shown, :, row, column].numpy())
            classes += [scene.label if rank == scene.target else -1] * len(shown)
    return np.concatenate(vectors), np.array(classes)


@pytest.mark.slow
def test_frozen_features_tell_shapes_the_backbone_never_saw() -> None:
    backbone = Backbone(BackboneOptions(weights="glyphs")).eval()
    with torch.no_grad():
        x, y = _cells("train", 300, backbone)
        x_test, y_test = _cells("test", 150, backbone)

    def probe(seen: np.ndarray, target: np.ndarray) -> LogisticRegression:
        return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(seen, target)

    on, on_test = y >= 0, y_test >= 0
    shape = probe(x[on], y[on]).score(x_test[on_test], y_test[on_test])
    target = roc_auc_score(on_test, probe(x, on).decision_function(x_test))
    shuffled = probe(x[on], np.random.default_rng(0).permutation(y[on])).score(x_test[on_test], y_test[on_test])
    print(f"6 shapes, frame by frame: {shape:.3f} (labels shuffled {shuffled:.3f}); target or not, AUC: {target:.3f}")
    assert shape >= 0.95
    assert target >= 0.9
    assert shuffled < 0.3
