from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from whenwhere.benchmarks.explain import untrained
from whenwhere.explain import FILES, FolderError, explain_all, explain_to, find_videos, shown_names, truth_of
from whenwhere.features.backbone import BackboneOptions
from whenwhere.recognizer import Recognizer
from whenwhere.structures import Clip, Segment
from whenwhere.video import write_video


@pytest.mark.parametrize(
    "videos, names",
    [
        (["/a/b/c.mp4"], ["c.mp4"]),
        (["/a/b/c.mp4", "/a/d/c.mp4"], ["b/c.mp4", "d/c.mp4"]),
        (["x.mp4", "y/z.mp4"], ["x.mp4", "y/z.mp4"]),
        ([], []),
    ],
)
def test_names_in_a_list_say_nothing_of_the_folders_above(videos: list[str], names: list[str]) -> None:
    assert shown_names([Path(video) for video in videos]) == names


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return untrained(BackboneOptions(name="test_resnet", weights="random", size=64), frames=4)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    generator = np.random.default_rng(0)
    write_video(path, generator.integers(0, 255, (8, 48, 64, 3), dtype=np.uint8), 8.0)
    return path


def quietly(recognizer: Recognizer, videos: Sequence[Path], out: Path, **more: object) -> int:
    return explain_all(recognizer, videos, out, log=lambda text: None, **more)  # type: ignore[arg-type]


def test_a_folder_of_somebody_else_is_never_replaced(recognizer: Recognizer, clip: Path, tmp_path: Path) -> None:
    """Videos of a class lie in a folder of its name, and a clip may have that name, too."""
    precious = tmp_path / "clip" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("only copy")
    with pytest.raises(FolderError, match=r"clip exists and holds more than an explanation"):
        explain_to(recognizer, clip, precious.parent)
    for _ in range(2):
        assert quietly(recognizer, [clip], tmp_path) == 0
        assert precious.read_text() == "only copy"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["clip", "clip_2", "index.html"]
    assert sorted(path.name for path in (tmp_path / "clip_2").iterdir()) == sorted(FILES)


def test_an_earlier_explanation_is_replaced(recognizer: Recognizer, clip: Path, tmp_path: Path) -> None:
    explain_to(recognizer, clip, tmp_path / "it")
    (tmp_path / "it" / "report.html").write_text("old")
    explain_to(recognizer, clip, tmp_path / "it")
    assert (tmp_path / "it" / "report.html").stat().st_size > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_what_was_written_is_not_explained_in_its_turn(recognizer: Recognizer, clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip, tmp_path / "a.mp4")
    quietly(recognizer, find_videos([str(tmp_path)]), tmp_path / "explained")
    (tmp_path / "explanation.json").write_text("{}")  # of the user's own; videos beside it are still his
    assert find_videos([str(tmp_path)]) == [tmp_path / "a.mp4"]


def test_names_that_are_no_text_and_names_that_are_markup(recognizer: Recognizer, clip: Path, tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.mp4"), "<img src=x onerror=alert(1)>\"&'#?%41.mp4", "index.html.mp4"]
    (tmp_path / "in").mkdir()
    for name in names:
        shutil.copy(clip, tmp_path / "in" / name)
    assert quietly(recognizer, find_videos([str(tmp_path / "in")]), tmp_path / "out") == 0
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert 'href="caf%E9/report.html"' in page
    assert "<img src=x" not in page
    assert len(re.findall(r'href="[^"]+/report.html"', page)) == 3


def test_an_interrupted_run_lists_what_it_did(recognizer: Recognizer, clip: Path, tmp_path: Path) -> None:
    def interrupt(text: str) -> None:
        if text.startswith("failed"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain_all(recognizer, [clip, tmp_path / "gone.mp4", clip], tmp_path / "out", log=interrupt)
    assert 'href="clip/report.html"' in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_truth_is_shown_where_there_is_any(recognizer: Recognizer, clip: Path, tmp_path: Path) -> None:
    clips = [Clip(str(clip), "jump", segments=(Segment(0.2, 0.6, "jump"),)), Clip(str(tmp_path / "x.mp4"), "run")]
    truth = truth_of(clips)
    assert list(truth) == [clip.resolve()]
    quietly(recognizer, [clip], tmp_path / "out", truth=truth)
    assert '"truth":[{"start":0.2,"end":0.6,"label":"jump"' in (tmp_path / "out/clip/report.html").read_text()


@pytest.mark.parametrize("name", ["overlay.mp4", "report.mp4"])
def test_a_video_called_like_a_file_of_ours_is_kept(
    recognizer: Recognizer, clip: Path, tmp_path: Path, name: str
) -> None:
    """Its folder then has the name of the folder for its explanation, and holds no file of another name."""
    original = tmp_path / Path(name).stem / name
    original.parent.mkdir()
    shutil.copy(clip, original)
    with pytest.raises(FolderError, match=r"holds more than an explanation"):
        explain_to(recognizer, clip, original.parent)
    assert quietly(recognizer, find_videos([str(tmp_path)]), tmp_path) == 0
    assert original.read_bytes() == clip.read_bytes()
    assert [path.name for path in original.parent.iterdir()] == [name]
    assert (tmp_path / f"{original.stem}_2" / "report.html").exists()


def test_a_video_is_kept_also_beside_an_explanation(recognizer: Recognizer, clip: Path, tmp_path: Path) -> None:
    explain_to(recognizer, clip, tmp_path / "report")
    original = shutil.copy(clip, tmp_path / "report" / "report.mp4")
    with pytest.raises(FolderError, match=r"holds report\.mp4, which is to be explained"):
        explain_to(recognizer, original, tmp_path / "report")
    assert quietly(recognizer, [original], tmp_path) == 0
    assert original.read_bytes() == clip.read_bytes()
    assert (tmp_path / "report_2" / "report.html").exists()


def test_a_video_that_comes_later_in_the_list_is_kept(recognizer: Recognizer, clip: Path, tmp_path: Path) -> None:
    """Another video's folder may be where it lies."""
    explain_to(recognizer, clip, tmp_path / "clip")
    later = shutil.copy(clip, tmp_path / "clip" / "overlay.mp4")
    assert quietly(recognizer, [clip, later], tmp_path) == 0
    assert later.read_bytes() == clip.read_bytes()


def test_folders_and_links_called_like_files_of_ours_are_kept(
    recognizer: Recognizer, clip: Path, tmp_path: Path
) -> None:
    explain_to(recognizer, clip, tmp_path / "clip")
    precious = tmp_path / "clip" / "report_drafts.partial" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("only copy")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    for folder in ("clip", "linked"):
        with pytest.raises(FolderError, match=rf"{folder} exists and holds more than an explanation"):
            explain_to(recognizer, clip, tmp_path / folder)
    assert precious.read_text() == "only copy"


def test_an_index_of_somebody_else_is_kept_and_one_of_ours_replaced(
    recognizer: Recognizer, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<title>My own site</title>")
    with pytest.raises(FolderError, match=r"index\.html was not written by whenwhere.*another folder"):
        quietly(recognizer, [clip], tmp_path)
    assert (tmp_path / "index.html").read_text() == "<title>My own site</title>"
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]  # told before the work, not after it
    for _ in range(2):
        assert quietly(recognizer, [clip], tmp_path / "out") == 0


def test_videos_with_odd_names_in_the_output_folder_stay_as_they_are(
    recognizer: Recognizer, clip: Path, tmp_path: Path
) -> None:
    names = ["-o.mp4", "50% #1.mp4", 'it\'s "it".mp4', "Bühne 舞台.mp4", "a.b.mp4", "same.mp4", "same.MP4"]
    for name in names:
        shutil.copy(clip, tmp_path / name)
    for _ in range(2):
        assert quietly(recognizer, find_videos([str(tmp_path)]), tmp_path) == 0
        files = {path.name for path in tmp_path.iterdir() if path.is_file()}
        assert files == {*names, "index.html"}
        assert all((tmp_path / name).read_bytes() == clip.read_bytes() for name in names)
        folders = {path.name for path in tmp_path.iterdir() if path.is_dir()}
        assert folders == {*(Path(name).stem for name in names), "same_2"}
        page = (tmp_path / "index.html").read_text(encoding="utf-8")
        reports = {unquote(found) for found in re.findall(r'href="([^"]+)/report\.html"', page)}
        assert reports == folders
