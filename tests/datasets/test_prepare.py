from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from whenwhere.datasets.manifest import ManifestError, read_clips
from whenwhere.datasets.prepare import prepare

Place = Callable[..., Path]


@pytest.mark.parametrize("table", ["manifest.csv", "clips.parquet"])
def test_writes_what_is_there_and_tells_what_is_not(table: str, tmp_path: Path, place: Place) -> None:
    if table.endswith("parquet"):
        pytest.importorskip("pyarrow")
    place(tmp_path / "UCF-101/Archery/v_Archery_g08_c01.avi")
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text("Archery/v_Archery_g08_c01.avi 1\n")
    (lists / "testlist01.txt").write_text("Archery/v_Archery_g08_c02.avi\n")
    prepared = prepare("ucf101", tmp_path, tmp_path / table)
    assert prepared.counts() == {"test": (0, 1), "train": (1, 0)}
    assert [Path(clip.path).name for clip in prepared.missing] == ["v_Archery_g08_c02.avi"]
    assert read_clips(prepared.manifest) == list(prepared.clips)


def test_folder_and_warning_of_groups_on_both_sides(tmp_path: Path, place: Place) -> None:
    place(tmp_path / "run/a.mp4")
    place(tmp_path / "walk/b.mp4")
    prepared = prepare("folder", tmp_path)
    assert prepared.manifest == tmp_path / "manifest.csv"
    assert [clip.label for clip in read_clips(tmp_path)] == ["run", "walk"]
    (tmp_path / "own.csv").write_text("path,label,split,group\nrun/a.mp4,run,train,g\nwalk/b.mp4,walk,test,g\n")
    (warning,) = prepare("csv", tmp_path / "own.csv").warnings
    assert "1 groups are in both train and test (for instance g)" in warning


def test_mistakes_are_named(tmp_path: Path, place: Place) -> None:
    with pytest.raises(ManifestError, match="no data set 'ucf'; known are folder"):
        prepare("ucf", tmp_path)
    place(tmp_path / "run/a.mp4")
    with pytest.raises(ManifestError, match="folder has no split; leave it out"):
        prepare("folder", tmp_path, split=2)
    (tmp_path / "own.csv").write_text("path,label\nnowhere.mp4,run\n")
    with pytest.raises(ManifestError, match=r"none of 1 listed videos is there; the first should be .*nowhere.mp4"):
        prepare("csv", tmp_path / "own.csv")
