"""What explaining a clip costs beyond the backbone's own time on the frames it looks at."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from statistics import median

import av
import numpy as np
import torch
from rich.table import Table

from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.features.projection import Projection
from whenwhere.models import Network, SpatioTemporalAttentionOptions
from whenwhere.recognizer import Recognizer
from whenwhere.rendering import write_overlay, write_report
from whenwhere.training.checkpoint import ModelRecord, build_head
from whenwhere.training.config import DataOptions, TrainConfig
from whenwhere.video import iter_frames, read_frames, write_video

# Over the backbone's time: the answer alone, and with overlay video and report.
ANSWER_BAR, PAGE_BAR = 1.5, 2.0
SECONDS, FPS, SIZE = 10, 25, (426, 240)


def make_clip(path: Path, videos: Sequence[Path] = (), seconds: int = SECONDS) -> Path:
    """Write a clip of ``seconds``: frames of real videos one after the other, or a drawn test pattern without any."""
    wanted = seconds * FPS
    frames: list[np.ndarray]
    if videos:
        joined = chain.from_iterable((frame for _, frame in iter_frames(video)) for video in videos)
        frames = [_fitted(frame) for frame in islice(joined, wanted)]
    else:
        source = f"testsrc2=size={SIZE[0]}x{SIZE[1]}:rate={FPS}:duration={seconds}"
        with av.open(source, format="lavfi") as drawn:
            frames = [frame.to_ndarray(format="rgb24") for frame in drawn.decode(video=0)]
    write_video(path, frames, FPS)
    return path


def _fitted(frame: np.ndarray) -> np.ndarray:
    if frame.shape[:2] == SIZE[::-1]:
        return frame
    return av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(*SIZE).to_ndarray(format="rgb24")


def untrained(backbone: BackboneOptions, frames: int = 16) -> Recognizer:
    """A recogniser as `recipes/own_videos.yaml` makes it, untrained: what it says takes as long to say."""
    model = SpatioTemporalAttentionOptions(hidden=64, steps=8, order="motion")
    config = TrainConfig(data=DataOptions(frames=frames, components=128), backbone=backbone, model=model)
    network_backbone = Backbone(backbone)
    projection = Projection(network_backbone.channels, 128)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        projection.matrix.normal_(std=network_backbone.channels**-0.5)
        head = build_head(config, 128, 2)
    network = Network(head, network_backbone, projection).eval()
    return Recognizer(network, ModelRecord(config, ("fight", "no fight"), 128), name="untrained")


def benchmark_explain(recognizer: Recognizer, clip: Path, repeats: int = 3) -> dict[str, float]:
    """Time the answer, and the answer with overlay and report, against the backbone on the same frames.

    The three run in turn, so that a passing disturbance meets all of them; the first round warms up and is not counted.

    Args:
        recognizer: loaded.
        clip: a video file.
        repeats: rounds counted.

    Returns:
        ``answer_ratio`` and ``page_ratio``, medians over the rounds; ``{backbone,answer,overlay,report}_seconds``.

    Raises:
        VideoError: the clip cannot be read.
        ValueError: fewer than one round.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    with tempfile.TemporaryDirectory() as folder:
        rounds = [_round(recognizer, clip, Path(folder)) for _ in range(repeats + 1)][1:]
    result = {f"{part}_seconds": median(own[part] for own in rounds) for part in rounds[0]}
    result["answer_ratio"] = median(own["answer"] / own["backbone"] for own in rounds)
    result["page_ratio"] = median((own["answer"] + own["overlay"] + own["report"]) / own["backbone"] for own in rounds)
    return result


def _round(recognizer: Recognizer, clip: Path, folder: Path) -> dict[str, float]:
    backbone = recognizer.network.backbone
    frames = recognizer.preprocessing(read_frames(clip, recognizer.sampler).pixels)
    with torch.inference_mode():
        spent = {"backbone": _seconds(lambda: backbone(frames))}  # type: ignore[misc]
    explanation = recognizer.explain(clip)

    def answer() -> None:
        recognizer.explain(clip).save(folder / "explanation.json")

    spent["answer"] = _seconds(answer)
    spent["overlay"] = _seconds(lambda: write_overlay(explanation, folder / "overlay.mp4"))
    spent["report"] = _seconds(lambda: write_report(explanation, folder / "report.html"))
    return spent


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def format_explain(result: dict[str, float]) -> Table:
    """The result of :func:`benchmark_explain` for a terminal."""
    table = Table("", "seconds", "over the backbone", "bar", "", title="Explaining a clip")
    for part in ("backbone", "answer", "overlay", "report"):
        table.add_row(part, f"{result[f'{part}_seconds']:.2f}", "", "", "")
    for kind, name, bar in (
        ("answer", "answer", ANSWER_BAR),
        ("page", "answer, overlay and report", PAGE_BAR),
    ):
        ratio = result[f"{kind}_ratio"]
        table.add_row(name, "", f"{ratio:.2f}", f"<= {bar}", "met" if ratio <= bar else "missed")
    return table
