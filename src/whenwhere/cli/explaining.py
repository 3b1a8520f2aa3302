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
    parser.add_argument("--compare", type=Path, help="folder of another run, shown beside this one in the reports")
    parser.add_argument("--grad_cam", action="store_true", help="show the same network's Grad-CAM beside its attention")
    parser.add_argument("--truth", type=Path, help="manifest or folder whose true segments the reports show")
    parser.add_argument(
        "--inline_limit", type=float, default=50.0, help="MB; a larger video stays beside its report, not in it"
    )
    parsed = parser.parse_args(arguments)
    if parsed.window is not None and not 0 < parsed.window < float("inf"):
        parser.error(f"--window must be a positive number of seconds, got {parsed.window}")
    if not 0 <= parsed.overlap < 1:
        parser.error(f"--overlap must be a share in [0, 1), got {parsed.overlap}")
    if not 0 <= parsed.inline_limit < float("inf"):
        parser.error(f"--inline_limit must be a size in MB, got {parsed.inline_limit}")
    from whenwhere.datasets.manifest import read_clips
    from whenwhere.explain import ExplainOptions, explain_all, find_videos, truth_of
    from whenwhere.recognizer import load

    limit = round(1e6 * parsed.inline_limit)
    options = ExplainOptions(parsed.top, parsed.window, parsed.overlap, parsed.grad_cam, limit)
    compare = load(parsed.compare) if parsed.compare else None
    videos, truth = find_videos(parsed.videos), truth_of(read_clips(parsed.truth)) if parsed.truth else {}
    if parsed.truth and not any(video.resolve() in truth for video in videos):
        say(f"{parsed.truth} has no segments of these videos; the reports show no truth")
    failed = explain_all(load(parsed.model), videos, parsed.out, options, say, compare, truth)
    return FAILED if failed else 0


def demo_command(arguments: list[str]) -> int:
    parser = make_parser("demo")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parsed = parser.parse_args(arguments)
    from whenwhere.demo import demo

    demo(parsed.out, say)
    return 0
