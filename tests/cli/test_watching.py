"""The command as a process of its own, ended by real signals."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from datetime import datetime
from pathlib import Path

import pytest
from watching import FRAMES, check_consecutive, frame_number, make_run, write_numbered

from whenwhere.cli import main
from whenwhere.cli.watching import sparkline
from whenwhere.video import iter_frames

WATCH = [sys.executable, "-m", "whenwhere.cli", "watch"]
SURE = ["--start", "0.01", "--end", "0.01", "--shortest", "0.2", "--rate", "5", "--window", str(FRAMES / 10)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("watched") / "run")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("clips") / "numbered.mp4", 30)


def test_a_file_is_watched_to_its_end(run: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(clip), "--model", str(run), *SURE]) == 0
    printed = capsys.readouterr()
    (line,) = printed.out.splitlines()
    event = json.loads(line)
    assert event["source"] == str(clip)
    assert 0 <= event["start"] <= event["end"] < 3
    assert datetime.fromisoformat(event["end_utc"]) >= datetime.fromisoformat(event["start_utc"])
    assert printed.err.startswith("30 frames, ")
    assert "1 events" in printed.err


def test_what_is_wrong_is_said_in_a_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(tmp_path / "no.mp4"), "--model", str(run)]) == 1
    assert "no.mp4: no such file" in capsys.readouterr().err
    assert main(["watch", "77", "--model", str(run), "--retries", "0"]) == 1
    assert "/dev/video77" in capsys.readouterr().err
    for wrong, said in [
        (["--rate", "0"], "rate must be a positive number"),
        (["--start", "0.2", "--end", "0.5"], "0 < end <= start <= 1"),
        (["--retries", "-1"], "retries must be at least 0"),
        (["--clips", str(tmp_path), "--before", "-1"], "before, after >= 0"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            main(["watch", "a.mp4", "--model", str(run), *wrong])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_whole_files(run: Path, clip: Path, tmp_path: Path, number: signal.Signals) -> None:
    log, clips = tmp_path / "events.jsonl", tmp_path / "clips"
    command = [*WATCH, str(clip), "--model", str(run), "--loop", *SURE, "--events", str(log), "--clips", str(clips)]
    process = subprocess.Popen(
        [*command, "--before", "0.1", "--after", "30", "--serve", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    address = process.stderr.readline().removeprefix("live at ").strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/live", address)
    deadline = time.monotonic() + 60
    while not list(clips.glob("*.partial")) and time.monotonic() < deadline:  # a clip is being written
        time.sleep(0.05)
    assert not log.exists() or log.read_text() == ""  # the event goes on
    with urllib.request.urlopen(address.replace("/live", "/live/events"), timeout=10) as viewer:  # somebody looks
        assert viewer.readline().startswith(b"event: ")
        time.sleep(1.0)
        process.send_signal(number)
        errors = process.communicate(timeout=30)[1]
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert re.search(r"\d+ frames, \d+ through the backbone", errors)
    (event,) = [json.loads(line) for line in log.read_text().splitlines()]
    (written,) = list(clips.iterdir())
    assert Path(event["clip"]) == written
    shown = [frame_number(image) for _, image in iter_frames(written)]
    assert len(shown) >= 10
    check_consecutive(shown)


@pytest.mark.slow
def test_events_can_be_piped_to_who_stops_reading(run: Path, clip: Path) -> None:
    command = [*WATCH, str(clip), "--model", str(run), *SURE]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


@pytest.mark.slow
def test_a_terminal_shows_how_it_goes(run: Path, clip: Path) -> None:
    """Through a real pseudo-terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "40"}
    process = subprocess.Popen([*WATCH, str(clip), "--model", str(run), *SURE], stdout=theirs, env=environment)
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                read = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not read:
                break
            shown += read
    assert process.wait(timeout=30) == 0
    os.close(ours)
    text = shown.decode(errors="replace")
    assert "importance" in text
    assert re.search(r"numbered\.mp4 +(playing|ended|filling)", text)
    assert re.search(r"dropped \d+", text)
    (line,) = [line for line in text.splitlines() if '"label"' in line]  # longer than the terminal
    event = json.loads(line[line.index("{") :])
    assert f"event: {event['label']}" in text


def test_a_sparkline_is_relative_to_its_greatest() -> None:
    assert sparkline([0.0, 0.1, 0.2]) == "▁▅█"
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([]) == ""
