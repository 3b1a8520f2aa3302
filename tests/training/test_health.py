from __future__ import annotations

import pytest
import torch

from whenwhere.training.health import attention_health, health_warning


def test_dead_attention_is_seen_and_said() -> None:
    health = attention_health(torch.full((2, 4, 1, 3, 3), 0.98), torch.full((2, 5, 4), 0.25))
    assert health == {
        "mask_area": pytest.approx(0.98),
        "mask_contrast": pytest.approx(0, abs=1e-5),
        "entropy": pytest.approx(1),
        "importance_entropy": pytest.approx(1),
        "state_sensitivity": pytest.approx(0),
    }
    warning = health_warning(health)
    assert warning is not None
    assert "mask is flat" in warning
    assert "every frame counts the same" in warning


def test_live_attention_is_not_warned_about() -> None:
    mask = torch.zeros(2, 4, 1, 3, 3)
    mask[:, 1, 0, 1, 1] = 1
    weights = torch.zeros(2, 5, 4)
    weights[:, :3, 1] = weights[:, 3:, 2] = 1
    health = attention_health(mask, weights)
    assert health["entropy"] == pytest.approx(0, abs=1e-5)
    assert health["importance_entropy"] == pytest.approx(0, abs=1e-5)  # the masks are empty but in frame 1
    # Steps look at frame 1 in 3 of 5, at frame 2 in 2 of 5: mean distance 3/5 * 2/5 + 2/5 * 3/5.
    assert health["state_sensitivity"] == pytest.approx(12 / 25)
    assert health_warning(health) is None


def test_masks_alone_can_tell_when() -> None:
    mask = torch.full((1, 4, 1, 3, 3), 0.01)
    mask[:, 2] = 0.9
    health = attention_health(mask, torch.full((1, 2, 4), 0.25))
    assert health["entropy"] == pytest.approx(1)
    assert health["importance_entropy"] < 0.2
    assert health_warning(health) is None
