from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from whenwhere.datasets.manifest import ManifestError
from whenwhere.reproduce.estimate import estimate
from whenwhere.reproduce.plan import FINISHED, STARTED, Plan, make_job
from whenwhere.reproduce.request import Request, make_plan
from whenwhere.reproduce.rows import METHODS, TABLES
from whenwhere.reproduce.settings import Setting, quick_setting
from whenwhere.training.checkpoint import STATE_FILE

CORE = ["paper", "default", "frame_average", "without_tv"]


def test_a_run_that_two_tables_need_is_planned_once(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    first, third = (make_plan(tmp_path, key, seeds=(0, 1)) for key in ("table1", "table3"))
    both = make_plan(tmp_path, "table1", "table3", seeds=(0, 1))
    names = {job.name for plan in (first, third) for job in plan.jobs}
    assert {job.name for job in both.jobs} == names
    assert len(both.jobs) == len(names) < len(first.jobs) + len(third.jobs)


def test_every_method_and_seed_has_a_run_of_its_own(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make_plan(tmp_path, "table1", seeds=(0, 1, 2), methods=CORE)
    assert len(plan.jobs) == 3 * len(CORE)
    assert {job.config.fit.seed for job in plan.jobs} == {0, 1, 2}


def test_what_changes_no_number_does_not_change_the_run(tmp_path: Path) -> None:
    here = make_job(quick_setting(tmp_path / "a"), "default", 0, tmp_path)
    there = make_job(quick_setting(tmp_path / "b"), "default", 0, tmp_path)
    longer = make_job(quick_setting(tmp_path / "a", epochs=9), "default", 0, tmp_path)
    assert here.folder == there.folder != longer.folder


def test_a_run_counts_as_done_by_its_record(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    (job,) = make_plan(tmp_path, "table1", methods=["default"]).jobs
    assert job.state == "to do"
    job.folder.mkdir(parents=True)
    job.mark(STARTED)
    job.mark(FINISHED)
    assert job.state == "to do", "its predictions are not there"
    job.predictions.touch()
    assert job.state == "done"
    (job.folder / FINISHED).write_text("{ half a rec")
    assert job.state == "to do"


def test_an_unfinished_run_of_an_older_version_starts_anew(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    (job,) = make_plan(tmp_path, "table1", methods=["default"]).jobs
    job.folder.mkdir(parents=True)
    (job.folder / STATE_FILE).touch()
    job.mark(STARTED)
    assert job.state == "started"
    said = json.loads((job.folder / STARTED).read_text())
    del said["config"]["fit"]["ema"]  # an option that version did not have
    (job.folder / STARTED).write_text(json.dumps(said))
    assert job.state == "to do"


def test_a_run_on_other_clips_counts_for_nothing(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,label\na.mp4,a\nb.mp4,b\n")
    setting = Setting("clips", {"data.path": str(manifest)}, manifest=manifest)
    job = make_job(setting, "default", 0, tmp_path / "out")
    job.folder.mkdir(parents=True)
    job.mark(STARTED)
    job.mark(FINISHED)
    job.predictions.touch()
    assert job.state == "done"
    manifest.write_text("path,label\na.mp4,b\nb.mp4,a\n")
    assert job.state == "to do"


def test_a_method_that_is_not_known_is_said_and_takes_no_other_row_along(tmp_path: Path) -> None:
    METHODS["from_next_year"] = {"method": "from_next_year"}
    row = replace(TABLES["table1"].rows[0], name="Next year", method="from_next_year")
    kept = TABLES["table1"]
    TABLES["table1"] = replace(kept, rows=(*kept.rows, row))
    try:
        plan = make_plan(Request(("table1",), tmp_path, quick=True))
    finally:
        TABLES["table1"] = kept
        del METHODS["from_next_year"]
    (table,) = plan.tables
    said = table.missing["from_next_year"]
    assert said.startswith("not available: method must be one of")
    assert "'from_next_year'" in said
    assert ("paper", 0) in table.jobs


def test_requests_that_cannot_be_met_say_so(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no row of table1 is made by 'tns'"):
        make_plan(Request(("table1",), tmp_path, quick=True, methods=["tns"]))
    with pytest.raises(ManifestError, match="no such data"):
        make_plan(Request(("table1",), tmp_path, data=tmp_path / "none.csv"))
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,label,split\na.mp4,fight,train\nb.mp4,calm,test\n")
    with pytest.raises(ManifestError, match=r"--background is not given.*calm, fight"):
        make_plan(Request(("table3",), tmp_path, data=manifest))


def test_clips_that_say_where_need_no_walls(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    boxes = json.dumps([{"time": 0.0, "x0": 0, "y0": 0, "x1": 4, "y1": 4}]).replace('"', '""')
    manifest.write_text(f'path,label,split,boxes\na.mp4,fight,train,\nb.mp4,calm,test,"{boxes}"\n')
    for key, source in (("table3", "videos"), ("table4", "mosaic")):
        plan = make_plan(Request((key,), tmp_path, data=manifest, background="calm", weights="random"))
        assert {job.config.data.source for job in plan.jobs} == {source}


def test_an_estimate_grows_with_the_work(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    few = estimate(make_plan(tmp_path, "table1", methods=["default"]))
    many = estimate(make_plan(tmp_path, "table1", methods=["default"], epochs=2000))
    assert 0 < few.seconds.popitem()[1] < many.seconds.popitem()[1]
    assert few.run_bytes == many.run_bytes > 0
    assert few.feature_bytes == 0, "a bank's features are there already"
