"""Carry a plan out: every run in processes of its own, so that a crash in one does not lose the others.

A run's folder is locked while a process works in it, and the lock goes with the process: when a plan is killed and
its training goes on alone, the next plan waits for it instead of training the same twice.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from whenwhere.evaluation.predictions import write_json
from whenwhere.reproduce.plan import FAILED, FINISHED, STARTED, TRAINED, Job, Plan, Step

Log = Callable[[str], None]


def carry_out(plan: Plan, parallel: int = 1, log: Log = print) -> dict[str, str]:
    """Do what is not done; gives why a run or a step failed, by its name. Runs of a failed step are not tried.

    Args:
        parallel: runs at once. The first run on each set of features goes alone: it leaves them for the others.
    """
    failures: dict[str, str] = {}
    for step in plan.steps:
        why = _do_step(step, plan.out, log)
        if why:
            failures[" ".join(step.command[:1])] = why
    if failures:
        return failures
    todo = [job for job in plan.jobs if job.state != "done"]
    done = {job.features for job in plan.jobs if job.state == "done"}
    first = {job.features: job for job in reversed(todo) if job.features not in done}
    alone = [job for job in todo if first.get(job.features) is job]
    together = [job for job in todo if first.get(job.features) is not job]
    count = len(todo)

    def work(numbered: tuple[int, Job]) -> tuple[str, str | None]:
        number, job = numbered
        log(f"[{number} of {count}] {job.name}: {job.state}")
        began = time.monotonic()
        why = run_job(job, parallel, log)
        log(f"[{number} of {count}] {job.name}: {why or f'done after {time.monotonic() - began:.0f} s'}")
        return job.name, why

    numbered = list(enumerate(alone + together, start=1))
    results = [work(item) for item in numbered[: len(alone)]]
    with ThreadPoolExecutor(max(1, parallel)) as pool:
        results += pool.map(work, numbered[len(alone) :])
    return {name: why for name, why in results if why}


def run_job(job: Job, parallel: int = 1, log: Log = print) -> str | None:
    """Train and predict, from where it stands; why it failed, or None."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / "lock").open("w") as lock:
        _acquire(lock.fileno(), job.name, log)
        if job.state == "to do":
            _clear(job.folder)
            (job.folder / "recipe.yaml").write_text(job.config.to_yaml(), encoding="utf-8")
            job.mark(STARTED)
        with suppress(FileNotFoundError):
            (job.folder / FAILED).unlink()
        began = time.monotonic()
        if job.state in ("to do", "started"):
            recipe, out = str(job.folder / "recipe.yaml"), str(job.folder)
            train = ["train", "--config", recipe, "--out", out, "--resume", "--unmeasured"]
            if why := _call(train, job.folder, parallel, lock.fileno()):
                return _failed(job, why)
            job.mark(TRAINED, seconds=time.monotonic() - began)
        if job.state == "trained":
            evaluate = ["evaluate", "--model", str(job.folder), "--predictions", str(job.predictions), *job.views]
            if why := _call(evaluate, job.folder, parallel, lock.fileno()):
                return _failed(job, why)
            job.mark(FINISHED)
    return None


def _acquire(lock: int, name: str, log: Log) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log(f"{name}: another process is at work on it; waiting for it to end")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _clear(folder: Path) -> None:
    """Remove what an earlier run or step on other data left; the lock stays."""
    for path in folder.iterdir():
        if path.name == "lock":
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _call(arguments: Sequence[str], folder: Path, parallel: int, lock: int | None = None) -> str | None:
    """Run a command of this package; why it failed, or None. What it says goes to ``log.txt`` in the folder."""
    threads = str(max(1, (os.cpu_count() or 1) // max(1, parallel)))
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    path = folder / "log.txt"
    with path.open("a", encoding="utf-8") as file:
        file.write(f"$ whenwhere {' '.join(arguments)}\n")
        file.flush()
        code = subprocess.call(
            [sys.executable, "-m", "whenwhere.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=() if lock is None else (lock,),
        )
    if code == 0:
        return None
    how = f"ended with status {code}" if code > 0 else f"was killed by signal {-code}"
    return f"`whenwhere {arguments[0]}` {how}; see {path}"


def _failed(job: Job, why: str) -> str:
    write_json(job.folder / FAILED, {"why": why})
    return why


def _do_step(step: Step, out: Path, log: Log) -> str | None:
    if step.done:
        return None
    log(f"{step.command[0]}: making {step.product}")
    if not step.begun:
        if step.alone and step.product.parent.is_dir():
            _clear(step.product.parent)
        step.begin()
    folder = out / "steps" / step.command[0]
    folder.mkdir(parents=True, exist_ok=True)
    why = _call(step.command, folder, 1)
    if why is None and not step.product.is_file():
        why = f"`whenwhere {step.command[0]}` left no {step.product}; see {folder / 'log.txt'}"
    return why
