from __future__ import annotations

import pytest
import torch

from whenwhere.metrics.baselines import blurred_baseline, mean_baseline


def test_the_mean_baseline_tells_neither_when_nor_where():
    content = torch.randn(3, 4, 2, 5, 6)
    torch.testing.assert_close(mean_baseline(content)[1, 0, :, 0, 0], content[1].transpose(0, 1).flatten(1).mean(1))
    torch.testing.assert_close(mean_baseline(content, "set")[0, 0, :, 0, 0], content.transpose(0, 2).flatten(1).mean(1))
    moved = content[:, torch.randperm(4)].flip(-1)
    torch.testing.assert_close(mean_baseline(moved), mean_baseline(content))


def test_blurring_keeps_colours_and_takes_detail():
    frames = torch.rand(1, 2, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    blurred = blurred_baseline(frames, sigma=3)
    assert blurred.shape == frames.shape
    torch.testing.assert_close(blurred.mean((3, 4)), frames.mean((3, 4)), atol=0.02, rtol=0)
    assert blurred.var() < 0.1 * frames.var()
    torch.testing.assert_close(blurred_baseline(torch.full_like(frames, 0.4)), torch.full_like(frames, 0.4))
    with pytest.raises(ValueError, match="reaches over 60 pixels"):
        blurred_baseline(frames, sigma=20)
