"""The folder that readers of the documentation are taken to work in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from blocks import ROOT

from whenwhere.cli import main

CLASSES = {"jump": "abcde", "run": "klmno"}  # and the clips of each


def _write_clips(folder: Path) -> None:
    """Two kinds of rendered clips, under names of a sports club's."""
    from whenwhere.datasets.synthetic import FPS, SyntheticOptions, render_clip
    from whenwhere.video import write_video

    options = SyntheticOptions(clips=30, frames=12)
    for number, (label, names) in enumerate(CLASSES.items()):
        (folder / label).mkdir(parents=True)
        for place, name in enumerate(names):
            clip = render_clip(options, place * len(options.classes) + number)
            frames = (frame.copy() for frame in clip.pixels.transpose(0, 2, 3, 1))
            write_video(folder / label / f"{name}.mp4", frames, FPS)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips, a recipe for each purpose, and a run that took seconds and knows nothing."""
    folder = tmp_path_factory.mktemp("docs")
    _write_clips(folder / "my_videos")
    shutil.copy(folder / "my_videos" / "jump" / "a.mp4", folder / "clip.mp4")
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    assert main(["prepare", "folder", "--root", str(folder / "my_videos"), "--out", str(folder / "clips.csv")]) == 0
    tiny = ["--data.frames", "4", "--model.hidden", "8", "--model.steps", "2", "--fit.epochs", "1"]
    backbone = ["--backbone.name", "test_resnet", "--backbone.weights", "random", "--backbone.size", "64"]
    mine = str(folder / "runs" / "mine")
    assert main(["train", "--data.path", str(folder / "my_videos"), *tiny, *backbone, "--out", mine]) == 0
    return folder


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub's cache as a first use leaves it, but with random weights: no test needs the network."""
    from whenwhere._torchvision import ensure_torchvision

    ensure_torchvision()
    import timm
    from safetensors.torch import save_file

    cache = tmp_path_factory.mktemp("hub")
    repository = cache / f"models--{timm.get_pretrained_cfg('resnet50').hf_hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / "0000"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    save_file(timm.create_model("resnet50").state_dict(), str(snapshot / "model.safetensors"))
    return cache


@pytest.fixture
def workplace(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the prepared folder, which a page may change, as the working folder."""
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe's store, which knows a clip by its bytes: pages compute their features once together."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def hub_is_cached(hub: Path, features: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For commands in this process and for those of their own."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (workplace / "runs" / "cache").symlink_to(features)
