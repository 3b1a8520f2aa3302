"""The command that watches a stream."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from whenwhere.cli.common import make_parser, say
from whenwhere.errors import WhenwhereError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace
    from rich.console import RenderableType

    from whenwhere.server.live import LiveView
    from whenwhere.streaming import Answer, ReportedEvent, Watcher, WatchOptions

_BARS = "▁▂▃▄▅▆▇█"


def watch_command(arguments: list[str]) -> int:
    parser = make_parser("watch")
    parser.add_argument("source", help="a camera (0 or /dev/video0), an address (rtsp://, http://, udp://), or a file")
    parser.add_argument("--model", type=Path, required=True, help="folder of a run")
    _add_watching(parser)
    _add_events(parser)
    _add_serving(parser)
    parsed = parser.parse_args(arguments)
    try:
        options = _options(parsed)
    except ValueError as error:
        parser.error(str(error))
    from whenwhere.recognizer import load
    from whenwhere.streaming import EventLog, watch

    model = load(parsed.model)
    log = EventLog(parsed.events) if parsed.events else None
    seen_by: list[Callable[[ReportedEvent], None]] = [log.write] if log else []

    def report(event: ReportedEvent) -> None:
        for see in seen_by:
            see(event)

    watcher = watch(parsed.source, model, options, report, say)
    try:
        with _stopping(watcher), _serving(watcher, parsed) as view, _terminal(watcher) as (show, tell):
            if log is None:
                seen_by.append(lambda event: tell(event.line()))
            if view is not None:
                seen_by.append(view.report)
            for answer in watcher:
                if view is not None:
                    view.publish(answer)
                show(answer)
    except BrokenPipeError:  # nobody reads the events any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        say(watcher.statistics.summary())
    return 0


def _add_watching(parser: ArgumentParser) -> None:
    parser.add_argument("--window", type=float, help="seconds the model looks at; default: as it was trained, or 4")
    parser.add_argument("--rate", type=float, default=2.0, help="answers a second, at most")
    parser.add_argument("--loop", action="store_true", help="play a file again and again")
    parser.add_argument("--retries", type=int, help="how often in a row to try a lost source again; default: for ever")


def _add_events(parser: ArgumentParser) -> None:
    parser.add_argument("--events", type=Path, help="file to append events to, a JSON line each; default: stdout")
    parser.add_argument("--start", type=float, default=0.6, help="probability from which on a label is an event")
    parser.add_argument("--end", type=float, default=0.4, help="probability below which the event ends")
    parser.add_argument("--shortest", type=float, default=1.0, help="seconds for which a label must hold")
    parser.add_argument("--ignore", nargs="*", default=["background"], help="labels that are never an event")
    parser.add_argument("--clips", type=Path, help="folder for a clip of each event")
    parser.add_argument("--before", type=float, default=2.0, help="seconds a clip shows before its event")
    parser.add_argument("--after", type=float, default=2.0, help="seconds it shows after it")
    parser.add_argument("--longest", type=float, default=60.0, help="seconds of a clip, at most")


def _add_serving(parser: ArgumentParser) -> None:
    parser.add_argument("--serve", action="store_true", help="show the same in a browser")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve at; the default is for this machine only")
    parser.add_argument("--port", type=int, default=8001, help="port to serve at; 0: a free one")
    parser.add_argument(
        "--token", help="serve only to who knows it; better in the environment variable WHENWHERE_TOKEN"
    )
    parser.add_argument("--allowed_hosts", nargs="*", default=[], help="further names it may be asked for under")


def _options(parsed: Namespace) -> WatchOptions:
    from whenwhere.streaming import ClipOptions, EventOptions, SourceOptions, WatchOptions

    return WatchOptions(
        window=parsed.window,
        rate=parsed.rate,
        source=SourceOptions(loop=parsed.loop, retries=parsed.retries),
        events=EventOptions(parsed.start, parsed.end, parsed.shortest, tuple(parsed.ignore)),
        clips=ClipOptions(parsed.clips, parsed.before, parsed.after, parsed.longest) if parsed.clips else None,
    )


@contextlib.contextmanager
def _stopping(watcher: Watcher) -> Iterator[None]:
    """The first signal ends the stream, so that files are finished; a second one ends the program."""
    before: dict[int, signal._HANDLER] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: object) -> None:
        restore()
        watcher.stop()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        restore()


@contextlib.contextmanager
def _serving(watcher: Watcher, parsed: Namespace) -> Iterator[LiveView | None]:
    if not parsed.serve:
        yield None
        return
    try:
        from whenwhere.server.live import LiveView, serve_live
        from whenwhere.server.options import ServerOptions
    except ImportError as error:
        raise WhenwhereError(f"--serve needs {error.name}; install it with: pip install 'whenwhere[serve]'") from error
    view, token = LiveView(watcher), parsed.token or os.environ.get("WHENWHERE_TOKEN")
    options = ServerOptions(parsed.host, parsed.port, token, tuple(parsed.allowed_hosts))
    with serve_live(view, options) as address:
        say(f"live at {address}" + (f"?token={token}" if token and sys.stderr.isatty() else ""))
        if parsed.host not in ("127.0.0.1", "::1", "localhost") and not token:
            say("whoever reaches this machine can see the stream; --token keeps strangers out")
        yield view


@contextlib.contextmanager
def _terminal(watcher: Watcher) -> Iterator[tuple[Callable[[Answer], None], Callable[[str], None]]]:
    """What shows an answer, and what prints a line.

    Where stdout is a terminal, answers are a view that redraws itself; else stdout is for lines only.
    """
    if not sys.stdout.isatty():
        yield lambda answer: None, lambda line: print(line, flush=True)
        return
    from rich.console import Console
    from rich.live import Live

    newest: list[Answer] = []
    console = Console()
    with Live(
        console=console,
        get_renderable=lambda: terminal_view(watcher, newest[-1] if newest else None),
        refresh_per_second=4,
    ):
        yield (
            lambda answer: newest.__setitem__(slice(None), [answer]),
            # Wrapped by the terminal, not by rich, whose line breaks would be copied along.
            lambda line: console.print(line, soft_wrap=True, markup=False, highlight=False),
        )


def terminal_view(watcher: Watcher, answer: Answer | None) -> RenderableType:
    """Label, bar, importance over the window, and how well the watcher keeps up."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    statistics = watcher.statistics
    latency = f"{1000 * statistics.percentile(95):.0f} ms" if statistics.latencies else "-"
    foot = Text(
        f"{watcher.source.name}  {watcher.state}  {watcher.frames_a_second:.1f} frames/s  "
        f"dropped {statistics.dropped}  "
        + (f"not decoded {statistics.skipped}  " if statistics.skipped else "")
        + f"latency p95 {latency}  events {statistics.events}",
        style="dim",
    )
    if answer is None:
        return foot
    table = Table.grid(padding=(0, 2))
    for name, probability in answer.labels[:3]:
        filled = round(24 * probability)
        table.add_row(Text(name), Text("█" * filled + "░" * (24 - filled)), f"{probability:.0%}")
    table.add_row("importance", sparkline(answer.importance.tolist()), f"event: {answer.event}" if answer.event else "")
    return Group(table, foot)


def sparkline(values: list[float]) -> str:
    """Values at least 0 as bars, relative to the greatest."""
    greatest = max(values, default=0.0)
    if greatest <= 0:
        return _BARS[0] * len(values)
    return "".join(_BARS[round(value / greatest * (len(_BARS) - 1))] for value in values)
