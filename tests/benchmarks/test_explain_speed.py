"""That the clip is what it says and the ratios are those of the times; how large they are the benchmark itself says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from whenwhere.benchmarks.explain import benchmark_explain, format_explain, make_clip, untrained
from whenwhere.features.backbone import BackboneOptions
from whenwhere.video import iter_frames, probe, write_video


def test_drawn_clip_is_explained_and_timed(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=1)
    assert probe(clip).duration == pytest.approx(1)
    recognizer = untrained(BackboneOptions(name="test_resnet", weights="random", size=64), frames=4)
    result = benchmark_explain(recognizer, clip, repeats=1)
    answer, overlay, report = (result[f"{part}_seconds"] for part in ("answer", "overlay", "report"))
    assert result["answer_ratio"] == pytest.approx(answer / result["backbone_seconds"])
    assert result["page_ratio"] == pytest.approx((answer + overlay + report) / result["backbone_seconds"])
    console = Console(width=100, record=True)
    console.print(format_explain(result))
    assert f"{result['page_ratio']:.2f}" in console.export_text()
    console.print(format_explain({**result, "answer_ratio": 1.4, "page_ratio": 2.1}))
    assert [line.split()[-2] for line in console.export_text().splitlines() if "<=" in line] == ["met", "missed"]


def test_clip_of_real_videos_joins_their_frames(tmp_path: Path) -> None:
    for shade in (40, 200):
        write_video(tmp_path / f"{shade}.mp4", [np.full((60, 80, 3), shade, np.uint8)] * 15, 25.0)
    clip = make_clip(tmp_path / "clip.mp4", [tmp_path / "40.mp4", tmp_path / "200.mp4"], seconds=1)
    shades = [round(float(frame.mean())) for _, frame in iter_frames(clip)]
    assert len(shades) == 25
    assert shades[:15] == pytest.approx([40] * 15, abs=3)
    assert shades[15:] == pytest.approx([200] * 10, abs=3)


def test_repeats_must_be_positive(tmp_path: Path) -> None:
    recognizer = untrained(BackboneOptions(name="test_resnet", weights="random", size=64), frames=4)
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        benchmark_explain(recognizer, tmp_path / "none.mp4", repeats=0)
