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


class Counting:
    """A backbone's stand-in at the door: counts the frames that pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames = 0
        original = Backbone.forward

        def forward(model: Backbone, frames: torch.Tensor) -> torch.Tensor:
            self.frames += len(frames)
            return original(model, frames)

        monkeypatch.setattr(Backbone, "forward", forward)

    def since(self) -> int:
        seen, self.frames = self.frames, 0
        return seen


def test_store_is_read_and_never_stale(
    small_clips: list[Clip], backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(monkeypatch)
    first = extract(small_clips, backbone, None, 3, tmp_path)
    assert counting.since() == 12
    assert torch.equal(first.load(), extract(small_clips, backbone, None, 3).load())
    counting.since()
    again = extract(small_clips, backbone, None, 3, tmp_path)
    assert counting.since() == 0
    assert (again.kept, again.broken) == (first.kept, first.broken)
    assert torch.equal(again.load(), first.load())
    few = extract(small_clips[3:], backbone, None, 3, tmp_path)
    assert counting.since() == 0, "any subset of the clips, in any order"
    assert torch.equal(few.features[0], first.features[2])
    extract(small_clips, backbone, None, 4, tmp_path)
    assert counting.since() == 16, "other sampling"
    other = Backbone(replace(backbone.options, name="test_resnet", size=32)).eval()
    assert extract(small_clips, other, None, 3, tmp_path).features.shape != first.features.shape
    assert counting.since() == 12, "other preprocessing"


def test_moved_files_are_known_by_their_content_and_changed_ones_are_not(
    small_clips: list[Clip], backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(Path(small_clips[0].path).read_bytes())
    counting = Counting(monkeypatch)
    extract(small_clips[:1], backbone, None, 3, tmp_path / "store")
    extract([Clip(str(copy))], backbone, None, 3, tmp_path / "store")
    assert counting.since() == 3
    copy.write_bytes(Path(small_clips[1].path).read_bytes())
    extract([Clip(str(copy))], backbone, None, 3, tmp_path / "store")
    assert counting.since() == 3


def test_projection_is_fitted_and_applied(small_clips: list[Clip], backbone: Backbone) -> None:
    projection = fit_projection(small_clips, backbone, 4, 3)
    assert extract(small_clips, backbone, projection, 3).features.shape[2] == 4


def test_nothing_readable_is_an_error(small_clips: list[Clip], backbone: Backbone) -> None:
    with pytest.raises(VideoError, match="none of the 1 clips"):
        extract(small_clips[2:3], backbone, None, 3)
