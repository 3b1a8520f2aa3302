"""What was made of other data is made anew, and nothing else is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import quiet

from whenwhere.datasets.manifest import read_clips, write_clips
from whenwhere.datasets.mosaic import MosaicOptions
from whenwhere.features.backbone import BackboneOptions
from whenwhere.reproduce.figures import _videos_of
from whenwhere.reproduce.plan import FINISHED, STARTED, Job, Plan, Step, make_job
from whenwhere.reproduce.request import Request, make_plan
from whenwhere.reproduce.run import carry_out
from whenwhere.reproduce.settings import Setting
from whenwhere.training.config import DataOptions, TrainConfig
from whenwhere.video import write_video

ROOT = Path(__file__).parents[2] / "recipes"


def finished(setting: Setting, out: Path) -> Job:
    job = make_job(setting, "default", 0, out)
    job.folder.mkdir(parents=True)
    job.mark(STARTED)
    job.mark(FINISHED)
    job.predictions.touch()
    assert job.state == "done"
    return job


def forget(job: Job, *keys: str) -> None:
    """As an earlier version would have written its records."""
    for name in (STARTED, FINISHED):
        said = json.loads((job.folder / name).read_text())
        (job.folder / name).write_text(json.dumps({key: value for key, value in said.items() if key not in keys}))


def date(path: Path, seconds: float) -> None:
    os.utime(path, (seconds, seconds))


@pytest.fixture
def weighted(tmp_path: Path) -> tuple[Path, Job]:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"first")
    date(weights, 1e9)
    return weights, finished(Setting("clips", {"backbone.weights": str(weights)}), tmp_path / "out")


def test_a_run_on_other_weights_counts_for_nothing(weighted: tuple[Path, Job]) -> None:
    weights, job = weighted
    name = job.name
    weights.write_bytes(b"other")
    assert job.state == "to do"
    assert make_job(Setting("", {"backbone.weights": str(weights)}), "default", 0, job.folder.parents[1]).name == name
    weights.write_bytes(b"first")
    assert job.state == "done"
    weights.unlink()
    assert job.state == "done", "nothing says that they were others"


def test_a_record_without_weights_holds_unless_they_changed_after_it(weighted: tuple[Path, Job]) -> None:
    weights, job = weighted
    forget(job, "weights_sha256")
    assert job.state == "done"
    date(weights, 4e9)
    assert job.state == "to do"


def test_a_run_on_a_folder_whose_clips_changed_counts_for_nothing(tmp_path: Path) -> None:
    data = tmp_path / "clips"
    for label in "ab":
        (data / label).mkdir(parents=True)
        (data / label / "1.mp4").write_bytes(b"clip")
    setting = Setting("clips", {"data.path": str(data)}, manifest=data)

    def job() -> Job:
        return make_job(setting, "default", 0, tmp_path / "out")

    old = finished(setting, tmp_path / "out")
    (data / "a" / "notes.txt").touch()
    assert job().state == "done"
    (data / "a" / "2.mp4").write_bytes(b"more")
    assert job().state == "to do"
    (data / "a" / "2.mp4").unlink()
    assert job().state == "done"
    for path in (data / "a", data / "b", data / "a" / "1.mp4", data / "b" / "1.mp4"):
        date(path, 1e9)
    forget(old, "manifest_sha256")
    assert job().state == "done", "an earlier version did not look"
    date(data / "b" / "1.mp4", 4e9)
    assert job().state == "to do"


def begun_and_made(step: Step) -> None:
    step.product.parent.mkdir(parents=True, exist_ok=True)
    step.begin()
    step.product.touch()


def test_steps_are_of_the_data_that_are_asked_for(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(f"path,label,split\n{name}1.mp4,x,train\n{name}2.mp4,y,test\n")

    def plan(name: str) -> Plan:
        data = tmp_path / f"{name}.csv"
        methods = ["tsn_flow", "paper"]
        return make_plan(
            Request(("table2",), tmp_path / "out", data=data, scale="published", methods=methods, recipes=ROOT)
        )

    first = plan("a")
    assert [step.command[0] for step in first.steps] == ["flow", "finetune"]
    assert first.steps_to_do == list(first.steps)
    for step in first.steps:
        begun_and_made(step)
    assert plan("a").steps_to_do == []
    assert plan("b").steps_to_do == list(plan("b").steps), "their products are of other clips"
    (tmp_path / "a.csv").write_text("path,label,split\na1.mp4,y,train\na2.mp4,x,test\n")
    assert len(plan("a").steps_to_do) == 2, "the clips have changed"


def test_a_step_waits_for_what_it_is_made_of(tmp_path: Path) -> None:
    plans = [make_plan(Request(("table2",), tmp_path, quick=True, clips=clips)) for clips in (4, 4, 6)]
    for step in plans[0].steps:
        begun_and_made(step)
    assert plans[1].steps_to_do == []
    assert [step.command[0] for step in plans[2].steps_to_do] == ["render", "flow"]


@pytest.mark.slow
def test_other_numbers_of_quick_clips_are_rendered_anew(tmp_path: Path) -> None:
    for count in (4, 8, 8):
        plan = make_plan(Request(("table2",), tmp_path, quick=True, clips=count, methods=["frame_average"]))
        assert carry_out(replace(plan, tables=()), log=quiet) == {}
        clips = read_clips(tmp_path / "clips" / "manifest.csv")
        assert sum(clip.split == "train" for clip in clips) == count
    log = (tmp_path / "steps" / "render" / "log.txt").read_text()
    assert log.count("$ whenwhere render") == 2, "the third time nothing was to be done"


@pytest.mark.slow
def test_what_is_left_of_other_arguments_is_removed_and_what_is_left_of_the_same_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "made"

    def step(clips: int) -> Step:
        command = ("render", "--clips", str(clips), "--out", str(folder))
        return Step(command, folder / "manifest.csv", alone=True)

    folder.mkdir()
    (folder / "state.pt").touch()
    assert carry_out(Plan(tmp_path, (0,), (), (step(1),)), log=quiet) == {}
    assert not (folder / "state.pt").exists(), "nobody knows what it is of"
    (folder / "state.pt").touch()
    (folder / "manifest.csv").unlink()  # killed before its end
    assert carry_out(Plan(tmp_path, (0,), (), (step(1),)), log=quiet) == {}
    assert (folder / "state.pt").exists()


def test_a_published_data_set_is_listed_as_it_lies_there_now(tmp_path: Path) -> None:
    def lay_out(root: Path, *names: str) -> None:
        (root / "training/run").mkdir(parents=True, exist_ok=True)
        (root / "validation/run").mkdir(parents=True, exist_ok=True)
        (root / "moments_categories.txt").write_text("run,0\nwalk,1\n")
        for part, folder in (("training", "trainingSet"), ("validation", "validationSet")):
            (root / f"{folder}.csv").write_text("".join(f"run/{name}.mp4,run,3,0\n" for name in names))
            for name in names:
                (root / part / "run" / f"{name}.mp4").touch()

    def listed(root: Path) -> set[str]:
        request = Request(("table1",), tmp_path / "out", data=root, dataset="moments", recipes=ROOT, methods=["paper"])
        plan = make_plan(request)
        assert plan.jobs[0].config.data.path == str(tmp_path / "out" / "moments.csv")
        return {Path(clip.path).stem for clip in read_clips(tmp_path / "out" / "moments.csv")}

    lay_out(tmp_path / "a", "one")
    lay_out(tmp_path / "b", "two")
    assert listed(tmp_path / "a") == {"one"}
    assert listed(tmp_path / "b") == {"two"}
    lay_out(tmp_path / "b", "two", "three")
    assert listed(tmp_path / "b") == {"two", "three"}


@pytest.fixture
def walls(tmp_path: Path) -> Callable[[str], Path]:
    """Writes walls of the clips of one of two shades for figures."""
    for shade in (40, 200):
        for split, label in ((split, label) for split in ("train", "test") for label in ("act", "rest")):
            folder = tmp_path / str(shade) / split / label
            folder.mkdir(parents=True)
            frames = (np.full((32, 48, 3), shade, np.uint8) for _ in range(6))
            write_video(folder / "1.mp4", frames, 6.0, preset="ultrafast")
    manifest = tmp_path / "clips.csv"
    options = DataOptions(
        source="mosaic", path=str(manifest), background="rest", stored_frames=4, val_share=0.0,
        mosaic=MosaicOptions(frames=4, action_frames=(2, 3), clips=2, eval_clips=2),
    )  # fmt: skip
    backbone = BackboneOptions(name="test_resnet", weights="random", size=32)

    def write(shade: str) -> Path:
        write_clips(read_clips(tmp_path / shade), manifest)
        return _videos_of(TrainConfig(data=options, backbone=backbone), tmp_path / "figures", 2)

    return write


def test_walls_for_figures_are_of_the_clips_of_the_run(walls: Callable[[str], Path]) -> None:
    wall = walls("40").parent / "wall_000.mp4"
    dark = wall.read_bytes()
    written = wall.stat().st_mtime_ns
    walls("40")
    assert wall.stat().st_mtime_ns == written, "they are there"
    walls("200")
    assert wall.read_bytes() != dark
