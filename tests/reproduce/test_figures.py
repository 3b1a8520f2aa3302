"""Figures are chosen by what is said, and can be looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_runs import quiet

from whenwhere.datasets.synthetic import SyntheticOptions
from whenwhere.features.backbone import BackboneOptions
from whenwhere.models import SpatioTemporalAttentionOptions
from whenwhere.reproduce.examples import Example, _example, one_a_class, ranked
from whenwhere.reproduce.figures import make_figures
from whenwhere.structures import Box, Clip, Explanation, Segment
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.training.loop import train


def example(name: str, label: str = "a", named: str = "a", shift: int = 0) -> Example:
    """Two frames of ten by ten pixels; attention on the left upper quarter, in the first of two seconds."""
    masks = np.zeros((2, 2, 2))
    masks[:, 0, 0] = 1.0
    said = Explanation(
        name, 10, 10, 2.0, ((named, 0.9),), (0.5, 1.5), (0.9, 0.1), (0.9, 0.1), masks, (0.0, 0.0, 10.0, 10.0),
        (Segment(0.0, 1.0, named),),
    )  # fmt: skip
    boxes = (Box(0.5, 0.0 + shift, 0.0, 5.0 + shift, 5.0, label),)
    return _example(Clip(name, label, segments=(Segment(0.0, 1.0 + shift / 5, label),), boxes=boxes), said)


def test_attention_on_the_truth_has_full_overlap() -> None:
    right, beside = example("x"), example("y", shift=5)
    assert right.overlaps.tolist() == pytest.approx([1.0], abs=0.15)
    assert right.time_iou == 1.0
    assert beside.box_iou < 0.1
    assert beside.time_iou == 0.5


def test_best_and_worst_are_of_rightly_named_clips() -> None:
    found = [example("y", shift=5), example("x"), example("wrong", named="b")]
    assert [one.clip.path for one in ranked(found, lambda one: one.box_iou, True)] == ["x", "y"]
    assert [one.clip.path for one in ranked(found, lambda one: one.box_iou, False)] == ["y", "x"]


def test_one_a_class_takes_each_class_once() -> None:
    found = [example("a1"), example("a2"), example("b1", "b", "b")]
    assert [one.clip.path for one in one_a_class(found, 5)] == ["a1", "b1"]
    assert [one.clip.path for one in one_a_class(found, 5, skip=1)] == ["a2"]


@pytest.mark.slow
def test_a_run_on_rendered_clips_gives_all_it_can(tmp_path: Path) -> None:
    config = TrainConfig(
        data=DataOptions(source="synthetic", synthetic=SyntheticOptions(clips=24, frames=12)),
        backbone=BackboneOptions(weights="glyphs"),
        model=SpatioTemporalAttentionOptions(hidden=8, steps=3),
        fit=FitOptions(epochs=1, batch_size=12),
    )
    train(config, build_data(config, quiet), tmp_path / "run", quiet=True)
    paths = make_figures(tmp_path / "run", None, tmp_path / "figures", frames=4, clips=12, log=quiet)
    text = (tmp_path / "figures" / "figures.md").read_text()
    assert text.count("* figure") == 7
    for path in paths[:-1]:
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 5, f"{path.name} is blank"
    assert all((path.stem in text) for path in paths[:-1])
