"""Commands about data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from whenwhere.cli.common import FAILED, add_config, make_parser, parsed_config, report_broken, say

if TYPE_CHECKING:
    from whenwhere.features.store import FeatureStore
    from whenwhere.structures import Clip


def walls_command(arguments: list[str]) -> int:
    parser = make_parser("walls")
    add_config(parser)
    parser.add_argument("--split", default="test", choices=["train", "val", "test"], help="whose clips")
    parser.add_argument("--count", type=int, default=8, help="number of videos")
    parser.add_argument("--out", type=Path, required=True, help="folder for the videos and manifest.csv")
    parsed = parser.parse_args(arguments)
    from whenwhere.training.data import write_wall_videos

    say(f"wrote {write_wall_videos(parsed_config(parser, parsed), parsed.split, parsed.out, parsed.count)}")
    return 0


def render_command(arguments: list[str]) -> int:
    from whenwhere.datasets.synthetic import SyntheticOptions, write_dataset

    parser = make_parser("render")
    parser.add_class_arguments(SyntheticOptions, as_group=False)
    parser.add_argument("--out", type=Path, required=True, help="folder for the videos and manifest.csv")
    parsed = parser.parse_args(arguments)
    out = parsed.pop("out")
    say(f"wrote {write_dataset(SyntheticOptions(**parsed.as_dict()), out)}")
    return 0


def prepare_command(arguments: list[str]) -> int:
    from whenwhere.datasets.prepare import IMPORTERS, prepare

    parser = make_parser("prepare")
    parser.add_argument("name", choices=list(IMPORTERS), help="folder: a folder per class; csv: your own table")
    parser.add_argument("--root", type=Path, required=True, help="folder of the unpacked archives, or your table")
    parser.add_argument("--out", type=Path, help="manifest to write, .csv or .parquet; default: manifest.csv in --root")
    parser.add_argument("--split", type=int, help="official split of UCF101 or HMDB51")
    parser.add_argument("--annotations", type=Path, help="folder of the official lists, when it is elsewhere")
    parser.add_argument("--ucf101_root", type=Path, help="for THUMOS14: where UCF-101 lies, its training clips")
    parsed = parser.parse_args(arguments)
    prepared = prepare(**parsed.as_dict())
    for split, (there, gone) in prepared.counts().items():
        say(f"{split}: {there} clips" + (f", {gone} missing" if gone else ""))
    for clip in prepared.missing[:10]:
        say(f"missing: {clip.path}")
    if len(prepared.missing) > 10:
        say(f"and {len(prepared.missing) - 10} more")
    for warning in prepared.warnings:
        say(f"warning: {warning}")
    print(prepared.manifest)
    return 0


def _every(count: int) -> Callable[[int, int], None]:
    """Progress as a line now and then."""

    def progress(done: int, of: int) -> None:
        if done == of or not done % count:
            say(f"{done} of {of} clips")

    return progress


def data_command(arguments: list[str]) -> int:
    parser = make_parser("data")
    parser.add_argument("what", choices=["inspect"], help="inspect: counts, durations, broken clips, a contact sheet")
    parser.add_argument("manifest", type=Path, help="manifest, or folder of one")
    parser.add_argument("--out", type=Path, help="folder for scan.jsonl and contact_sheet.png; default: beside it")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    parsed = parser.parse_args(arguments)
    from rich.console import Console

    from whenwhere.datasets.integrity import duplicates_across_splits, scan, with_findings
    from whenwhere.datasets.manifest import read_clips
    from whenwhere.datasets.splits import group_leaks
    from whenwhere.rendering.contact_sheet import contact_sheet
    from whenwhere.rendering.data_tables import broken_table, class_table, duration_line

    clips = read_clips(parsed.manifest)
    out = parsed.out or (parsed.manifest if parsed.manifest.is_dir() else parsed.manifest.parent)
    found = scan(clips, out / "scan.jsonl", parsed.workers, _every(100))
    whole = with_findings(clips, found)
    console = Console()
    console.print(class_table(clips))
    console.print(duration_line(whole))
    broken = [finding for finding in found.values() if finding.error]
    if broken:
        console.print(broken_table(broken))
    for pair in duplicates_across_splits(clips, found):
        names = " and ".join(f"{clip.path} ({clip.split})" for clip in pair)
        console.print(f"[red]leakage:[/red] the same bytes are {names}", soft_wrap=True)
    for warning in group_leaks(clips):
        console.print(f"[red]leakage:[/red] {warning}", soft_wrap=True)
    console.print(f"contact sheet: {contact_sheet(whole, out / 'contact_sheet.png')}", soft_wrap=True)
    return FAILED if broken else 0


def _shard(clips: list[Clip], which: str) -> list[Clip]:
    from whenwhere.datasets.manifest import ManifestError

    start, _, step = which.partition("/")
    if not (start.isdigit() and step.isdigit() and int(start) < int(step)):
        raise ManifestError(f"--shard must be I/N with 0 <= I < N, got {which!r}")
    return clips[int(start) :: int(step)]


def flow_command(arguments: list[str]) -> int:
    from whenwhere.video.flow import FlowOptions

    parser = make_parser("flow")
    parser.add_argument("--data", type=Path, required=True, help="manifest, or folder with a folder per class")
    parser.add_argument("--out", type=Path, required=True, help="folder for the flow, and clips.csv that names it")
    parser.add_class_arguments(FlowOptions, as_group=False)
    parser.add_argument("--workers", type=int, default=2, help="processes that compute")
    parsed = parser.parse_args(arguments)
    from time import perf_counter

    from whenwhere.datasets.flow import compute_flows
    from whenwhere.datasets.manifest import ManifestError, read_clips

    data, out, workers = parsed.pop("data"), parsed.pop("out"), parsed.pop("workers")
    try:
        options = FlowOptions(**parsed.as_dict())
    except ValueError as error:
        raise ManifestError(str(error)) from error
    start = perf_counter()
    result = compute_flows(read_clips(data), out, options, workers, _every(20))
    report_broken(result.broken)
    say(
        f"{result.computed} files computed, {result.fields} fields in {perf_counter() - start:.0f} s; {result.known} "
        f"were there; {len(result.broken)} clips broken; {result.size / 1e6:.1f} MB in {out / options.name}"
    )
    print(result.manifest)
    return 0


def features_command(arguments: list[str]) -> int:
    parser = make_parser("features")
    from whenwhere.features.backbone import Backbone, BackboneOptions

    parser.add_argument("--config", action="config", help="YAML file with the options below")
    parser.add_argument("--data", type=Path, required=True, help="manifest, or folder with a folder per class")
    parser.add_argument("--out", type=Path, required=True, help="folder of the store")
    parser.add_class_arguments(BackboneOptions, "backbone")
    from whenwhere.video import DynamicImageOptions, InputReader

    seen = "what is seen of a clip; flow needs the manifest that `whenwhere flow` writes"
    parser.add_argument("--modality", choices=["rgb", "flow", "dynamic"], default="rgb", help=seen)
    parser.add_class_arguments(DynamicImageOptions, "dynamic")
    parser.add_argument("--frames", type=int, default=16, help="evenly spaced frames of each clip")
    parser.add_argument("--fps", type=float, help="this many frames a second about each clip's middle instead")
    parser.add_argument("--precision", choices=["float16", "int8"], default="float16", help="of what is kept")
    parser.add_argument("--shard", default="0/1", help="I/N: every Nth clip from the Ith on, for N jobs at once")
    parser.add_argument("--verify", action="store_true", help="check what is there against its checksums instead")
    parsed = parser.parse_args(arguments)
    from whenwhere.datasets.manifest import read_clips
    from whenwhere.features.device import on_best_device
    from whenwhere.features.extract import extract, feature_spec
    from whenwhere.features.store import FeatureStore

    reader = InputReader(parsed.modality, DynamicImageOptions(**parsed.dynamic.as_dict()))
    backbone = Backbone(BackboneOptions(**{**parsed.backbone.as_dict(), "in_channels": reader.channels}))
    if parsed.verify:
        return _verify(
            FeatureStore(parsed.out, feature_spec(backbone, parsed.frames, parsed.precision, parsed.fps, reader))
        )
    clips = _shard(read_clips(parsed.data), parsed.shard)
    if not clips:
        say(f"no clips in shard {parsed.shard}: nothing to do")
        return 0
    with on_best_device(backbone):
        result = extract(
            clips, backbone, None, parsed.frames, parsed.out, parsed.precision, _every(20), parsed.fps, reader
        )
    report_broken(result.broken)
    say(f"{len(result.kept)} clips in {parsed.out}")
    return 0


def _verify(store: FeatureStore) -> int:
    """Check every entry of a store; say which are damaged, and the way out."""
    if not len(store):
        say(
            f"nothing to check: {store.folder.parent} holds no features of this backbone, modality, sampling and "
            "precision; give --out and the options they were made with"
        )
        return FAILED
    damaged = store.verify()
    for entry in damaged:
        say(f"damaged: {entry.part}, {entry.size} bytes from {entry.offset}")
    say(f"{len(store)} entries checked, {len(damaged)} damaged")
    for part in sorted({store.folder / entry.part for entry in damaged}):
        say(f"delete {part} and {part.with_suffix('.jsonl').name} beside it")
    if damaged:
        say("then run this again without --verify: the clips that were in there are computed anew")
    return FAILED if damaged else 0
