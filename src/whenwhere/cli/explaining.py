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
    parsed = parser.parse_args(arguments)
    from whenwhere.explain import explain_all, find_videos
    from whenwhere.recognizer import load

    return FAILED if explain_all(load(parsed.model), find_videos(parsed.videos), parsed.out, parsed.top, say) else 0


def demo_command(arguments: list[str]) -> int:
    parser = make_parser("demo")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parsed = parser.parse_args(arguments)
    from whenwhere.demo import demo

    demo(parsed.out, say)
    return 0
