from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from whenwhere.datasets.synthetic import SyntheticOptions
from whenwhere.demo import CONFIG, demo
from whenwhere.structures import Explanation


def quiet(text: str) -> None:
    pass


def test_leaves_table_clips_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = replace(
        CONFIG,
        data=replace(CONFIG.data, synthetic=SyntheticOptions(clips=12, frames=12)),
        fit=replace(CONFIG.fit, epochs=1),
    )
    demo(tmp_path, quiet, small)
    said = capsys.readouterr().out
    for part in ("accuracy", "when: mean tIoU", "where: pointing", "where: mean box IoU", "all frames", "centre"):
        assert part in said
    reports = sorted(tmp_path.glob("explained/*/report.html"))
    assert len(reports) == 3
    assert all(Explanation.load(report.with_name("explanation.json")).width == 256 for report in reports)
    assert (tmp_path / "explained" / "index.html").is_file()


@pytest.mark.slow
def test_demo_meets_its_bars(tmp_path: Path) -> None:
    """Tier A: accuracy, and localisation well above the best trivial control, from video labels alone."""
    demo(tmp_path, quiet)
    scores = {s["name"]: s for s in json.loads((tmp_path / "run" / "metrics_test.json").read_text())["scores"]}
    assert scores["accuracy"]["estimate"]["value"] >= 0.95
    for name in ("when: mean tIoU", "where: pointing", "where: mean box IoU"):
        trivial = max(known["value"] for control, known in scores[name]["controls"].items() if control != "Grad-CAM")
        assert scores[name]["estimate"]["value"] >= 1.5 * trivial, name
