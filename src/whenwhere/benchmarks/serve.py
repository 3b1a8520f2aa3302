"""Many clients at once against one server: is every answer the right one, and does its memory stay flat?"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np
from rich.table import Table

from whenwhere.benchmarks.explain import untrained
from whenwhere.client import Client, ClientError
from whenwhere.errors import WhenwhereError
from whenwhere.features.backbone import BackboneOptions
from whenwhere.recognizer import load
from whenwhere.structures import Explanation
from whenwhere.training.checkpoint import save_model
from whenwhere.video import write_video

CLIPS, FPS = 24, 10.0
WARM = 0.2  # share of the time after which memory counts
MEMORY_BAR = 1.1
_BUSY = (429, 503)
_WAIT = 600.0  # seconds for one clip


def untrained_run(folder: Path) -> Path:
    """A small model as it is drawn, in a folder as training leaves one: what it says takes as long to say."""
    recognizer = untrained(BackboneOptions(name="resnet18", weights="random", size=112))
    assert recognizer.network.backbone is not None
    folder.mkdir(parents=True, exist_ok=True)
    identity = recognizer.network.backbone.identity
    save_model(folder, recognizer.network, replace(recognizer.record, backbone_identity=identity))
    return folder


def distinct_clips(folder: Path) -> list[Path]:
    """Clips of which no two have the same size and duration, so that an answer to another one is found out."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(CLIPS):
        width, height, frames = 96 + 16 * (index % 6), 64 + 16 * (index % 4), 16 + 2 * index
        generator = np.random.default_rng(index)
        picture = generator.integers(0, 255, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        paths.append(folder / f"{index}.mp4")
        write_video(paths[-1], (np.roll(picture, 3 * i, axis=index % 2) for i in range(frames)), FPS, preset="veryfast")
    return paths


@dataclass
class _Tally:
    """What all clients together saw."""

    done: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def benchmark_serve(run: Path | None = None, seconds: float = 300.0, parallel: int = 20) -> dict[str, float]:
    """Send clips from ``parallel`` clients for a while, and compare every answer with the one `explain` gives.

    Args:
        run: folder of a run; None: a small model as it is drawn.
        seconds: in which clips are sent; those that are under way are then waited for.
        parallel: clients, each of which sends its next clip when it has the answer to the last.

    Returns:
        ``done``, ``refused_429``, ``refused_503``, ``lost``, ``mixed_up``; seconds from the first attempt to send to
        the answer ``p50``, ``p95``; ``clips_per_second``; bytes of the server's process after warming up and at the
        end ``memory_warm``, ``memory_end``, and of it with all its processes, ``memory_all_most``.

    Raises:
        WhenwhereError: the server does not start.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = run or untrained_run(folder / "run")
        clips = distinct_clips(folder / "clips")
        recognizer = load(run)
        expected = {clip.name: recognizer.explain(clip) for clip in clips}
        tally, lock = _Tally(), threading.Lock()
        with _server(run, folder) as (address, pid):
            began = time.monotonic()
            memory = _Memory(pid)
            threads = [
                threading.Thread(target=_ask, args=(address, clips, expected, began + seconds, number, tally, lock))
                for number in range(parallel)
            ]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                memory.sample()
                time.sleep(1)
            spent = time.monotonic() - began
    for sentence in [*tally.lost, *tally.mixed][:10]:
        print(sentence, file=sys.stderr)
    warm, end = memory.warm_and_end()
    return {
        "done": tally.done,
        "refused_429": tally.refused[429],
        "refused_503": tally.refused[503],
        "lost": len(tally.lost),
        "mixed_up": len(tally.mixed),
        "p50": float(np.percentile(tally.seconds, 50)) if tally.seconds else float("nan"),
        "p95": float(np.percentile(tally.seconds, 95)) if tally.seconds else float("nan"),
        "clips_per_second": tally.done / spent,
        "memory_warm": warm,
        "memory_end": end,
        "memory_all_most": memory.all_most,
    }


@contextmanager
def _server(run: Path, folder: Path) -> Iterator[tuple[str, int]]:
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "whenwhere.cli", "serve", f"--model={run}", "--port=0", "--queue=12"],
            stdout=file,
            stderr=file,
        )
    try:
        while not (found := re.search(r"at (http://\S+:\d+)/", log.read_text())):
            if process.poll() is not None:
                raise WhenwhereError(f"the server does not start: {log.read_text()}")
            time.sleep(0.1)
        yield found[1], process.pid
    finally:
        process.terminate()
        process.wait()


def _ask(
    address: str,
    clips: list[Path],
    expected: dict[str, Explanation],
    until: float,
    number: int,
    tally: _Tally,
    lock: threading.Lock,
) -> None:
    """One client: sends one clip after the other and judges each answer."""
    client, draw = Client(address), random.Random(number)
    while time.monotonic() < until:
        clip, began = draw.choice(clips), time.monotonic()
        try:
            clip_id = _send(client, clip, tally, lock)
            while (status := client.status(clip_id))["state"] not in ("done", "failed"):
                if time.monotonic() - began > _WAIT:
                    raise ClientError(f"{clip.name}: no answer")
                time.sleep(0.25)
            if status["state"] == "failed":
                raise ClientError(f"{clip.name}: {status['error']['message']}")
            answer = client.explanation(clip_id)
            client.delete(clip_id)
        except ClientError as error:
            with lock:
                tally.lost.append(f"lost: {error}")
            continue
        with lock:
            tally.done += 1
            tally.seconds.append(time.monotonic() - began)
            if not same(answer, expected[clip.name]):
                tally.mixed.append(f"mixed up: {clip.name} was answered with {answer.path}, {answer.duration} s")


def _send(client: Client, clip: Path, tally: _Tally, lock: threading.Lock) -> str:
    began = time.monotonic()
    while True:
        try:
            return client.send(clip)
        except ClientError as error:
            if error.status not in _BUSY or time.monotonic() - began > _WAIT:
                raise
            with lock:
                tally.refused[error.status] += 1
            time.sleep(error.retry_after or 1)


def same(answer: Explanation, expected: Explanation) -> bool:
    """Whether two explanations are of one clip and say the same; frames of other clips in a batch may round apart."""
    return (
        answer.path == Path(expected.path).name
        and (answer.width, answer.height, answer.times) == (expected.width, expected.height, expected.times)
        and abs(answer.duration - expected.duration) < 1e-6
        and np.allclose([score for _, score in answer.labels], [score for _, score in expected.labels], atol=1e-3)
        and np.allclose(answer.importance, expected.importance, atol=1e-3)
        and np.allclose(answer.masks, expected.masks, atol=1e-3)
    )


class _Memory:
    """Of a process and of all it started, over time, in bytes."""

    def __init__(self, pid: int) -> None:
        self.pid, self.own, self.all_most = pid, list[int](), 0.0

    def sample(self) -> None:
        self.own.append(_resident(self.pid))
        self.all_most = max(self.all_most, sum(map(_share, _family(self.pid))))

    def warm_and_end(self) -> tuple[float, float]:
        """Medians over a tenth of the samples after warming up, and over the last tenth."""
        tenth, warm = max(1, len(self.own) // 10), int(WARM * len(self.own))
        return median(self.own[warm : warm + tenth]), median(self.own[-tenth:])


def _family(pid: int) -> list[int]:
    try:
        own = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(other for child in own for other in _family(int(child)))]


def _resident(pid: int) -> int:
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmRSS")


def _share(pid: int) -> int:
    """What a process has, with pages that several have divided among them."""
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss")


def _kilobytes(path: Path, name: str) -> int:
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    except OSError:  # it has ended
        return 0
    return 1024 * int(found[1]) if found else 0


def format_serve(result: dict[str, float]) -> Table:
    """The result of :func:`benchmark_serve` for a terminal."""
    table = Table("", "", "", title="Many clients at once")
    wrong = result["lost"] + result["mixed_up"]
    growth = result["memory_end"] / max(result["memory_warm"], 1)
    table.add_row("clips answered", f"{result['done']:.0f}", f"{result['clips_per_second']:.2f} a second")
    table.add_row("lost, mixed up", f"{result['lost']:.0f}, {result['mixed_up']:.0f}", "missed" if wrong else "met")
    table.add_row("told to wait (429, 503)", f"{result['refused_429']:.0f}, {result['refused_503']:.0f}", "")
    table.add_row("seconds to the answer", f"{result['p50']:.1f}", f"95 %: {result['p95']:.1f}")
    table.add_row(
        "memory after warming up, at the end",
        f"{result['memory_warm'] / 1e6:.0f} MB, {result['memory_end'] / 1e6:.0f} MB",
        f"{growth:.2f} (<= {MEMORY_BAR}) {'met' if growth <= MEMORY_BAR else 'missed'}",
    )
    table.add_row("memory of all processes, at most", f"{result['memory_all_most'] / 1e6:.0f} MB", "")
    return table
