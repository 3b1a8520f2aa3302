from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.features.extract import extract, fit_projection, frame_features
from whenwhere.structures import Clip
from whenwhere.video import VideoError, make_sampler, read_frames


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    return Backbone(BackboneOptions(name="test_resnet", weights="random", size=64)).eval()


def test_equals_the_backbone_run_by_hand_and_skips_broken_clips(small_clips: list[Clip], backbone: Backbone) -> None:
    result = extract(small_clips, backbone, None, frames=3)
    assert result.kept == (0, 1, 3, 4)
    assert [(Path(path).name, "broken.mp4" in cause) for path, cause in result.broken] == [("broken.mp4", True)]
    pixels = read_frames(small_clips[3].path, make_sampler("uniform", frames=3)).pixels
    with torch.inference_mode():
        expected = backbone(backbone.preprocessing(pixels))
    torch.testing.assert_close(result.features[2].float(), expected, atol=2e-3, rtol=2e-3)


def test_batch_size_changes_nothing(small_clips: list[Clip], backbone: Backbone) -> None:
    pixels = read_frames(small_clips[0].path, make_sampler("uniform", frames=5)).pixels
    torch.testing.assert_close(
        frame_features(pixels, backbone, batch=2), frame_features(pixels, backbone, batch=32), atol=1e-5, rtol=1e-4
    )


def test_cache_is_read_and_never_stale(small_clips: list[Clip], backbone: Backbone, tmp_path: Path) -> None:
    calls: list[int] = []

    def cached(model: Backbone, frames: int = 3, clips: list[Clip] = small_clips) -> torch.Tensor:
        return extract(clips, model, None, frames, tmp_path, lambda done, total: calls.append(done)).features

    first = cached(backbone)
    seen = len(calls)
    assert torch.equal(cached(backbone), first)
    assert len(calls) == seen, "the second call should have come from the cache"
    cached(backbone, frames=4)
    assert len(calls) > seen, "other sampling"
    seen = len(calls)
    other = Backbone(replace(backbone.options, name="test_resnet", size=32)).eval()
    assert cached(other).shape != first.shape
    assert len(calls) > seen, "other preprocessing"
    assert not list(tmp_path.glob("*.partial"))


def test_projection_is_fitted_and_applied(small_clips: list[Clip], backbone: Backbone) -> None:
    projection = fit_projection(small_clips, backbone, 4)
    assert extract(small_clips, backbone, projection, 3).features.shape[2] == 4


def test_nothing_readable_is_an_error(small_clips: list[Clip], backbone: Backbone) -> None:
    with pytest.raises(VideoError, match="none of the 1 clips"):
        extract(small_clips[2:3], backbone, None, 3)
