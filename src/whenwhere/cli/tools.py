"""Commands for those who build the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from whenwhere.cli.common import make_parser, say

if TYPE_CHECKING:
    from jsonargparse import Namespace
    from rich.table import Table


def pretrain_command(arguments: list[str]) -> int:
    from whenwhere.features.glyph_pretraining import PretrainOptions, pretrain

    parser = make_parser("pretrain")
    parser.add_class_arguments(PretrainOptions, as_group=False)
    say(f"wrote {pretrain(PretrainOptions(**parser.parse_args(arguments).as_dict()))}")
    return 0


def benchmark_command(arguments: list[str]) -> int:
    parser = make_parser("benchmark")
    parser.add_argument(
        "what",
        choices=sorted(_BENCHMARKS),
        help="head: step by step over hoisted; decode: our reader beside others; store: training from features on "
        "disk; explain: an explanation over its backbone; serve: many clients at once; watch: memory and latency on a "
        "stream that is lost once",
    )
    parser.add_argument("--repeats", type=int, default=3, help="timed rounds")
    parser.add_argument(
        "--data", type=Path, help="folder of videos: for decode (of 10 s and less), store, explain, watch"
    )
    parser.add_argument("--weights", default="random", help="of the ResNet-50 of explain: a file, hub or random")
    parser.add_argument("--model", type=Path, help="folder of a run, for serve; a small untrained one by default")
    parser.add_argument(
        "--seconds", type=float, help="of sending clips, for serve (300), or of the stream of watch (600)"
    )
    parser.add_argument("--parallel", type=int, default=20, help="clients of serve")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark"), help="where the long video is made")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(arguments)
    from rich.console import Console

    result, table = _BENCHMARKS[parsed.what](parsed)
    if parsed.json:
        print(json.dumps(result))
    else:
        Console().print(table)
    return 0


def _head(parsed: Namespace) -> tuple[dict[str, float], Table]:
    from whenwhere.benchmarks.head import benchmark_head, format_head

    result = benchmark_head(repeats=parsed.repeats)
    return result, format_head(result)


def _decode(parsed: Namespace) -> tuple[dict[str, float], Table]:
    from whenwhere.benchmarks.decode import benchmark_decode, format_decode
    from whenwhere.video import probe

    parsed.folder.mkdir(parents=True, exist_ok=True)
    clips = [path for path in _videos(parsed.data) if probe(path).duration <= 10]
    result = benchmark_decode(clips, parsed.folder, repeats=parsed.repeats)
    return result, format_decode(result)


def _store(parsed: Namespace) -> tuple[dict[str, float], Table]:
    from whenwhere.benchmarks.store import benchmark_store, format_store

    result = benchmark_store(_videos(parsed.data)[0] if parsed.data else None, repeats=parsed.repeats)
    return result, format_store(result)


def _explain(parsed: Namespace) -> tuple[dict[str, float], Table]:
    from whenwhere.benchmarks.explain import benchmark_explain, format_explain, make_clip, untrained
    from whenwhere.features.backbone import BackboneOptions

    parsed.folder.mkdir(parents=True, exist_ok=True)
    clip = make_clip(parsed.folder / "ten_seconds.mp4", _videos(parsed.data) if parsed.data else ())
    result = benchmark_explain(untrained(BackboneOptions(weights=parsed.weights)), clip, repeats=parsed.repeats)
    return result, format_explain(result)


def _serve(parsed: Namespace) -> tuple[dict[str, float], Table]:
    from whenwhere.benchmarks.serve import benchmark_serve, format_serve

    result = benchmark_serve(parsed.model, parsed.seconds or 300.0, parsed.parallel)
    return result, format_serve(result)


def _watch(parsed: Namespace) -> tuple[dict[str, float], Table]:
    from whenwhere.benchmarks.watch import benchmark_watch, format_watch

    result = benchmark_watch(parsed.seconds or 600.0, _videos(parsed.data) if parsed.data else (), log=say)
    return result, format_watch(result)


_BENCHMARKS = {
    "head": _head,
    "decode": _decode,
    "store": _store,
    "explain": _explain,
    "serve": _serve,
    "watch": _watch,
}


def _videos(data: Path | None) -> list[Path]:
    """Paths of all videos below ``data``."""
    from whenwhere.datasets.manifest import VIDEO_SUFFIXES, ManifestError

    if data is None:
        raise ManifestError("--data is missing: a folder with videos")
    found = sorted(path for path in data.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        raise ManifestError(f"no videos under {data}")
    return found
