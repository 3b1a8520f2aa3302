"""Commands that make something else of explanations: figures, and files of other tools."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from whenwhere.cli.common import make_parser, say
from whenwhere.errors import WhenwhereError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jsonargparse import Namespace

    from whenwhere.structures import Clip, Explanation

Order = Literal["given", "confidence", "label"]

NAME = "explanation.json"


def figure_command(arguments: list[str]) -> int:
    parser = make_parser("figure")
    parser.add_argument("kind", choices=("filmstrip", "timeline", "gallery"), help="of figure")
    parser.add_argument("explanations", nargs="+", type=Path, help=f"explanation files, or folders that hold {NAME}")
    parser.add_argument("--out", type=Path, required=True, help="file to write: .pdf, .svg or .png")
    parser.add_argument("--frames", type=int, help="pictures of each video; filmstrip 8, timeline 4 at its peaks")
    parser.add_argument("--boxes", type=bool, default=True, help="draw them, in a filmstrip")
    parser.add_argument("--columns", type=int, default=4, help="of a gallery")
    parser.add_argument("--order", type=Order, default="given", help="of a gallery")
    parser.add_argument(
        "--truth", type=Path, help="manifest that says what, when and where really; for timeline and gallery"
    )
    parser.add_argument("--video", type=Path, help="the video, or the folder of the videos, if they have moved")
    parser.add_argument("--width", type=float, help="inches; 3.25 is one column of a usual paper, 6.75 both")
    parser.add_argument("--dpi", type=int, default=200, help="dots an inch of a PNG")
    parsed = parser.parse_args(arguments)
    explanations = read_explanations(parsed.explanations)
    with warnings.catch_warnings(record=True) as caught:
        try:
            _draw(parsed, explanations)
        except ValueError as error:
            raise WhenwhereError(str(error)) from error
    for cause in sorted({str(one.message) for one in caught}):
        say(cause)
    say(f"wrote {parsed.out}")
    return 0


def _draw(parsed: Namespace, explanations: list[Explanation]) -> None:
    from whenwhere.rendering import write_filmstrip, write_gallery, write_timeline

    clips = _truth(parsed.truth, explanations) if parsed.truth else []
    more = {"video_path": parsed.video, "dpi": parsed.dpi}
    frames = {} if parsed.frames is None else {"frames": parsed.frames}
    if parsed.kind == "filmstrip":
        write_filmstrip(explanations, parsed.out, width=parsed.width, boxes=parsed.boxes, **frames, **more)
        return
    width = 6.75 if parsed.width is None else parsed.width
    if parsed.kind == "timeline":
        segments = [clip.segments if clip else () for clip in clips]
        write_timeline(explanations, parsed.out, truths=segments, width=width, **frames, **more)
    else:
        labels = [clip.label if clip else None for clip in clips]
        boxes = [clip.boxes if clip else () for clip in clips]
        order = parsed.order
        write_gallery(explanations, parsed.out, parsed.columns, order, labels, width=width, true_boxes=boxes, **more)


def _truth(manifest: Path, explanations: Sequence[Explanation]) -> list[Clip | None]:
    """The clip of each explanation: the same file, or the only one of its name.

    Raises:
        WhenwhereError: the manifest has none of them.
    """
    from collections import Counter

    from whenwhere.datasets.manifest import read_clips

    clips = read_clips(manifest)
    names = Counter(Path(clip.path).name for clip in clips)
    by_path = {Path(clip.path).resolve(): clip for clip in clips}
    by_name = {name: clip for clip in clips if names[name := Path(clip.path).name] == 1}
    found = [by_path.get(Path(one.path).resolve(), by_name.get(Path(one.path).name)) for one in explanations]
    if not any(found):
        raise WhenwhereError(f"{manifest} has none of the explained videos; expected {explanations[0].path} in it")
    return found


def export_command(arguments: list[str]) -> int:
    from whenwhere.export import Format, export

    parser = make_parser("export")
    parser.add_argument("explanations", nargs="+", type=Path, help=f"explanation files, or folders that hold {NAME}")
    parser.add_argument("--format", type=Format, required=True, help="of the tool that is to read it")
    parser.add_argument("--out", type=Path, required=True, help="file to write; a folder for cvat and fiftyone")
    parser.add_argument("--videos", type=Path, help="folder the videos are in now, if they have moved")
    parsed = parser.parse_args(arguments)
    for path in export(read_explanations(parsed.explanations), parsed.out, parsed.format, parsed.videos):
        say(f"wrote {path}")
    return 0


def read_explanations(places: Sequence[Path]) -> list[Explanation]:
    """Explanations in files, and in all ``explanation.json`` below folders, in the order of their names.

    Raises:
        ExportError: a file that is missing or no explanation, or a folder without any.
    """
    from whenwhere.export import ExportError
    from whenwhere.structures import Explanation

    found = []
    for place in places:
        files = sorted(place.rglob(NAME)) if place.is_dir() else [place]
        if not files:
            raise ExportError(f"{place} holds no {NAME}; give the folder that `whenwhere explain --out` wrote")
        for file in files:
            if not file.is_file():
                raise ExportError(f"{file}: no such file; give an {NAME} that `whenwhere explain` wrote")
            try:
                found.append(Explanation.load(file))
            except ValueError as error:
                raise ExportError(str(error)) from error
    return found
