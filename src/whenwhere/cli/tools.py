"""Commands for those who build the package."""

from __future__ import annotations

import json

from whenwhere.cli.common import make_parser, say


def pretrain_command(arguments: list[str]) -> int:
    from whenwhere.features.glyph_pretraining import PretrainOptions, pretrain

    parser = make_parser("pretrain")
    parser.add_class_arguments(PretrainOptions, as_group=False)
    say(f"wrote {pretrain(PretrainOptions(**parser.parse_args(arguments).as_dict()))}")
    return 0


def benchmark_command(arguments: list[str]) -> int:
    parser = make_parser("benchmark")
    parser.add_argument("what", choices=["head"], help="head: step-by-step time over hoisted time")
    parser.add_argument("--repeats", type=int, default=3, help="timed rounds")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(arguments)

    from rich.console import Console

    from whenwhere.benchmarks import benchmark_head, format_head

    result = benchmark_head(repeats=parsed.repeats)
    if parsed.json:
        print(json.dumps(result))
    else:
        Console().print(format_head(result))
    return 0
