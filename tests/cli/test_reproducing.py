from __future__ import annotations

import json
from pathlib import Path

import pytest

from whenwhere.cli import main


def test_without_data_it_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "table1"])
    assert "--quick, or --data" in capsys.readouterr().err


def test_a_plan_alone_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["reproduce", "table1", "table3", "--quick", "--methods", "default", "frame_average"]
    assert main([*arguments, "--clips", "24", "--epochs", "1", "--plan", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "2 of 2 runs to do" in said
    assert "table3 default" in said
    assert not (tmp_path / "out").exists()


def test_figures_need_a_finished_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "figures", "--quick", "--out", str(tmp_path)]) == 1
    assert "run `whenwhere reproduce table1` first, or give --model" in capsys.readouterr().err


@pytest.mark.slow
def test_the_quick_plan_in_its_smallest_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["reproduce", "table1", "table3", "table4", "--quick", "--methods", "default", "tsn"]
    assert main([*arguments, "--clips", "24", "--epochs", "1", "--out", str(tmp_path)]) == 0
    for number, row in ((1, "Our default"), (3, "Grad-CAM of TSN, class given"), (4, "Our default")):
        rows = {row["name"]: row for row in json.loads((tmp_path / f"table{number}.json").read_text())["rows"]}
        for measure in rows[row]["here"].values():
            assert measure["clips"] == 24
            assert all(0 <= low <= high <= 1 for low, high in zip(measure["low"], measure["high"]))
        assert (tmp_path / f"table{number}.md").is_file()
        assert "tabular" in (tmp_path / f"table{number}.tex").read_text()
    assert "Table 4" in capsys.readouterr().out
