"""What is exported is read back, by the tool's own library where there is one here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import av
import numpy as np
import pytest
from pycocotools.coco import COCO

from whenwhere.evaluation.predictions import read_segments
from whenwhere.export import FORMATS, ExportError, export
from whenwhere.export.fiftyone import sample_of
from whenwhere.export.videos import exported, tracks
from whenwhere.structures import Box, Explanation, Segment

WIDTH, HEIGHT = 64, 48
# Shown at uneven times, as telephones record them: 0, 0.1, 0.2, 0.7, 0.8, 1.6 seconds.
TICKS = (0, 1, 2, 7, 8, 16)
ODD = 'jump, "high" <&> größer'


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "clip one.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, 10)
        for tick in TICKS:
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 10 * tick, np.uint8), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def said(uneven: Path) -> Explanation:
    times = (0.0, 0.2, 0.7, 1.6)
    return Explanation(
        path=str(uneven), width=WIDTH, height=HEIGHT, duration=1.7, labels=((ODD, 0.75), ("run", 0.25)), times=times,
        importance=(0.1, 0.2, 0.3, 0.4), weights=(0.25,) * 4, masks=np.zeros((4, 2, 2)), mask_area=(0.0, 0.0, 64.0, 48),
        segments=(Segment(0.2, 0.8, ODD, 0.9), Segment(0.7, 1.6, "run", 0.4)),
        boxes=(
            Box(0.2, 10, 10, 20, 30, ODD, 0.5),
            Box(0.7, 12, 10, 22, 30, ODD, 0.625),
            Box(0.7, -8, 40, 6, 60, "run", 0.25),  # reaches over the border
            Box(1.6, 70, 10, 90, 20, "run", 0.125),  # lies beyond it
        ),
        model="runs/mine",
    )  # fmt: skip


FRAMES = {0.0: 0, 0.2: 2, 0.7: 3, 1.6: 5}
INSIDE = [(2, ODD, (10, 10, 20, 30), 0.5), (3, ODD, (12, 10, 22, 30), 0.625), (3, "run", (0, 40, 6, 48), 0.25)]


def test_segments_come_back_from_activitynet(said: Explanation, tmp_path: Path) -> None:
    (path,) = export([said], tmp_path / "segments.json", "activitynet")
    table = read_segments(path)
    assert list(table.videos) == ["clip one"] * 2
    assert list(table.labels) == [ODD, "run"]
    np.testing.assert_array_equal(table.segments, [[0.2, 0.8], [0.7, 1.6]])
    np.testing.assert_array_equal(table.scores, [0.9, 0.4])


def test_boxes_come_back_from_coco(said: Explanation, tmp_path: Path) -> None:
    path, results = export([said], tmp_path / "boxes.json", "coco")
    coco = COCO(str(path))
    names = {number: entry["name"] for number, entry in coco.cats.items()}
    images = {number: entry["frame_index"] for number, entry in coco.imgs.items()}
    assert sorted(images.values()) == sorted(FRAMES.values())
    assert [coco.imgs[number]["time"] for number in sorted(images)] == pytest.approx(list(FRAMES))
    found = []
    for one in coco.loadAnns(coco.getAnnIds()):
        x, y, width, height = one["bbox"]
        assert one["area"] == width * height
        found.append((images[one["image_id"]], names[one["category_id"]], (x, y, x + width, y + height), one["score"]))
    assert found == INSIDE
    again = coco.loadRes(str(results))
    assert [one["score"] for one in again.loadAnns(again.getAnnIds())] == [score for *_, score in INSIDE]


def test_two_videos_of_one_name_stay_two(said: Explanation, uneven: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other = shutil.copy(uneven, tmp_path / "b")
    path, _ = export([said, replace(said, path=str(other))], tmp_path / "boxes.json", "coco")
    coco = COCO(str(path))
    assert len({entry["name"] for entry in coco.dataset["videos"]}) == 2
    assert len({entry["file_name"] for entry in coco.imgs.values()}) == 8


def test_tracks_come_back_from_cvat(said: Explanation, tmp_path: Path) -> None:
    path, known = export([said], tmp_path / "cvat", "cvat")
    root = ET.parse(path).getroot()
    assert root.findtext("version") == "1.1"
    assert root.findtext("meta/task/size") == str(len(TICKS))
    assert root.findtext("meta/task/original_size/width") == str(WIDTH)
    assert {label.findtext("name") for label in root.iter("label")} == {ODD, "run"}
    assert [label["name"] for label in json.loads(known.read_text(encoding="utf-8"))] == [ODD, "run"]
    found, ends = [], {}
    for track in root.iter("track"):
        for box in track.iter("box"):
            corners = tuple(float(box.get(name, "")) for name in ("xtl", "ytl", "xbr", "ybr"))
            if box.get("outside") == "1":
                ends[track.get("label")] = int(box.get("frame", ""))
            else:
                score = float(box.findtext("attribute[@name='score']") or "")
                found.append((int(box.get("frame", "")), track.get("label"), corners, score))
    assert sorted(found) == sorted(INSIDE)
    assert len(list(root.iter("track"))) == 2, "the two boxes of one label are one thing"
    assert ends == {ODD: 4, "run": 4}, "CVAT would go on to the video's end"


def test_datumaro_reads_the_tracks(said: Explanation, tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro", reason="datumaro, the library that CVAT reads by, is not installed")
    export([said], tmp_path, "cvat")
    read = datumaro.Dataset.import_from(str(tmp_path), "cvat")
    names = [category.name for category in read.categories()[datumaro.AnnotationType.label]]
    found = []
    for item in read:
        for one in item.annotations:
            if not one.attributes["outside"]:
                x, y, width, height = one.get_bbox()
                corners = (x, y, x + width, y + height)
                found.append((item.attributes["frame"], names[one.label], corners, float(one.attributes["score"])))
    assert sorted(found) == sorted(INSIDE)


def test_all_files_have_one_list_of_labels(said: Explanation, uneven: Path, tmp_path: Path) -> None:
    other = shutil.copy(uneven, tmp_path / "other.mp4")
    turned = replace(said, path=str(other), labels=(("walk", 0.6), *said.labels[::-1]))
    *written, _ = export([said, turned], tmp_path / "cvat", "cvat")
    lists = [
        [(one.findtext("name"), one.findtext("color")) for one in ET.parse(path).getroot().iter("label")]
        for path in written
    ]
    assert lists[0] == lists[1], "the same names in the same order and colours"
    assert [name for name, _ in lists[0]] == [ODD, "run", "walk"]


def test_a_task_of_cvat_takes_the_labels(said: Explanation, tmp_path: Path) -> None:
    models = pytest.importorskip("cvat_sdk.models", reason="cvat-sdk, the library that CVAT's tasks are made by")
    *_, path = export([said], tmp_path / "cvat", "cvat")
    labels = json.loads(path.read_text(encoding="utf-8"))
    # As `cvat-cli task create --labels` does.
    task = models.TaskWriteRequest(name="a", labels=[models.PatchedLabelRequest(**one) for one in labels])
    assert [label.name for label in task.labels] == [ODD, "run"]


def test_datumaro_reads_a_folder_of_several_videos(said: Explanation, uneven: Path, tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro", reason="datumaro, the library that CVAT reads by, is not installed")
    other = shutil.copy(uneven, tmp_path / "other.mp4")
    export([said, replace(said, path=str(other), labels=said.labels[::-1])], tmp_path / "cvat", "cvat")
    read = datumaro.Dataset.import_from(str(tmp_path / "cvat"), "cvat")
    inside = [one for item in read for one in item.annotations if not one.attributes["outside"]]
    assert len(inside) == 2 * len(INSIDE)


def test_a_track_that_ends_with_the_video_needs_no_end(said: Explanation, tmp_path: Path) -> None:
    last = replace(said, boxes=(Box(1.6, 1, 1, 5, 5, "run"),))
    path, _ = export([last], tmp_path, "cvat")
    assert [box.get("frame") for box in ET.parse(path).getroot().iter("box")] == ["5"]


def test_segments_and_boxes_come_back_from_via(said: Explanation, uneven: Path, tmp_path: Path) -> None:
    (path,) = export([said], tmp_path / "project.json", "via")
    project = json.loads(path.read_text(encoding="utf-8"))
    options = project["attribute"]["1"]["options"]
    assert project["attribute"]["1"]["anchor_id"] == "FILE1_Z2_XY0"
    assert project["attribute"]["2"]["anchor_id"] == "FILE1_Z1_XY1"
    assert project["project"]["vid_list"] == list(project["view"]) == list(project["file"]) == ["1"]
    assert project["file"]["1"]["src"] == uneven.absolute().as_uri()
    entries = list(project["metadata"].values())
    segments = [(*one["z"], options[one["av"]["1"]]) for one in entries if len(one["z"]) == 2]
    assert segments == [(s.start, s.end, s.label) for s in said.segments]
    boxes = []
    for one in entries:
        if len(one["z"]) == 1:
            shape, x, y, width, height = one["xy"]
            assert shape == 2, "a rectangle"
            place = (x, y, x + width, y + height)
            boxes.append((FRAMES[one["z"][0]], options[one["av"]["2"]], place, float(one["av"]["4"])))
    assert boxes == INSIDE


def check_sample(sample: Any, said: Explanation) -> None:
    assert (sample.action.label, sample.action.confidence) == (ODD, 0.75)
    supports = [(one.label, list(one.support)) for one in sample.segments.detections]
    assert supports == [(ODD, [3, 5]), ("run", [4, 6])]
    found = []
    for number, frame in sorted(sample.frames.items()):
        for one in frame.boxes.detections:
            x, y, width, height = np.array(one.bounding_box) * [WIDTH, HEIGHT, WIDTH, HEIGHT]
            corners = tuple(np.round((x, y, x + width, y + height), 6))
            found.append((number - 1, one.label, corners, one.confidence))
    assert found == INSIDE
    assert [frame.importance for _, frame in sorted(sample.frames.items())] == list(said.importance)


def test_a_sample_of_fiftyone_says_everything(said: Explanation) -> None:
    fiftyone = pytest.importorskip("fiftyone", reason="FiftyOne is not installed")
    (video,) = exported([said])
    check_sample(sample_of(video, fiftyone), said)


def test_everything_comes_back_from_fiftyone(said: Explanation, tmp_path: Path) -> None:
    fiftyone = pytest.importorskip("fiftyone", reason="FiftyOne is not installed")
    try:
        fiftyone.list_datasets()
    except fiftyone.core.config.FiftyOneConfigError as error:
        pytest.skip(f"FiftyOne's database does not start here: {error}")
    (path,) = export([said], tmp_path / "set", "fiftyone")
    dataset = fiftyone.Dataset.from_dir(dataset_dir=str(path), dataset_type=fiftyone.types.FiftyOneDataset)
    try:
        check_sample(dataset.first(), said)
    finally:
        dataset.delete()


def test_without_fiftyone_it_says_what_to_install(said: Explanation, tmp_path: Path) -> None:
    try:
        import fiftyone  # noqa: F401
    except ImportError:
        with pytest.raises(ExportError, match="pip install fiftyone"):
            export([said], tmp_path / "set", "fiftyone")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "fiftyone"])
def test_nothing_found_is_exported_as_nothing(said: Explanation, tmp_path: Path, format: str) -> None:
    written = export([replace(said, segments=(), boxes=())], tmp_path / "out", format)  # type: ignore[arg-type]
    assert all(path.stat().st_size for path in written)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("format", ["coco", "cvat", "via"])
def test_a_video_that_moved_is_found_in_its_new_folder(
    said: Explanation, uneven: Path, tmp_path: Path, format: str
) -> None:
    moved = replace(said, path=str(tmp_path / "gone" / uneven.name))
    with pytest.raises(ExportError, match=r"clip one\.mp4: no such video.*--videos"):
        export([moved], tmp_path / "out", format)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    export([moved], tmp_path / "out", format, videos=uneven.parent)  # type: ignore[arg-type]


def test_another_video_in_its_place_is_an_error(said: Explanation, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"64 x 48 pixels.*32 x 48"):
        export([replace(said, width=32)], tmp_path / "out.json", "coco")


def test_nothing_twice_or_unknown_is_an_error(said: Explanation, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="nothing to export"):
        export([], tmp_path / "out", "coco")
    with pytest.raises(ExportError, match="several explanations"):
        export([said, said], tmp_path / "out", "coco")
    with pytest.raises(ExportError, match="unknown format 'yolo'; valid ones are activitynet, activitynet-truth, coco"):
        export([said], tmp_path / "out", "yolo")  # type: ignore[arg-type]


def test_frames_are_those_shown_nearest(said: Explanation) -> None:
    (video,) = exported([said])
    stamps = [tick / 10 for tick in TICKS]
    for time in np.linspace(0, 2, 41):
        distance = [abs(stamp - time) for stamp in stamps]
        assert distance[video.frame(float(time))] == pytest.approx(min(distance))


def moving(label: str, start: float, x: float, count: int) -> list[Box]:
    return [Box(start + i, x + i, 0, x + 10 + i, 10, label) for i in range(count)]


@pytest.mark.parametrize("shuffle", [False, True])
def test_things_that_move_are_followed(shuffle: bool) -> None:
    things = [moving("a", 0, 0, 4), moving("a", 0, 50, 4), moving("b", 2, 1, 3)]
    boxes = sorted((box for thing in things for box in thing), key=lambda box: box.time)
    if shuffle:
        boxes = sorted(boxes, key=lambda box: (box.time, -box.x0))
    found = tracks(boxes, [float(i) for i in range(6)])
    assert sorted(found, key=str) == sorted(things, key=str)


def test_a_thing_that_is_gone_for_a_frame_is_another_one() -> None:
    first, second = moving("a", 0, 0, 2), moving("a", 3, 3, 2)
    assert tracks([*first, *second], [float(i) for i in range(6)]) == [first, second]


def test_known_tubes_are_kept() -> None:
    boxes = [replace(box, tube=number) for number, x in enumerate((0, 5)) for box in moving("a", 0, x, 3)]
    found = tracks(sorted(boxes, key=lambda box: box.time), [0.0, 1.0, 2.0])
    assert [[box.tube for box in track] for track in found] == [[0] * 3, [1] * 3]


@pytest.fixture
def command() -> Callable[..., int]:
    from whenwhere.cli import main

    return lambda *arguments: main([str(argument) for argument in arguments])


def test_the_command_takes_files_and_folders(
    said: Explanation, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "explained" / "clip").mkdir(parents=True)
    said.save(tmp_path / "explained" / "clip" / "explanation.json")
    assert command("export", tmp_path / "explained", "--format", "coco", "--out", tmp_path / "boxes.json") == 0
    assert "boxes_results.json" in capsys.readouterr().err
    assert len(COCO(str(tmp_path / "boxes.json")).anns) == 3
    (tmp_path / "empty").mkdir()
    assert command("export", tmp_path / "empty", "--format", "coco", "--out", tmp_path / "no.json") == 1
    assert "no explanation.json" in capsys.readouterr().err
