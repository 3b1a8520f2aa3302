from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.features.extract import extract, fit_projection, frame_features
from whenwhere.structures import Clip
from whenwhere.video import VideoError, make_sampler, read_frames


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    return Backbone(BackboneOptions(name="test_resnet", weights="random", size=64)).eval()


def frames_of(clip: Clip, numbers: list[int]) -> torch.Tensor:
    """Frames of one of the small clips; they are those, as their brightness says."""
    pixels = read_frames(clip.path, lambda *_: np.array(numbers)).pixels
    shades = pixels.float().mean(dim=(1, 2, 3)) - 10 - 3 * int(Path(clip.path).stem)
    assert (shades / 20).round().tolist() == numbers
    return pixels


@pytest.mark.parametrize(
    "sampling, numbers",
    [({"frames": 3}, [2, 6, 10]), ({"frames": 4}, [1, 4, 7, 10]), ({"frames": 3, "fps": 6.0}, [3, 5, 7])],
)
def test_equals_the_backbone_run_by_hand_on_those_frames_and_skips_broken_clips(
    small_clips: list[Clip], backbone: Backbone, sampling: dict, numbers: list[int]
) -> None:
    result = extract(small_clips, backbone, None, **sampling)
    assert result.kept == (0, 1, 3, 4)
    assert [(Path(path).name, "broken.mp4" in cause) for path, cause in result.broken] == [("broken.mp4", True)]
    for index, kept in enumerate(result.kept):
        pixels = frames_of(small_clips[kept], numbers)
        with torch.inference_mode():
            expected = backbone(backbone.preprocessing(pixels))
        torch.testing.assert_close(result.features[index].float(), expected, atol=2e-3, rtol=2e-3)
        np.testing.assert_allclose(result.times[index], np.array(numbers) / 12, atol=1e-3)


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


def test_projection_whitens_four_of_the_frames_that_are_stored(
    small_clips: list[Clip], backbone: Backbone, tmp_path: Path
) -> None:
    projection = fit_projection(small_clips, backbone, 2, 6)
    readable = [clip for clip in small_clips if "broken" not in clip.path]
    with torch.inference_mode():  # of six frames 1 3 5 7 9 11 the four are the first, second, fourth and last
        maps = [backbone(backbone.preprocessing(frames_of(clip, [1, 3, 7, 11]))) for clip in readable]
    cells = torch.cat(maps).movedim(1, -1).flatten(0, 2).double().numpy()
    centred = cells - cells.mean(0)
    _, scale, axes = np.linalg.svd(centred, full_matrices=False)
    expected = np.abs(centred @ axes[:2].T) / scale[:2] * np.sqrt(len(cells) - 1)
    projected = extract(small_clips, backbone, projection, 6).features[:, [0, 1, 3, 5]].float()
    assert projected.shape[2] == 2
    found = projected.movedim(2, -1).flatten(0, -2).numpy()
    np.testing.assert_allclose(np.abs(found), expected, atol=0.02)
    np.testing.assert_allclose(np.cov(found.T), np.eye(2), atol=0.02)
    stored = fit_projection(small_clips, backbone, 2, 6, tmp_path)
    torch.testing.assert_close(stored.mean, projection.mean, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(stored.matrix, projection.matrix, atol=1e-3, rtol=1e-2)
    (kept,) = tmp_path.rglob("projection-*.safetensors")
    save_file({"mean": stored.mean, "matrix": 2 * stored.matrix}, str(kept))
    again = fit_projection(small_clips, backbone, 2, 6, tmp_path)
    assert torch.equal(again.matrix, 2 * stored.matrix), "it is read, not fitted once more"
    assert not torch.equal(fit_projection(small_clips[:2], backbone, 2, 6, tmp_path).mean, stored.mean)


def test_a_trainable_backbone_sees_each_frame_alone_and_is_left_as_it_was(
    small_clips: list[Clip], backbone: Backbone, tmp_path: Path
) -> None:
    """Its key is that of the frozen one: so must its features be."""
    trainable = Backbone(replace(backbone.options, trainable=True, partial_bn=True)).train()
    modes = [module.training for module in trainable.modules()]
    before = {name: value.clone() for name, value in trainable.state_dict().items()}
    assert any(modes)
    assert not all(modes)
    stored = extract(small_clips[:2], trainable, None, 3, tmp_path).load()
    assert [module.training for module in trainable.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in trainable.state_dict().items())
    assert trainable.identity == backbone.identity
    assert torch.equal(stored, extract(small_clips[:2], backbone, None, 3).load())


def test_nothing_readable_is_an_error(small_clips: list[Clip], backbone: Backbone) -> None:
    with pytest.raises(VideoError, match="none of the 1 clips"):
        extract(small_clips[2:3], backbone, None, 3)


def test_no_clips_is_an_error(backbone: Backbone, tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(VideoError, match="there are no clips"):
            extract([], backbone, None, 3, folder)
