"""From nothing to an explained video in a few minutes: train on rendered clips, measure, explain one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from whenwhere.datasets.manifest import read_clips
from whenwhere.datasets.synthetic import SyntheticOptions, write_dataset
from whenwhere.evaluate import evaluate
from whenwhere.evaluation.tables import print_scores
from whenwhere.explain import explain_all, truth_of
from whenwhere.features.backbone import BackboneOptions
from whenwhere.losses import LossOptions
from whenwhere.models import SpatioTemporalAttentionOptions
from whenwhere.recognizer import load
from whenwhere.training.config import DataOptions, FitOptions, TrainConfig
from whenwhere.training.data import build_data
from whenwhere.training.loop import train

CONFIG = TrainConfig(
    data=DataOptions(source="synthetic", synthetic=SyntheticOptions(tier="A", clips=800)),
    backbone=BackboneOptions(weights="glyphs", dilated=True),
    model=SpatioTemporalAttentionOptions(
        hidden=32, steps=8, pool=2, mask_widths=(24, 12), fade_in=1.0, class_maps=True
    ),
    loss=LossOptions(area=0.2, area_measure="effective", area_range=(0.005, 0.015), warmup=1.0, detection=3.0),
    fit=FitOptions(epochs=9, batch_size=16, lr=2e-3),
)


def demo(out: Path, log: Callable[[str], None] = print, config: TrainConfig = CONFIG) -> None:
    """Train, print a table with trivial controls, and explain a clip no training has seen.

    Leaves in ``out``: ``run/`` (the model and its evaluation), ``clips/`` (video files with their truth),
    ``explained/`` (reports).
    """
    run = out / "run"
    run.mkdir(parents=True, exist_ok=True)
    data = build_data(config, log)
    train(config, data, run)
    recognizer = load(run)
    scores, _ = evaluate(run, recognizer.network, recognizer.record, data, "test", log=log)
    manifest = write_dataset(config.data.synthetic, out / "clips", clips={"test": len(data.classes)})
    videos = sorted(manifest.parent.glob("*/*.mp4"))[:3]
    truth = truth_of(read_clips(manifest))
    explain_all(recognizer, videos, out / "explained", log=lambda text: None, truth=truth)
    print_scores(scores, "rendered clips, tier A, test split")
    console = Console()
    console.print(f"Trained from one label a clip; nobody drew a box. Look at it: {out / 'explained' / 'index.html'}")
    for video in videos:
        console.print(f"  {out / 'explained' / video.stem / 'report.html'}", highlight=False)
