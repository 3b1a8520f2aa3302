from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.predictions import PredictionsError
from whenwhere.evaluation.recorded import load_predictions, save_predictions


def test_predictions_come_back_as_they_were(tmp_path: Path) -> None:
    weights = torch.rand(3, 4)
    said = Predictions(
        torch.rand(3, 2), torch.tensor([0, 1, 1]), torch.rand(3, 4, 2, 2), None, weights, weights,
        torch.rand(3, 4) > 0.5, None, broken=("a.mp4: torn",), clips=("b", "c", "ä"),
    )  # fmt: skip
    again, classes = load_predictions(save_predictions(tmp_path / "p.safetensors", said, ("x", "y")))
    assert classes == ("x", "y")
    assert torch.equal(again.logits, said.logits)
    assert torch.equal(again.weights, again.importance), "one tensor under two names is written twice"
    assert again.active is not None
    assert again.active.dtype == torch.bool
    assert again.boxes is None
    assert again.evidence is None
    assert torch.allclose(again.masks, said.masks, atol=1e-3)
    assert again.broken == ("a.mp4: torn",)
    assert again.clips == ("b", "c", "ä")
    assert list(tmp_path.iterdir()) == [tmp_path / "p.safetensors"]


def test_a_file_of_an_earlier_version_names_no_clips(tmp_path: Path) -> None:
    tensors = {"logits": torch.rand(2, 2), "labels": torch.tensor([0, 1]), "masks": torch.rand(2, 3, 2, 2)}
    tensors |= {"weights": torch.rand(2, 3), "importance": torch.rand(2, 3)}
    save_file(tensors, str(tmp_path / "p.safetensors"), {"classes": '["x", "y"]', "broken": "[]"})
    again, _ = load_predictions(tmp_path / "p.safetensors")
    assert again.clips == ()
    assert torch.equal(again.logits, tensors["logits"])


def test_what_is_no_file_of_predictions_says_so(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="evaluate --predictions"):
        load_predictions(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not one")
    with pytest.raises(PredictionsError, match="is not a file of predictions"):
        load_predictions(tmp_path / "bad.safetensors")
