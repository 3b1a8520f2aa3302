"""Explanations at random, of videos of every kind: what a format's reader finds is what was said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import av
import numpy as np
import pytest
from pycocotools.coco import COCO

from whenwhere.evaluation.predictions import read_segments
from whenwhere.evaluation.truth import read_segment_truth
from whenwhere.export import ExportError, export
from whenwhere.structures import Box, Explanation, Segment

TICKS = (0, 1, 2, 7, 8, 16, 17, 18, 30, 31)  # of a tenth of a second: uneven, as telephones record them
STAMPS = np.array(TICKS) / 10
LABELS = ('jump, "high"', "<run> & 'hide'", "größer 跳", " spaces ", "tab\there", "a/b;c|d")
# Name, pixel aspect, rotation; size of the picture as the explanation has it and as browsers show it.
KINDS: dict[str, tuple[Fraction, int | None, tuple[int, int], tuple[int, int]]] = {
    "plain": (Fraction(1), None, (64, 48), (64, 48)),
    "turned": (Fraction(1), 90, (48, 64), (48, 64)),
    "wide #1 100%": (Fraction(2), None, (64, 48), (128, 48)),
    "high": (Fraction(1, 2), None, (64, 48), (64, 96)),
    "wide and turned": (Fraction(2), 90, (48, 64), (48, 128)),
    "high and turned": (Fraction(2, 3), -90, (48, 64), (72, 64)),
}

Said = tuple[str, int, str, tuple[float, ...]]  # video, frame, label, x0 y0 x1 y1


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    for name, (aspect, rotation, _, _) in KINDS.items():
        with av.open(f"file:{folder / name}.mp4", "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.time_base = Fraction(1, 10)
            stream.codec_context.sample_aspect_ratio = aspect
            if rotation is not None:
                stream.set_display_rotation(rotation)
            for tick in TICKS:
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * tick, np.uint8), format="rgb24")
                frame.pts, frame.time_base = tick, Fraction(1, 10)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return {name: folder / f"{name}.mp4" for name in KINDS}


def at_random(path: Path, rng: np.random.Generator) -> Explanation:
    """Segments and boxes of any number, none included; boxes that reach over the border, tubes with gaps."""
    width, height = KINDS[path.stem][2]
    looked_at = np.sort(rng.choice(len(STAMPS), rng.integers(2, len(STAMPS) + 1), replace=False))
    times = STAMPS[looked_at]
    labels = rng.permutation(LABELS)[: rng.integers(1, len(LABELS) + 1)].tolist()
    segments = []
    for _ in range(rng.integers(0, 4)):
        start, end = np.sort(rng.uniform(0, 3.1, 2))
        segments.append(Segment(start, end + 0.01, str(rng.choice(labels)), rng.uniform()))
    tubes = [str(rng.choice(labels)) for _ in range(rng.integers(0, 3))]
    boxes = [
        box(time, rng, (width, height), label, tube)
        for time in times
        for tube, label in [*enumerate(tubes), *((None, str(rng.choice(labels))) for _ in range(2))]
        if rng.uniform() < 0.5
    ]
    count = len(times)
    return Explanation(
        path=str(path), width=width, height=height, duration=3.2,
        labels=tuple((label, 1 / len(labels)) for label in labels), times=tuple(times.tolist()),
        importance=(1 / count,) * count, weights=(1 / count,) * count, masks=np.zeros((count, 2, 2)),
        mask_area=(0.0, 0.0, float(width), float(height)), segments=tuple(sorted(segments, key=lambda s: s.start)),
        boxes=tuple(boxes),
    )  # fmt: skip


def box(time: float, rng: np.random.Generator, size: tuple[int, int], label: str, tube: int | None) -> Box:
    corner = rng.uniform(-0.4, 0.9, 2) * size
    x0, y0, x1, y1 = np.round([*corner, *(corner + rng.uniform(0.45, 0.9, 2) * size)], 2)
    return Box(float(time), x0, y0, x1, y1, label, round(rng.uniform(), 4), tube)


def said_boxes(explanations: Sequence[Explanation]) -> list[Said]:
    """What every reader must find, cut at the border."""
    found: list[Said] = []
    for one in explanations:
        for each in one.boxes:
            x0, x1 = np.clip((each.x0, each.x1), 0, one.width)
            y0, y1 = np.clip((each.y0, each.y1), 0, one.height)
            frame = int(np.abs(STAMPS - each.time).argmin())
            if x0 < x1 and y0 < y1:
                found.append((Path(one.path).stem, frame, each.label, (x0, y0, x1, y1)))
    return found


def check_same(found: list[Said], expected: list[Said]) -> None:
    def rounded(boxes: list[Said]) -> Counter[Any]:
        return Counter((*names, tuple(round(float(value), 2) + 0.0 for value in place)) for *names, place in boxes)

    assert rounded(found) == rounded(expected)


@pytest.fixture(params=range(8))
def explanations(request: pytest.FixtureRequest, videos: dict[str, Path]) -> list[Explanation]:
    rng = np.random.default_rng(request.param)
    return [at_random(path, rng) for path in videos.values()]


def rows(explanations: Sequence[Explanation]) -> list[tuple[str, str, float, float]]:
    return [(Path(one.path).stem, s.label, s.start, s.end) for one in explanations for s in one.segments]


def test_activitynet(explanations: list[Explanation], tmp_path: Path) -> None:
    (path,) = export(explanations, tmp_path / "segments.json", "activitynet")
    found = read_segments(path)
    assert list(zip(found.videos, found.labels, *found.segments.T, strict=True)) == rows(explanations)
    assert list(found.scores) == [s.score for one in explanations for s in one.segments]
    (path,) = export(explanations, tmp_path / "truth.json", "activitynet-truth")
    truth = read_segment_truth(path)
    table = truth.segments
    assert list(zip(table.videos, table.labels, *table.segments.T, strict=True)) == rows(explanations)
    assert set(json.loads(path.read_text())["database"]) == set(KINDS), "videos without segments too"
    assert {entry["duration"] for entry in json.loads(path.read_text())["database"].values()} == {3.2}


def test_coco(explanations: list[Explanation], tmp_path: Path) -> None:
    path, results = export(explanations, tmp_path / "boxes.json", "coco")
    coco = COCO(str(path))
    names = {entry["id"]: entry["name"] for entry in coco.dataset["videos"]}
    for read in (coco, coco.loadRes(str(results))) if coco.anns else (coco,):
        found = []
        for one in read.anns.values():
            image, (x, y, width, height) = coco.imgs[one["image_id"]], one["bbox"]
            label = coco.cats[one["category_id"]]["name"]
            found.append((names[image["video_id"]], image["frame_index"], label, (x, y, x + width, y + height)))
        check_same(found, said_boxes(explanations))
    for image in coco.imgs.values():
        assert image["time"] == pytest.approx(STAMPS[image["frame_index"]])
        assert (image["width"], image["height"]) == KINDS[names[image["video_id"]]][2]
    looked_at = sum(len(one.times) for one in explanations)
    assert len(coco.imgs) == looked_at == len({image["file_name"] for image in coco.imgs.values()})


def shown_by_cvat(root: ET.Element, frame: int) -> list[tuple[str, tuple[float, ...]]]:
    """CVAT's own rule: between keyframes linear, from a keyframe that is outside nothing until the next."""
    found = []
    for track in root.iter("track"):
        frames = [int(one.attrib["frame"]) for one in track.iter("box")]
        assert frames == sorted(set(frames)), "keyframes rise"
        place = {
            int(one.attrib["frame"]): (
                one.attrib["outside"] == "1",
                np.array([float(one.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr")]),
            )
            for one in track.iter("box")
        }
        before = max((one for one in frames if one <= frame), default=None)
        if before is None or place[before][0]:
            continue
        after = min((one for one in frames if one > before), default=before)
        share = (frame - before) / (after - before) if after > before and not place[after][0] else 0.0
        found.append((track.attrib["label"], tuple((1 - share) * place[before][1] + share * place[after][1])))
    return found


def test_cvat_shows_at_every_frame_that_was_looked_at_what_was_said(
    explanations: list[Explanation], tmp_path: Path
) -> None:
    *written, _ = export(explanations, tmp_path / "cvat", "cvat")
    assert [path.stem for path in written] == list(KINDS)
    found: list[Said] = []
    for one, path in zip(explanations, written, strict=True):
        root = ET.parse(path).getroot()
        for time in one.times:
            frame = int(np.abs(STAMPS - time).argmin())
            found += [(path.stem, frame, *each) for each in shown_by_cvat(root, frame)]
        every = sorted({label for each in explanations for label, _ in each.labels})
        assert [label.findtext("name") for label in root.iter("label")] == every
        assert (root.findtext("meta/task/size"), root.find("track") is None) == (
            str(len(STAMPS)),
            not said_boxes([one]),
        )
    check_same(found, said_boxes(explanations))


def test_via(explanations: list[Explanation], tmp_path: Path) -> None:
    (path,) = export(explanations, tmp_path / "project.json", "via")
    project = json.loads(path.read_text(encoding="utf-8"))
    options = project["attribute"]["1"]["options"]
    segments, boxes = [], []
    for one in project["metadata"].values():
        name = Path(project["file"][one["vid"]]["fname"]).stem
        if len(one["z"]) == 2:
            segments.append((name, options[one["av"]["1"]], *one["z"]))
            continue
        (own, shown), (shape, x, y, width, height) = KINDS[name][2:], one["xy"]
        place = np.array([x, y, x + width, y + height]) * np.tile(np.array(own) / shown, 2)
        assert shape == 2
        frame = int(np.abs(STAMPS - one["z"][0]).argmin())
        boxes.append((name, frame, options[one["av"]["2"]], tuple(place)))
    assert segments == rows(explanations)
    check_same(boxes, said_boxes(explanations))


@pytest.mark.browser
def test_a_browser_finds_the_videos_of_via_and_shows_them_in_that_size(
    videos: dict[str, Path], tmp_path: Path, browser: Any
) -> None:
    whole = [
        Explanation(
            str(path), *KINDS[name][2], 3.2, (("a", 1.0),), (0.0,), (1.0,), (1.0,), np.zeros((1, 2, 2)),
            (0.0, 0.0, 1.0, 1.0), boxes=(Box(0.0, 0, 0, *KINDS[name][2], "a"),),
        )
        for name, path in videos.items()
    ]  # fmt: skip
    (path,) = export(whole, tmp_path / "project.json", "via")
    project = json.loads(path.read_text(encoding="utf-8"))
    (tmp_path / "page.html").write_text("<video></video>", encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    for one in project["metadata"].values():
        file = project["file"][one["vid"]]
        size = page.evaluate(
            """source => new Promise((found, failed) => {
                const video = document.querySelector("video");
                video.onloadedmetadata = () => found([video.videoWidth, video.videoHeight]);
                video.onerror = () => failed(video.error.message);
                video.src = source;
            })""",
            file["src"],
        )
        assert one["xy"] == pytest.approx([2, 0, 0, *size]), file["fname"]
        assert tuple(size) == KINDS[Path(file["fname"]).stem][3]
    page.close()


def test_a_label_that_xml_cannot_hold_is_an_error_and_nothing_is_left(videos: dict[str, Path], tmp_path: Path) -> None:
    def named(path: Path, label: str) -> Explanation:
        return Explanation(
            str(path), 64, 48, 3.2, ((label, 1.0),), (0.0,), (1.0,), (1.0,), np.zeros((1, 2, 2)), (0.0, 0.0, 1.0, 1.0)
        )

    several = [named(videos["plain"], "fine"), named(videos["high"], "bell\x07")]
    with pytest.raises(ExportError, match=r"'bell\\x07' has characters that XML cannot hold; rename"):
        export(several, tmp_path / "cvat", "cvat")
    assert not list(tmp_path.iterdir())
