"""Commands that show what a model sees."""

from __future__ import annotations

from pathlib import Path

from whenwhere.cli.common import FAILED, make_parser, say


def explain_command(arguments: list[str]) -> int:
    parser = make_parser("explain")
    parser.add_argument("videos", nargs="+", help="video files, folders or globs")
    parser.add_argument("--model", type=Path, required=True, help="folder of a run")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results, one folder a video")
    parser.add_argument("--top", type=int, default=5, help="classes in the answer")
    parser.add_argument("--window", type=float, help="seconds; look at long videos in windows of this length")
    parser.add_argument("--overlap", type=float, default=0.5, help="share of a window that lies in the next one too")
    parsed = parser.parse_args(arguments)
    if parsed.window is not None and not 0 < parsed.window < float("inf"):
        parser.error(f"--window must be a positive number of seconds, got {parsed.window}")
    if not 0 <= parsed.overlap < 1:
        parser.error(f"--overlap must be a share in [0, 1), got {parsed.overlap}")
    from whenwhere.explain import explain_all, find_videos
    from whenwhere.recognizer import load

    videos, window = find_videos(parsed.videos), parsed.window
    failed = explain_all(load(parsed.model), videos, parsed.out, parsed.top, say, window, parsed.overlap)
    return FAILED if failed else 0


def demo_command(arguments: list[str]) -> int:
    parser = make_parser("demo")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parsed = parser.parse_args(arguments)
    from whenwhere.demo import demo

    demo(parsed.out, say)
    return 0
