"""What a reproduction trains: each run once, whatever number of rows and tables stand on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from whenwhere.datasets.integrity import content_hash
from whenwhere.evaluation.predictions import write_json
from whenwhere.reproduce.rows import TABLES, PaperTable, Row
from whenwhere.reproduce.settings import Setting
from whenwhere.training.checkpoint import STATE_FILE
from whenwhere.training.config import TrainConfig, flat_options

State = Literal["done", "trained", "started", "to do"]
STARTED, TRAINED, FINISHED, FAILED = "started.json", "trained.json", "finished.json", "failed.json"
PREDICTIONS = "predictions_test.safetensors"


@dataclass(frozen=True)
class Job:
    """A training run and its predictions on the test clips.

    Attributes:
        config: of the run, seed included.
        folder: its own, named by all that makes its numbers.
        manifest: file its clips are listed in; a run on another content of it is trained anew.
        views: further arguments of ``whenwhere evaluate``.
    """

    config: TrainConfig
    folder: Path
    manifest: Path | None = None
    views: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def predictions(self) -> Path:
        return self.folder / PREDICTIONS

    @property
    def features(self) -> str:
        """What its frozen features are made of: runs that have it in common share them."""
        said = json.loads(self.config.to_json())
        if said["data"]["stored_frames"]:
            del said["data"]["frames"], said["data"]["eval_frames"]  # drawn from what is stored
        return json.dumps([said["data"], said["backbone"]], sort_keys=True)

    def record(self) -> dict[str, object]:
        """What must be the same for a run in the folder to be this one."""
        there = self.manifest is not None and self.manifest.is_file()
        digest = content_hash(self.manifest) if there and self.manifest else None
        return {"options": changed_options(self.config), "manifest_sha256": digest, "views": list(self.views)}

    @property
    def state(self) -> State:
        """How far it is; a record of other data, or a damaged one, counts for nothing."""
        if not (self.folder / STARTED).is_file():
            return "to do"
        record = self.record()
        if not self._says(STARTED, record):
            return "to do"
        if self._says(FINISHED, record) and self.predictions.is_file():
            return "done"
        if self._says(TRAINED, record):
            return "trained"
        # A state can only be gone on from with every option as it was, those of a later version included.
        whole = self._says(STARTED, {**record, "config": json.loads(self.config.to_json())})
        return "started" if whole and (self.folder / STATE_FILE).is_file() else "to do"

    def _says(self, name: str, known: Mapping[str, object]) -> bool:
        try:
            said = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return all(said.get(key) == value for key, value in known.items())

    def mark(self, name: str, **more: object) -> None:
        """Write the record of a stage that is over."""
        config = json.loads(self.config.to_json())
        write_json(self.folder / name, {**self.record(), "config": config, **more})

    @property
    def failure(self) -> str | None:
        """Why the last attempt failed, in a sentence; None: it did not."""
        try:
            return str(json.loads((self.folder / FAILED).read_text(encoding="utf-8"))["why"])
        except (OSError, ValueError, KeyError):
            return None


@dataclass(frozen=True)
class Step:
    """Work before any training: files to be rendered, flow to be computed, a backbone to be fine-tuned.

    Attributes:
        command: arguments of ``whenwhere``.
        product: the file that is there when it is done.
    """

    command: tuple[str, ...]
    product: Path


@dataclass(frozen=True)
class TablePlan:
    """One table's share of a plan.

    Attributes:
        key: ``table1`` to ``table4``.
        jobs: by method and seed.
        missing: methods that cannot be run, and why.
    """

    key: str
    table: PaperTable
    setting: Setting
    jobs: Mapping[tuple[str, int], Job]
    missing: Mapping[str, str]

    def unavailable(self, row: Row) -> str | None:
        """Why a row cannot be built, if so."""
        return next((self.missing[method] for method in row.methods if method in self.missing), None)


@dataclass(frozen=True)
class Plan:
    """Everything one call does."""

    out: Path
    seeds: tuple[int, ...]
    tables: tuple[TablePlan, ...]
    steps: tuple[Step, ...] = field(default=())

    @property
    def jobs(self) -> list[Job]:
        """Each run once, in the order of the tables."""
        return list({job.folder: job for table in self.tables for job in table.jobs.values()}.values())


def changed_options(config: TrainConfig) -> dict[str, object]:
    """Options that are not the default ones, by name: an option that a later version adds changes no finished run.

    Those that change no number are left out.
    """
    ours, usual = (flat_options(json.loads(one.to_json())) for one in (config, TrainConfig()))
    return {
        key: value
        for key, value in ours.items()
        if key not in ("data.cache", "data.workers") and (key not in usual or usual[key] != value)
    }


def make_job(setting: Setting, method: str, seed: int, out: Path) -> Job:
    """The run of a method.

    Raises:
        ValueError: a method or an option that this package does not know.
    """
    config, views = setting.config(method, seed), tuple(setting.views.get(method, ()))
    digest = hashlib.sha256(json.dumps([changed_options(config), views], sort_keys=True).encode()).hexdigest()[:12]
    manifest = Path(config.data.path) if setting.manifest and config.data.path else None
    if manifest is not None and manifest.is_dir():
        manifest = next((path for path in sorted(manifest.glob("manifest.*")) if path.is_file()), None)
    return Job(config, out / "runs" / f"{config.method}-seed{seed}-{digest}", manifest, views)


def plan_table(
    key: str, setting: Setting, seeds: Sequence[int], out: Path, methods: Iterable[str] | None = None
) -> TablePlan:
    """The runs a table's rows stand on.

    Args:
        methods: those wanted; None: all.
    """
    table = TABLES[key]
    wanted = dict.fromkeys(method for row in table.rows for method in row.methods)
    chosen = set(wanted) if methods is None else set(methods)
    if strange := sorted(chosen - set(wanted)):
        raise ValueError(f"{key} has no row of {strange[0]!r}; its methods are {', '.join(wanted)}")
    jobs: dict[tuple[str, int], Job] = {}
    missing = {method: "left out" for method in wanted if method not in chosen}
    for method in wanted:
        if method in chosen:
            try:
                jobs |= {(method, seed): make_job(setting, method, seed, out) for seed in seeds}
            except ValueError as error:
                missing[method] = f"not available: {error}"
    return TablePlan(key, table, setting, jobs, missing)
