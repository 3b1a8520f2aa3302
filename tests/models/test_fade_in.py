from __future__ import annotations

import pytest
import torch

from whenwhere.models import SpatioTemporalAttention, SpatioTemporalAttentionOptions


def build(**options: object) -> SpatioTemporalAttention:
    torch.manual_seed(0)
    return SpatioTemporalAttention(6, 3, SpatioTemporalAttentionOptions(hidden=4, dropout=0.0, **options))  # type: ignore[arg-type]


def attended(model: SpatioTemporalAttention, features: torch.Tensor) -> torch.Tensor:
    return model._attend_space(features)[0].detach()


def test_training_starts_as_if_there_were_no_mask_and_ends_with_all_of_it() -> None:
    features = torch.rand(2, 5, 6, 4, 4, generator=torch.Generator().manual_seed(1))
    model, always = build(fade_in=0.5).train(), build().train()
    model.set_progress(0.0)
    torch.testing.assert_close(attended(model, features), features)
    model.set_progress(0.25)
    halfway = attended(model, features)
    model.set_progress(0.5)
    whole = attended(model, features)
    torch.testing.assert_close(whole, attended(always, features))
    torch.testing.assert_close(halfway, (features + whole) / 2)


def test_evaluation_always_uses_the_mask() -> None:
    features = torch.rand(1, 3, 6, 4, 4)
    model = build(fade_in=0.5)
    model.set_progress(0.0)
    torch.testing.assert_close(attended(model.eval(), features), attended(build().eval(), features))


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_without_fading_progress_changes_nothing(progress: float) -> None:
    features = torch.rand(1, 3, 6, 4, 4)
    model = build().train()
    model.set_progress(progress)
    torch.testing.assert_close(attended(model, features), attended(build().train(), features))
