from __future__ import annotations

from pathlib import Path

import pytest

from whenwhere.datasets.manifest import ManifestError, read_clips, write_clips
from whenwhere.datasets.splits import class_names, split_clips
from whenwhere.structures import Box, Clip, Segment


def test_reads_csv_with_truth(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(
        "path,label,split,group,segments,boxes\n"
        'a/x.mp4,run,train,g1,"[{""start"": 0.5, ""end"": 1.5, ""label"": ""run""}]",'
        '"[{""time"": 0.5, ""x0"": 1, ""y0"": 2, ""x1"": 3, ""y1"": 4}]"\n'
        'a/y.mp4,walk,test,,"[[""walk"", 0.0, 1.0]]",\n'
    )
    first, second = read_clips(tmp_path / "m.csv")
    assert first.path == str(tmp_path / "a/x.mp4")
    assert (first.label, first.split, first.group) == ("run", "train", "g1")
    assert first.segments == (Segment(0.5, 1.5, "run"),)
    assert first.boxes[0].xyxy == (1, 2, 3, 4)
    assert first.boxes[0].label == "run"
    assert second.group is None
    assert second.segments == (Segment(0.0, 1.0, "walk"),)


def test_reads_folder_per_class_with_and_without_splits(tmp_path: Path) -> None:
    for name in ("run/a.mp4", "run/b.AVI", "walk/c.mkv", "walk/notes.txt"):
        path = tmp_path / "plain" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    clips = read_clips(tmp_path / "plain")
    assert [(Path(c.path).name, c.label, c.split) for c in clips] == [
        ("a.mp4", "run", None),
        ("b.AVI", "run", None),
        ("c.mkv", "walk", None),
    ]
    deep = tmp_path / "split/test/run/d.mp4"
    deep.parent.mkdir(parents=True)
    deep.touch()
    assert (read_clips(tmp_path / "split")[0].label, read_clips(tmp_path / "split")[0].split) == ("run", "test")


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", "no rows"),
        ("name,label\na,b\n", "columns 'path' and 'label'"),
        ("path,label,split\na.mp4,x,training\n", "line 2.*split"),
        ('path,label,segments\na.mp4,x,"[{""start"": 2, ""end"": 1, ""label"": ""x""}]"\n', "line 2.*start < end"),
    ],
)
def test_bad_tables_say_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ManifestError, match=complaint):
        read_clips(tmp_path / "m.csv")


def test_missing_and_empty_data(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such data"):
        read_clips(tmp_path / "nowhere.csv")
    with pytest.raises(ManifestError, match="no videos"):
        read_clips(tmp_path)
    (tmp_path / "loose.mp4").touch()
    with pytest.raises(ManifestError, match="no class folder"):
        read_clips(tmp_path)


def test_class_names_need_labels_and_two_classes() -> None:
    assert class_names([Clip("a", "z"), Clip("b", "y"), Clip("c", "z")]) == ("y", "z")
    with pytest.raises(ManifestError, match="two classes"):
        class_names([Clip("a", "z")])
    with pytest.raises(ManifestError, match="no label"):
        class_names([Clip("a", "z"), Clip("b")])


def clips_in_groups(groups: int, size: int) -> list[Clip]:
    return [
        Clip(f"{g}_{i}.mp4", label="ab"[i % 2], group=f"g{g}", split="train")
        for g in range(groups)
        for i in range(size)
    ]


def test_carved_validation_keeps_groups_together_and_is_about_its_share() -> None:
    for seed in range(5):
        splits = split_clips(clips_in_groups(20, 6), 0.25, seed=seed)
        train, val = ({clip.group for clip in splits[name]} for name in ("train", "val"))
        assert not train & val
        assert 0.15 <= len(splits["val"]) / 120 <= 0.35
        assert len(splits["train"]) + len(splits["val"]) == 120
        assert {clip.label for clip in splits["val"]} == {"a", "b"}


def test_carving_depends_on_the_seed_only_and_leaves_test_alone() -> None:
    clips = [*clips_in_groups(10, 4), Clip("t.mp4", "a", "test", "g99")]
    first, again, other = (split_clips(clips, 0.3, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["val"] != other["val"]
    assert [clip.path for clip in first["test"]] == ["t.mp4"]


def test_given_splits_are_kept() -> None:
    clips = [Clip("a", "x", "train"), Clip("b", "y", "val"), Clip("c", "x", "test")]
    splits = split_clips(clips, 0.5)
    assert {name: [clip.path for clip in items] for name, items in splits.items()} == {
        "train": ["a"],
        "val": ["b"],
        "test": ["c"],
    }


def test_without_any_split_a_test_split_is_made() -> None:
    clips = [Clip(f"{i}.mp4", "ab"[i % 2]) for i in range(40)]
    splits = split_clips(clips, 0.2)
    assert {len(splits["test"]), len(splits["train"]) + len(splits["val"])} == {8, 32}


def test_no_training_clips_is_an_error() -> None:
    with pytest.raises(ManifestError, match="no training clips"):
        split_clips([Clip("a", "x", "test")], 0.2)
    assert len(split_clips([Clip("a", "x", "test")], 0.2, training=False)["test"]) == 1


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_round_trip_of_everything_a_clip_can_hold(suffix: str, tmp_path: Path) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    clips = [
        Clip(
            str(tmp_path / "a/x.mp4"),
            "run",
            "train",
            "g1",
            (Segment(0.5, 1.5, "run", 0.5),),
            (Box(0.5, 1, 2, 3.25, 4, "run", tube=1), Box(0.5, 1, 2, 3, 4, "run")),
            fps=29.97,
            frames=60,
            duration=2.0,
            source="a camera",
            licence="CC BY 4.0",
            flow=str(tmp_path / "flow/x.flow"),
        ),
        Clip(str(tmp_path / "y, z.mp4"), labels=("run", "walk")),
    ]
    table = write_clips(clips, tmp_path / f"manifest.{suffix}")
    assert read_clips(table) == clips
    assert list(tmp_path.iterdir()) == [table]
    moved = tmp_path / "moved"
    moved.mkdir()
    table.rename(moved / table.name)
    assert read_clips(moved)[0].path == str(moved / "a/x.mp4")


def test_a_manifest_is_csv_or_parquet(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"a manifest ends in .csv or .parquet"):
        write_clips([Clip("x.mp4", "run")], tmp_path / "m.json")
    (tmp_path / "m.parquet").write_text("no table")
    with pytest.raises(ManifestError, match=r"m.parquet is not a Parquet manifest|needs pyarrow"):
        read_clips(tmp_path / "m.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["m.parquet"]


def test_labels_of_a_clip() -> None:
    assert Clip("x.mp4", "run").labels == ("run",)
    assert Clip("x.mp4", labels=("run",)).label == "run"
    assert Clip("x.mp4", labels=("run", "walk")).label is None
    with pytest.raises(ValueError, match=r"Clip.label must be one of"):
        Clip("x.mp4", "run", labels=("walk",))
    with pytest.raises(ValueError, match=r"Clip.fps must be positive"):
        Clip("x.mp4", "run", fps=0.0)
