"""Watch a looped clip for as long as asked: memory, latency, and a source that is killed in the middle."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import Popen

import numpy as np
from rich.table import Table

from whenwhere.benchmarks.explain import make_clip, untrained
from whenwhere.benchmarks.stream_server import free_port, start_server
from whenwhere.features.backbone import BackboneOptions
from whenwhere.recognizer import Recognizer
from whenwhere.streaming import ClipOptions, EventOptions, SourceOptions, Watcher, WatchOptions, watch

WINDOW, FRAMES = 2.0, 50  # 25 frames a second: every frame of the clip is looked at
SMALL = BackboneOptions(weights="glyphs")  # 0.3 million parameters, 64 pixels
_SETTLED = 0.1  # share of the time after which a new connection counts as warm
_AWAY = 5.0  # seconds for which the killed source is gone


def resident() -> float:
    """Memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class _Server:
    """A stream that is killed after some time, and comes back."""

    def __init__(self, clip: Path, kill_after: float) -> None:
        self._clip, self._port = clip, free_port()
        self.address = f"http://127.0.0.1:{self._port}/"
        self._process: Popen[bytes] = start_server(clip, self._port)
        self._timer = threading.Timer(kill_after, self._kill)
        self._timer.daemon = True
        self._timer.start()

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
        time.sleep(_AWAY)
        self._process = start_server(self._clip, self._port)

    def close(self) -> None:
        self._timer.cancel()
        self._process.kill()
        self._process.wait()


def benchmark_watch(
    seconds: float = 600.0,
    videos: Sequence[Path] = (),
    model: Recognizer | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> dict[str, float]:
    """Watch ten seconds of video again and again, sent by a server that is killed half-way and comes back.

    Args:
        seconds: how long.
        videos: real ones to take the frames from; none: a drawn pattern.
        model: None: an untrained head on the small backbone of the rendered clips; 50 frames in two seconds.
        log: told how it goes on.

    Returns:
        ``decoded``, ``picked``, ``backbone`` (inputs that a hook on the backbone counted), ``looked_at``, ``dropped``,
        ``skipped``, ``answers``, ``reconnections``, ``clips``; ``processor``, seconds of processor time a second;
        ``memory_warm`` after a tenth of the time, ``memory_end``, ``memory_most`` (MB); ``growth_before`` and
        ``growth_after``, MB from warm-up to the loss and from the return to the end, by straight lines through the
        readings (a new connection itself takes a few MB once); ``latency_p50``, ``latency_p95``, of an
        answer's newest frame, and ``wait_p50``, ``wait_p95``, of every frame (seconds).
    """
    model = model or untrained(SMALL, FRAMES)
    counted = [0]
    backbone = model.network.backbone
    assert backbone is not None
    hook = backbone.register_forward_hook(
        lambda module, given, made: counted.__setitem__(0, counted[0] + len(given[0]))
    )
    with tempfile.TemporaryDirectory() as folder:
        server = _Server(make_clip(Path(folder) / "clip.mp4", videos), seconds / 2)
        options = WatchOptions(
            window=WINDOW,
            source=SourceOptions(first_wait=0.5, longest_wait=2.0),
            events=EventOptions(start=0.01, end=0.01, shortest=1.0),  # one event all the time: clips are written, too
            clips=ClipOptions(Path(folder) / "clips", longest=30.0),
        )
        watcher = watch(server.address, model, options, log=log)
        before = time.process_time()
        try:
            readings = _watch_for(watcher, seconds, log)
            processor = (time.process_time() - before) / float(readings[-1, 0])
        finally:
            server.close()
            hook.remove()
        clips = len(list((Path(folder) / "clips").glob("*.mp4")))
    return _result(watcher, readings, counted[0], processor) | {"clips": clips}


def _watch_for(watcher: Watcher, seconds: float, log: Callable[[str], None]) -> np.ndarray:
    """`(N, 2)` seconds and MB, a reading every hundredth of the time."""
    start = time.monotonic()
    readings: list[tuple[float, float]] = []
    ending = threading.Timer(seconds, watcher.stop)
    ending.daemon = True
    ending.start()
    for _ in watcher:
        spent = time.monotonic() - start
        if not readings or spent - readings[-1][0] >= seconds / 100:
            readings.append((spent, resident()))
            if len(readings) % 10 == 0:
                log(f"{spent:.0f} s: {readings[-1][1]:.0f} MB. {watcher.statistics.summary()}")
    ending.cancel()
    readings.append((time.monotonic() - start, resident()))
    return np.array(readings)


def _result(watcher: Watcher, readings: np.ndarray, counted: int, processor: float) -> dict[str, float]:
    statistics = watcher.statistics
    warm = readings[readings[:, 0] >= readings[-1, 0] / 10]
    half = readings[-1, 0] / 2
    away = half + _SETTLED * readings[-1, 0]
    return {
        "seconds": float(readings[-1, 0]),
        "processor": processor,
        "decoded": statistics.decoded,
        "picked": statistics.picked,
        "backbone": counted,
        "looked_at": statistics.looked_at,
        "dropped": statistics.dropped,
        "skipped": statistics.skipped,
        "answers": statistics.answers,
        "reconnections": statistics.reconnections,
        "memory_warm": float(warm[0, 1]),
        "memory_end": float(warm[-1, 1]),
        "memory_most": float(readings[:, 1].max()),
        "growth_before": _growth(warm[warm[:, 0] < half]),
        "growth_after": _growth(warm[warm[:, 0] > away]),
        "latency_p50": statistics.percentile(50),
        "latency_p95": statistics.percentile(95),
        "wait_p50": statistics.percentile(50, "waits"),
        "wait_p95": statistics.percentile(95, "waits"),
    }


def _growth(readings: np.ndarray) -> float:
    """MB by a straight line through readings `(N, 2)`, seconds and MB."""
    if len(readings) < 2:
        return 0.0
    return float(np.polyfit(readings[:, 0], readings[:, 1], 1)[0] * np.ptp(readings[:, 0]))


def format_watch(result: dict[str, float]) -> Table:
    """The result as a table."""
    table = Table(title=f"watch, {result['seconds']:.0f} s")
    table.add_column("measure")
    table.add_column("value", justify="right")
    once = "each once" if result["backbone"] == result["looked_at"] else "NOT once each"
    for name, value in [
        ("frames decoded", f"{result['decoded']:.0f}"),
        ("of these to be looked at", f"{result['picked']:.0f}"),
        ("through the backbone", f"{result['backbone']:.0f} ({once})"),
        ("dropped", f"{result['dropped']:.0f}"),
        ("not decoded", f"{result['skipped']:.0f}"),
        ("answers", f"{result['answers']:.0f}"),
        ("reconnections", f"{result['reconnections']:.0f}"),
        ("clips written", f"{result['clips']:.0f}"),
        ("memory after warm-up", f"{result['memory_warm']:.0f} MB"),
        ("memory at the end", f"{result['memory_end']:.0f} MB"),
        ("growth until the loss / after it", f"{result['growth_before']:+.1f} / {result['growth_after']:+.1f} MB"),
        ("processor time", f"{result['processor']:.2f} of a core"),
        ("latency of the newest frame, p50 / p95", _milliseconds(result, "latency")),
        ("latency of every frame, p50 / p95", _milliseconds(result, "wait")),
    ]:
        table.add_row(name, value)
    return table


def _milliseconds(result: dict[str, float], name: str) -> str:
    return f"{1000 * result[f'{name}_p50']:.0f} / {1000 * result[f'{name}_p95']:.0f} ms"
