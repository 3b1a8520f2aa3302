"""Plans carried out by real processes, killed by real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_runs import quiet

from whenwhere.evaluation.recorded import load_predictions
from whenwhere.reproduce.plan import Job, Plan
from whenwhere.reproduce.results import table_result
from whenwhere.reproduce.run import carry_out

pytestmark = pytest.mark.slow

DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from reproduce.conftest import bank_setting
from whenwhere.reproduce.plan import Plan, plan_table
from whenwhere.reproduce.run import carry_out
setting, out = bank_setting(Path({bank!r}), {epochs}), Path({out!r})
plan = Plan(out, (0,), (plan_table("table1", setting, (0,), out, {methods!r}),))
raise SystemExit(bool(carry_out(plan)))
"""
METHODS = ["frame_average", "paper"]
EPOCHS = 60


def start(bank: Path, out: Path) -> subprocess.Popen:
    tests = str(Path(__file__).parents[1])
    code = DRIVER.format(tests=tests, bank=str(bank), out=str(out), epochs=EPOCHS, methods=METHODS)
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.DEVNULL)


def epochs_done(job: Job) -> int:
    path = job.folder / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.is_file() else 0


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.02)


def predictions(plan: Plan) -> list[torch.Tensor]:
    return [load_predictions(job.predictions)[0].logits for job in plan.jobs]


@pytest.fixture(scope="module")
def uninterrupted(tiny_bank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("whole")
    assert start(tiny_bank, out).wait() == 0
    return out


@pytest.mark.parametrize("everything", [True, False], ids=["plan and training killed", "only the plan killed"])
def test_a_killed_plan_goes_on_and_trains_nothing_twice(
    make_plan: Callable[..., Plan], tiny_bank: Path, tmp_path: Path, uninterrupted: Path, everything: bool
) -> None:
    plan = make_plan(tmp_path, "table1", methods=METHODS, epochs=EPOCHS)
    first, second = plan.jobs
    driver = start(tiny_bank, tmp_path)
    try:
        wait_for(lambda: epochs_done(second) >= 3, "training of the second run")
    finally:
        os.killpg(driver.pid, signal.SIGKILL) if everything else driver.kill()
        driver.wait()
    if everything:
        assert second.state == "started", "killed while it trained"
        done = epochs_done(second)
        assert 3 <= done < EPOCHS
    trained = (first.folder / "model.safetensors").stat().st_mtime_ns
    waited: list[str] = []
    assert carry_out(plan, log=waited.append) == {}
    if not everything:
        assert any("waiting" in line for line in waited), "its training went on alone"
    assert [job.state for job in plan.jobs] == ["done", "done"]
    assert (first.folder / "model.safetensors").stat().st_mtime_ns == trained
    assert epochs_done(second) == EPOCHS
    log = (second.folder / "log.txt").read_text()
    assert log.count("$ whenwhere train") == 2
    whole = make_plan(uninterrupted, "table1", methods=METHODS, epochs=EPOCHS)
    for one, other in zip(predictions(plan), predictions(whole)):
        assert torch.equal(one, other)
    assert carry_out(plan, log=quiet) == {}
    assert (second.folder / "log.txt").read_text() == log, "nothing is left to do"


def test_a_crash_is_told_and_loses_no_other_run(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    broken = {"data.path": str(tmp_path / "gone.safetensors")}
    plan = make_plan(tmp_path, "table1", methods=METHODS, frame_average=broken)
    failures = carry_out(plan, parallel=2, log=quiet)
    bad, good = plan.jobs
    assert set(failures) == {bad.name}
    assert good.state == "done"
    assert load_predictions(good.predictions)[0].clips[:2] == ("test-00000", "test-00001")
    assert "gone.safetensors" in (bad.folder / "log.txt").read_text()
    result = table_result(plan.tables[0], plan.seeds)
    rows = {row.row.name: row for row in result.rows}
    assert rows["Ours"].cells["top-1"].figures.clips == 24
    assert rows["ResNet50-ImageNet"].problem.startswith("failed")
    assert str(bad.folder / "log.txt") in rows["ResNet50-ImageNet"].problem
    assert result.failed == [rows["ResNet50-ImageNet"]]
