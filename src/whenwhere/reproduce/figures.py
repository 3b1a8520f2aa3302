"""Figures 4 to 10 of the paper, from any finished run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from whenwhere.datasets.manifest import ManifestError
from whenwhere.datasets.synthetic import write_dataset
from whenwhere.files import write_text
from whenwhere.recognizer import load
from whenwhere.rendering.filmstrip import bare, filmstrip_indices, pictures_at, write_filmstrip
from whenwhere.rendering.plots import write_figure
from whenwhere.reproduce.examples import Example, examples, one_a_class, ranked, test_clips
from whenwhere.reproduce.inputs import begin, digest, is_of
from whenwhere.training.config import TrainConfig
from whenwhere.training.data import write_wall_videos

BLUE, RED = "#1f3fd0", "#e01b1b"


def make_figures(
    run: Path,
    data: Path | None,
    out: Path,
    frames: int = 7,
    clips: int = 48,
    log: Callable[[str], None] = print,
) -> list[Path]:
    """Write ``figure4.png`` to ``figure10.png`` and ``figures.md``, which says what each shows and how it was chosen.

    Figures that the clips cannot give (no boxes, no segments, nothing right or wrong) are left out, and told.

    Args:
        run: folder of a finished run.
        data: manifest of test clips; None: those of the run, rendered or put together as videos where need be.
        frames: columns of a filmstrip.
        clips: how many test clips are looked at.

    Raises:
        ManifestError: no test clips.
        CheckpointError: no such run.
    """
    model = load(run)
    out.mkdir(parents=True, exist_ok=True)
    manifest = data or _videos_of(model.record.config, out / "clips", clips)
    found = examples(model, test_clips(manifest, clips), log)
    written, said = [], [f"# Figures of {run}", "", f"From {len(found)} test clips of {manifest}.", ""]
    for name, (rule, chosen, draw) in _choose(found).items():
        path = out / f"{name}.png"
        path.unlink(missing_ok=True)  # of an earlier run
        if not chosen:
            said.append(f"* {name}: left out, no such clip. {rule}")
            log(f"{name}: no such clip. {rule}")
            continue
        draw(chosen, path, frames)
        written.append(path)
        said.append(f"* {name}: {rule} {'; '.join(map(_words, chosen))}.")
    return [*written, write_text(out / "figures.md", "\n".join(said) + "\n")]


Draw = Callable[[Sequence[Example], Path, int], None]


def _choose(found: Sequence[Example]) -> dict[str, tuple[str, list[Example], Draw]]:
    """Rule, clips and manner of every figure."""

    def when(one: Example) -> float:
        return one.time_iou

    def where(one: Example) -> float:
        return one.box_iou

    def sure(one: Example) -> float:
        return one.said.score

    best_when, worst_when = ranked(found, when, True), ranked(found, when, False)
    best_where, worst_where = ranked(found, where, True), ranked(found, where, False)
    shown = (best_when or ranked(found, sure, True))[:1]
    by = "temporal IoU" if best_when else "probability"
    return {
        "figure4": (f"Of rightly named clips the one with the highest {by}.", shown, _strip),
        "figure5": ("Best mean box IoU of each class; its best frame.", one_a_class(best_where, 6), _best_boxes),
        "figure6": ("Of rightly named clips the two with the highest temporal IoU.", best_when[:2], _weighted),
        "figure7": ("Of rightly named clips the one with the lowest mean box IoU.", worst_where[:1], _strip),
        "figure8": ("Second best mean box IoU of each class.", one_a_class(best_where, 6, skip=1), _best_boxes),
        "figure9": ("Lowest mean box IoU of each class; its worst frame.", one_a_class(worst_where, 6), _worst_boxes),
        "figure10": ("Of rightly named clips the one with the lowest temporal IoU.", worst_when[:1], _weighted),
    }


def _videos_of(config: TrainConfig, folder: Path, count: int) -> Path:
    """Test clips of a run as files with their truth."""
    data = config.data
    if data.source == "videos":
        return Path(str(data.path))
    manifest = folder / "manifest.csv"
    if data.source == "synthetic":
        shown = min(count, data.synthetic.eval_clips)
        return write_dataset(replace(data.synthetic, clips=shown), folder, clips={"test": shown})
    if data.source == "mosaic":
        clips = None if data.path is None else digest(Path(data.path))
        record = {"data": json.loads(config.to_json())["data"], "clips": count, "sha256": clips}
        if not (manifest.is_file() and is_of(manifest, record)):
            begin(manifest, record)
            write_wall_videos(config, "test", folder, count)
        return manifest
    raise ManifestError("this run was trained on given features, there is nothing to be seen; give --data")


def _words(one: Example) -> str:
    said = [f"{Path(one.clip.path).name} ({one.clip.label}, named {one.said.label}"]
    if not np.isnan(one.time_iou):
        said.append(f"temporal IoU {one.time_iou:.2f}")
    if not np.isnan(one.box_iou):
        said.append(f"mean box IoU {one.box_iou:.2f}")
    return ", ".join(said) + ")"


def _strip(chosen: Sequence[Example], path: Path, frames: int) -> None:
    write_filmstrip(chosen[0].said, path, frames)


def _best_boxes(chosen: Sequence[Example], path: Path, frames: int) -> None:
    _boxes(chosen, path, [int(one.overlaps.argmax()) for one in chosen])


def _worst_boxes(chosen: Sequence[Example], path: Path, frames: int) -> None:
    _boxes(chosen, path, [int(one.overlaps.argmin()) for one in chosen])


def _boxes(chosen: Sequence[Example], path: Path, at: Sequence[int]) -> None:
    """One frame a clip: true box blue, predicted red."""
    figure = Figure(figsize=(2.1 * len(chosen), 2.75), dpi=110)
    for number, (one, index) in enumerate(zip(chosen, at, strict=True)):
        axes = figure.add_subplot(1, len(chosen), number + 1)
        (picture,) = pictures_at(one.said, [one.said.times[one.frames[index]]])
        axes.imshow(picture)
        axes.set_autoscale_on(False)
        axes.set_axis_off()
        for (x0, y0, x1, y1), color in ((one.true[index], BLUE), (one.predicted[index], RED)):
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="white", linewidth=3.4))
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color, linewidth=2))
        axes.set_title(f"{one.clip.label}\nIoU {one.overlaps[index]:.2f}", fontsize=10, parse_math=False)
    figure.text(0.5, 0.03, "blue: truth    red: from the mask", fontsize=9, ha="center")
    figure.subplots_adjust(left=0.01, right=0.99, top=0.84, bottom=0.1, wspace=0.05)
    write_figure(figure, path, tight=False)


def _weighted(chosen: Sequence[Example], path: Path, frames: int) -> None:
    """Frames, and the same as bright as they are important; a line under those within the true segments."""
    height = 1.55 * max(one.said.height / one.said.width for one in chosen)
    figure = Figure(figsize=(1.55 * frames + 0.9, len(chosen) * (2 * height + 0.9) + 0.3), dpi=110)
    grid = figure.add_gridspec(
        2 * len(chosen), frames, left=0.07, right=0.995, top=0.95, bottom=0.09, wspace=0.04, hspace=0.22
    )
    for number, one in enumerate(chosen):
        indices = filmstrip_indices(len(one.said.times), frames)
        pictures = pictures_at(one.said, [one.said.times[index] for index in indices])
        greatest = max(one.said.importance)
        for column, (index, picture) in enumerate(zip(indices, pictures, strict=True)):
            share = one.said.importance[index] / greatest
            for row, image in enumerate((picture, (picture * share).astype(np.uint8))):
                axes = figure.add_subplot(grid[2 * number + row, column])
                axes.imshow(image)
                bare(axes)
                if row == 0:
                    axes.set_title(f"{one.said.times[index]:.2f} s", fontsize=9, pad=3)
                if column == 0:
                    text = one.clip.label if row == 0 else "importance"
                    axes.set_ylabel(str(text), fontsize=9, parse_math=False)
                if row == 1:
                    true = one.active is not None and one.active[index]
                    axes.set_xlabel(f"{100 * one.said.importance[index]:.1f} %", fontsize=9, labelpad=9)
                    if true:
                        place = axes.transAxes
                        axes.plot([0, 1], [-0.04, -0.04], color=BLUE, linewidth=3, clip_on=False, transform=place)
    figure.text(0.5, 0.012, "blue line: frames of the true action", fontsize=9, ha="center")
    write_figure(figure, path, tight=False)
