"""Flow of whole sets: once, in parallel, and whatever happens in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from moving import write_moving

from whenwhere.cli import main
from whenwhere.datasets.flow import compute_flows
from whenwhere.datasets.manifest import ManifestError, read_clips, write_clips
from whenwhere.structures import Clip
from whenwhere.video import FlowOptions, VideoError, flow_record, probe

pytest.importorskip("cv2", reason="OpenCV is not installed")
DIS = FlowOptions(method="dis")


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Three videos, a copy of the first under another name, one that is none and one that is not there."""
    folder = tmp_path / "videos"
    folder.mkdir()
    paths = [write_moving(folder / f"{number}.mp4", count=4 + number) for number in range(3)]
    (folder / "copy.mp4").write_bytes(paths[0].read_bytes())
    (folder / "broken.mp4").write_bytes(b"no video")
    names = ["0.mp4", "1.mp4", "2.mp4", "copy.mp4", "broken.mp4", "gone.mp4"]
    return [Clip(str(folder / name), label="ab"[number % 2]) for number, name in enumerate(names)]


def times(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*.flow"))}


def test_broken_clips_are_reported_and_the_others_done(clips: list[Clip], tmp_path: Path) -> None:
    result = compute_flows(clips, tmp_path / "flow", DIS)
    assert (result.computed, result.known, result.fields) == (3, 0, 3 + 4 + 5)
    causes = {Path(path).name: cause for path, cause in result.broken}
    assert sorted(causes) == ["broken.mp4", "gone.mp4"]
    assert "cannot be opened as a video" in causes["broken.mp4"]
    assert result.manifest == tmp_path / "flow/clips.csv"
    read = read_clips(result.manifest)
    assert [(Path(clip.path).resolve(), clip.label) for clip in read] == [
        (Path(clip.path).resolve(), clip.label) for clip in clips
    ]
    assert [clip.flow is None for clip in read] == [False] * 4 + [True] * 2
    assert read[0].flow == read[3].flow, "the same bytes, the same flow"
    assert [len(probe(str(clip.flow)).timestamps) for clip in read[:3]] == [3, 4, 5]
    assert flow_record(str(read[0].flow)).options == DIS
    assert result.size == sum(path.stat().st_size for path in (tmp_path / "flow").rglob("*.flow"))


def test_what_is_done_is_not_done_again_and_other_options_are(clips: list[Clip], tmp_path: Path) -> None:
    folder = tmp_path / "flow"
    compute_flows(clips, folder, DIS)
    before = times(folder)
    Path(clips[0].path).rename(tmp_path / "renamed.mp4")
    clips = [Clip(str(tmp_path / "renamed.mp4"), label="a"), *clips[1:]]
    again = compute_flows(clips, folder, DIS)
    assert (again.computed, again.known, times(folder)) == (0, 3, before)
    write_moving(Path(clips[1].path), count=9)
    changed = compute_flows(clips, folder, DIS)
    assert (changed.computed, changed.fields) == (1, 8)
    assert compute_flows(clips, folder, FlowOptions(method="dis", stride=2)).computed == 3
    assert before.items() <= times(folder).items()


def test_half_written_files_do_not_count(clips: list[Clip], tmp_path: Path) -> None:
    folder = tmp_path / "flow"
    whole = compute_flows(clips[:2], folder, DIS)
    file = Path(str(read_clips(whole.manifest)[0].flow))
    content = file.read_bytes()
    file.with_name(file.name + ".partial").write_bytes(content[: len(content) // 2])
    file.unlink()
    assert compute_flows(clips[:2], folder, DIS).computed == 1
    assert file.read_bytes() == content
    assert not list(folder.rglob("*.partial"))


def test_nothing_readable_is_an_error(clips: list[Clip], tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"none of the 2 clips can be read; the first: .*broken"):
        compute_flows(clips[4:], tmp_path / "flow", DIS)


def test_without_its_library_no_clip_is_called_broken(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ManifestError, match=r"whenwhere\[flow\]"):
        compute_flows(clips, tmp_path / "flow", DIS)


def test_the_command_says_what_it_did(clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clips(clips, tmp_path / "all.csv")
    out = tmp_path / "flow"
    arguments = ["flow", "--data", str(tmp_path / "all.csv"), "--out", str(out), "--method", "dis", "--workers", "1"]
    assert main([*arguments, "--size", "64"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(out / "clips.csv")
    assert "2 clips could not be read" in said.err
    assert "3 files computed, 12 fields in" in said.err
    assert "0 were there; 2 clips broken" in said.err
    assert flow_record(str(read_clips(out / "clips.csv")[0].flow)).height == 64
    assert main([*arguments, "--size", "huge"]) == 1
    assert "size must be WIDTHxHEIGHT" in capsys.readouterr().err


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    clips = [Clip(str(write_moving(tmp_path / f"{n}.mp4", count=20 + n, motion=(0, 0))), "a") for n in range(12)]
    write_clips(clips, tmp_path / "all.csv")
    out = tmp_path / "flow"
    command = [sys.executable, "-m", "whenwhere.cli", "flow", "--data", str(tmp_path / "all.csv"), "--out", str(out)]
    command += ["--method", "dis", "--size", "256", "--workers", "2"]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(times(out)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = children(run.pid)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    done = times(out)
    assert 2 <= len(done) < len(clips), "killed in the middle"
    assert workers
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers)), "workers end with the run that started them"
    done = times(out)
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{len(clips) - len(done)} files computed" in finished.stderr
    assert f"{len(done)} were there" in finished.stderr
    after = times(out)
    assert len(after) == len(clips)
    assert done.items() <= after.items(), "what was done is not done again"
    assert not list(out.rglob("*.partial"))
    assert [len(probe(str(clip.flow)).timestamps) for clip in read_clips(out / "clips.csv")] == list(range(19, 31))
