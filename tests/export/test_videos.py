"""Which video an explanation is of: names of their own, folders that moved, another video in its place."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from pycocotools.coco import COCO

from whenwhere.export import ExportError, export
from whenwhere.export.videos import exported
from whenwhere.rendering.filmstrip import moved
from whenwhere.structures import Box, Explanation, Segment


def write_video(path: Path, frames: int = 4, first: int = 0, sound: bool = False) -> Path:
    """Frames a tenth of a second apart, the first ``first`` tenths after the sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = Fraction(1, 10)
        voice = container.add_stream("aac", rate=16000) if sound else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = first + number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if voice is not None:
            for start in range(0, 32000, 1024):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.sample_rate, silence.pts, silence.time_base = 16000, start, Fraction(1, 16000)
                container.mux(voice.encode(silence))
            container.mux(voice.encode())
    return path


def said_of(path: Path, frames: int = 4) -> Explanation:
    """One segment and one box in the video's second frame."""
    return Explanation(
        path=str(path), width=64, height=48, duration=frames / 10, labels=(("run", 1.0),), times=(0.0, 0.1),
        importance=(0.5, 0.5), weights=(0.5, 0.5), masks=np.zeros((2, 2, 2)), mask_area=(0.0, 0.0, 64.0, 48.0),
        segments=(Segment(0.1, 0.3, "run", 0.5),), boxes=(Box(0.1, 10, 10, 20, 30, "run", 0.5),),
    )  # fmt: skip


def lengths(several: list[Explanation], tmp_path: Path, videos: Path) -> list[int]:
    path, _ = export(several, tmp_path / "boxes.json", "coco", videos=videos)
    return [entry["length"] for entry in json.loads(path.read_text())["videos"]]


def test_videos_that_differ_in_the_suffix_alone_stay_two(tmp_path: Path) -> None:
    several = [said_of(write_video(tmp_path / "in" / f"1.{suffix}")) for suffix in ("mp4", "mkv")]
    assert len({video.name for video in exported(several)}) == 2
    written = export(several, tmp_path / "cvat", "cvat")
    assert len({path for path in written if path.suffix == ".xml"}) == 2
    (path,) = export(several, tmp_path / "truth.json", "activitynet-truth")
    assert len(json.loads(path.read_text())["database"]) == 2


def test_one_video_by_two_paths_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "1.mp4")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match="several explanations of"):
        exported([said_of(path), replace(said_of(path), path="1.mp4")])


@pytest.mark.parametrize("new", ["whole", "whole/videos"])
def test_folders_that_moved_are_searched_by_the_whole_path(tmp_path: Path, new: str) -> None:
    """Two videos of one name: each is found, not the same for both."""
    for folder, frames in (("run", 4), ("walk", 7)):
        write_video(tmp_path / "whole" / "videos" / folder / "1.mp4", frames)
    gone = tmp_path / "gone" / "videos"
    several = [said_of(gone / "run" / "1.mp4", 4), said_of(gone / "walk" / "1.mp4", 7)]
    assert lengths(several, tmp_path, tmp_path / new) == [4, 7]
    assert [moved(one, tmp_path / new).parent.name for one in several] == ["run", "walk"]


def test_a_flat_folder_cannot_hold_two_videos_of_one_name(tmp_path: Path) -> None:
    write_video(tmp_path / "flat" / "1.mp4")
    several = [said_of(tmp_path / "gone" / folder / "1.mp4") for folder in ("run", "walk")]
    with pytest.raises(ExportError, match=r"run/1\.mp4 and .*walk/1\.mp4 would both be .*flat/1\.mp4"):
        export(several, tmp_path / "boxes.json", "coco", videos=tmp_path / "flat")


def test_a_video_of_another_length_is_another_one(tmp_path: Path) -> None:
    path = write_video(tmp_path / "1.mp4", frames=30)
    with pytest.raises(ExportError, match=r"lasts 3\.00 s, the video that was explained 0\.40 s: it is another one"):
        export([said_of(path)], tmp_path / "boxes.json", "coco")


STARTS = [(0, False, 0.0), (15, False, 1.5), (15, True, 1.5), (0, True, 0.0)]


@pytest.mark.parametrize("first, sound, shift", STARTS)
def test_a_picture_that_starts_late(tmp_path: Path, first: int, sound: bool, shift: float) -> None:
    """VIA counts on the player's clock; all others number frames."""
    one = said_of(write_video(tmp_path / "1.mp4", first=first, sound=sound))
    (path,) = export([one], tmp_path / "via.json", "via")
    segment, box = (entry["z"] for entry in json.loads(path.read_text())["metadata"].values())
    assert segment == pytest.approx([0.1 + shift, 0.3 + shift], abs=0.03)
    assert box == pytest.approx([0.1 + shift], abs=0.03)
    coco = COCO(str(export([one], tmp_path / "boxes.json", "coco")[0]))
    assert [coco.imgs[each["image_id"]]["frame_index"] for each in coco.anns.values()] == [1]


@pytest.mark.browser
def test_a_browser_shows_the_frame_of_a_box_at_its_time(tmp_path: Path, browser: Any) -> None:
    (tmp_path / "page.html").write_text("<video muted></video>", encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    for first, sound, _ in STARTS:
        one = said_of(write_video(tmp_path / f"{first}{sound}.mp4", first=first, sound=sound))
        (path,) = export([one], tmp_path / "via.json", "via")
        project = json.loads(path.read_text())
        (time,) = list(project["metadata"].values())[1]["z"]
        shown = page.evaluate(
            """async ([source, time]) => {
                const video = document.querySelector("video");
                let shown;
                const watch = (_, frame) => {
                    shown = frame.mediaTime;
                    video.requestVideoFrameCallback(watch);
                };
                video.requestVideoFrameCallback(watch);
                video.src = source;
                await new Promise(done => { video.onloadeddata = done; });
                video.currentTime = time + 0.05;
                await new Promise(done => { video.onseeked = done; });
                for (let left = 100; left && !(Math.abs(shown - time) <= 0.03); left -= 1)
                    await new Promise(done => setTimeout(done, 50));
                return shown;
            }""",
            [project["file"]["1"]["src"], time],
        )
        assert shown == pytest.approx(time, abs=0.03), (first, sound)
    page.close()


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60000, 1001)])
def test_frames_of_broadcast_rates_keep_their_numbers(tmp_path: Path, rate: Fraction) -> None:
    path, count = tmp_path / "1.mp4", 400
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (video,) = exported([said_of(path, round(10 * count / rate))])
    assert video.info.fps == pytest.approx(float(rate), rel=1e-3)
    assert [video.frame(float(number / rate)) for number in range(count)] == list(range(count))
