from __future__ import annotations

from pathlib import Path

import torch

from whenwhere.datasets.synthetic import SyntheticDataset, SyntheticOptions
from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.features.rendered import rendered_features


def test_kept_features_are_those_that_were_computed(tmp_path: Path) -> None:
    backbone = Backbone(BackboneOptions(weights="glyphs"))
    said: list[str] = []
    clips = SyntheticDataset(SyntheticOptions(clips=2, frames=12), "test")
    first = rendered_features(clips, backbone, None, tmp_path, said.append)
    again = rendered_features(clips, backbone, None, tmp_path, said.append)
    assert len(said) == 1, "computed once"
    assert first.keys() == again.keys() == {"features", "label", "active", "boxes"}
    assert all(torch.equal(first[name].nan_to_num(-1), again[name].nan_to_num(-1)) for name in first)
    other = rendered_features(
        SyntheticDataset(SyntheticOptions(clips=2, frames=12, seed=1), "test"), backbone, None, tmp_path
    )
    assert not torch.equal(first["features"], other["features"])
    assert len(list(tmp_path.iterdir())) == 2
