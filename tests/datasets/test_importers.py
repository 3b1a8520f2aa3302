"""Importers on small replicas of the official archives, and on the official lists themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from whenwhere.datasets.hmdb51 import hmdb51
from whenwhere.datasets.kinetics import kinetics
from whenwhere.datasets.manifest import ManifestError
from whenwhere.datasets.moments import moments
from whenwhere.datasets.splits import group_leaks
from whenwhere.datasets.thumos14 import BAD_TEST_VIDEOS, thumos14
from whenwhere.datasets.ucf101 import ucf101
from whenwhere.structures import Clip, Segment

Place = Callable[..., Path]


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def splits(clips: list[Clip]) -> dict[str | None, int]:
    return dict(Counter(clip.split for clip in clips))


@pytest.fixture
def ucf_root(tmp_path: Path, place: Place) -> Path:
    for name in ("Archery/v_Archery_g08_c01", "Archery/v_Archery_g01_c01", "BabyCrawling/v_BabyCrawling_g01_c02"):
        place(tmp_path / f"UCF-101/{name}.avi")
    lists = tmp_path / "ucfTrainTestlist"
    write(lists / "trainlist02.txt", "Archery/v_Archery_g08_c01.avi 1")
    write(lists / "testlist02.txt", "Archery/v_Archery_g01_c01.avi", "BabyCrawling/v_BabyCrawling_g01_c02.avi")
    return tmp_path


def test_ucf101_as_unpacked(ucf_root: Path) -> None:
    train, *test = ucf101(ucf_root, split=2)
    assert (train.label, train.split, train.group) == ("Archery", "train", "Archery_g08")
    assert [clip.label for clip in test] == ["Archery", "BabyCrawling"]
    assert [clip.split for clip in test] == ["test", "test"]
    assert all(Path(clip.path).is_file() for clip in (train, *test))
    assert "UCF101" in str(train.source)


def test_ucf101_says_what_is_missing(ucf_root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ManifestError, match="no split 4; official ones are 1, 2, 3"):
        ucf101(ucf_root, split=4)
    with pytest.raises(ManifestError, match=r"trainlist01.txt cannot be read"):
        ucf101(ucf_root, split=1)
    with pytest.raises(ManifestError, match="split lists; expected ucfTrainTestlist"):
        ucf101(tmp_path_factory.mktemp("empty"))
    write(ucf_root / "ucfTrainTestlist/trainlist03.txt", "Archery/archery.avi 1")
    with pytest.raises(ManifestError, match="not named v_CLASS_gNN_cMM"):
        ucf101(ucf_root, split=3)


@pytest.mark.parametrize(("split", "train", "test"), [(1, 9537, 3783), (2, 9586, 3734), (3, 9624, 3696)])
def test_official_ucf101_splits(split: int, train: int, test: int, shared: Path, tmp_path: Path) -> None:
    clips = ucf101(tmp_path, split, shared / "annotations/ucf101_splits")
    assert splits(clips) == {"train": train, "test": test}
    assert len({clip.label for clip in clips}) == 101
    assert len({clip.path for clip in clips}) == 13320
    assert group_leaks(clips) == []


def test_hmdb51_as_unpacked(tmp_path: Path, place: Place) -> None:
    names = ("April_09_brush_hair_u_nm_np1_ba_goo_0", "April_09_brush_hair_u_nm_np1_ba_goo_1", "X_brush_hair_f_0")
    for name in names:
        place(tmp_path / f"hmdb51_org/brush_hair/{name}.avi")
    lines = [f"{name}.avi {flag} " for name, flag in zip(names, (1, 0, 2), strict=True)]
    write(tmp_path / "testTrainMulti_7030_splits/brush_hair_test_split1.txt", *lines)
    train, test = hmdb51(tmp_path)
    assert (train.label, train.split, train.group) == ("brush_hair", "train", "April_09")
    assert (test.split, test.group) == ("test", "X")
    assert Path(test.path).is_file()


def test_hmdb51_refuses_other_flags(tmp_path: Path) -> None:
    write(tmp_path / "testTrainMulti_7030_splits/run_test_split1.txt", "a_run_0.avi 3")
    with pytest.raises(ManifestError, match=r"a flag 0, 1 or 2, found 'a_run_0.avi 3'"):
        hmdb51(tmp_path)
    with pytest.raises(ManifestError, match=r"no CLASS_test_split2.txt"):
        hmdb51(tmp_path, split=2)


@pytest.mark.parametrize("split", [1, 2, 3])
def test_official_hmdb51_splits(split: int, shared: Path, tmp_path: Path) -> None:
    clips = hmdb51(tmp_path, split, shared / "annotations/hmdb51_splits")
    assert splits(clips) == {"train": 3570, "test": 1530}
    by_class = Counter((clip.label, clip.split) for clip in clips)
    assert set(by_class.values()) == {70, 30}
    assert len(by_class) == 2 * 51


def test_moments_as_unpacked(tmp_path: Path, place: Place) -> None:
    base = tmp_path / "Moments_in_Time_256x256_30fps"
    place(base / "training/juggling/yt-abc_12.mp4")
    place(base / "validation/adult+male+singing/getty-x_3.mp4")
    write(base / "moments_categories.txt", "adult+male+singing,0", "juggling,1")
    write(base / "trainingSet.csv", "juggling/yt-abc_12.mp4,juggling,4,0")
    write(base / "validationSet.csv", "adult+male+singing/getty-x_3.mp4,adult+male+singing,5,1")
    train, test = moments(tmp_path)
    assert (train.label, train.split, train.group) == ("juggling", "train", "yt-abc")
    assert (test.label, test.split) == ("adult+male+singing", "test")
    assert all(Path(clip.path).is_file() for clip in (train, test))
    write(base / "validationSet.csv", "flying/x.mp4,flying,5,1")
    with pytest.raises(ManifestError, match=r"validationSet.csv, line 1: class 'flying' is not in moments_categories"):
        moments(tmp_path)


def test_official_moments_classes(shared: Path, tmp_path: Path) -> None:
    names = (shared / "annotations/moments/category_momentsv1.txt").read_text().split()
    assert len(names) == len(set(names)) == 339
    write(tmp_path / "category_momentsv1.txt", *names)
    write(tmp_path / "trainingSet.csv", *(f"{name}/a_1.mp4,{name},3,0" for name in names))
    write(tmp_path / "validationSet.csv")
    assert [clip.label for clip in moments(tmp_path)] == names


def test_kinetics_as_downloaded(tmp_path: Path, place: Place) -> None:
    place(tmp_path / "train/riding a bike/abc_000003_000013.mp4")
    place(tmp_path / "riding_a_bike/x-y_z.mp4")
    write(
        tmp_path / "annotations/all.csv",
        "label,youtube_id,time_start,time_end,split",
        "riding a bike,abc,3,13,train",
        "riding a bike,x-y_z,0,10,validate",
        "riding a bike,gone,1,11,test",
    )
    train, val, gone = kinetics(tmp_path)
    assert (train.label, train.split, train.group) == ("riding a bike", "train", "abc")
    assert (val.split, Path(val.path).name) == ("val", "x-y_z.mp4")
    assert [Path(clip.path).is_file() for clip in (train, val, gone)] == [True, True, False]
    assert gone.path.endswith("test/riding a bike/gone_000001_000011.mp4")
    write(tmp_path / "annotations/all.csv", "label,youtube_id,time_start,time_end,split", "a,b,0,1,extra")
    with pytest.raises(ManifestError, match=r"line 2: split 'extra' is not one of train"):
        kinetics(tmp_path)


def test_thumos14_as_unpacked(tmp_path: Path, place: Place) -> None:
    write(tmp_path / "temporal_annotations_validation/Diving_val.txt", "video_validation_0000001  1.0 2.5")
    write(
        tmp_path / "temporal_annotations_validation/CliffDiving_val.txt",
        "video_validation_0000001 1.0 2.5",
        "video_validation_0000002 0 1",
    )
    write(tmp_path / "temporal_annotations_test/Diving_test.txt", "video_test_0000270 0 1", "video_test_0000007 3 4.5")
    write(tmp_path / "temporal_annotations_test/Ambiguous_test.txt", "video_test_0000007 0 1", "video_test_0000008 0 1")
    place(tmp_path / "validation/video_validation_0000001.mp4")
    place(tmp_path / "ucf/UCF-101/Diving/v_Diving_g01_c01.avi")
    place(tmp_path / "ucf/UCF-101/Archery/v_Archery_g01_c01.avi")
    train, both, single, test = thumos14(tmp_path, ucf101_root=tmp_path / "ucf")
    assert (train.label, train.split, train.group) == ("Diving", "train", "Diving_g01")
    assert (both.label, both.labels, both.split) == (None, ("CliffDiving", "Diving"), "val")
    assert Path(both.path).is_file()
    assert (single.label, single.labels) == ("CliffDiving", ("CliffDiving",))
    assert test.segments == (Segment(0, 1, "Ambiguous"), Segment(3, 4.5, "Diving"))
    assert test.label == "Diving"
    assert [clip.group for clip in thumos14(tmp_path, several_labels=False)] == [single.group, test.group]
    write(tmp_path / "temporal_annotations_test/Diving_test.txt", "video_test_0000007 3")
    with pytest.raises(ManifestError, match=r"Diving_test.txt, line 1: expected VIDEO START END"):
        thumos14(tmp_path)


def test_official_thumos14_annotations(shared: Path, tmp_path: Path) -> None:
    official = shared / "annotations/thumos14/official_txt"
    clips = thumos14(tmp_path, official)
    assert splits(clips) == {"val": 200, "test": 210}
    assert len({label for clip in clips for label in clip.labels}) == 20
    assert "Ambiguous" not in {label for clip in clips for label in clip.labels}
    assert splits(thumos14(tmp_path, official, leave_out=BAD_TEST_VIDEOS[:1])) == {"val": 200, "test": 211}
    singles = thumos14(tmp_path, official, several_labels=False)
    assert all(clip.label for clip in singles if clip.split == "val")
    assert splits(singles)["test"] == 210
