"""What a reproduction trains: each run once, whatever number of rows and tables stand on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from whenwhere.evaluation.predictions import write_json
from whenwhere.reproduce.inputs import begin, changed_since, digest, is_of, table_of
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
        manifest: file its clips are listed in, or their folder; a run on another content of it is trained anew.
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

    @property
    def weights(self) -> Path | None:
        """File of the backbone's weights; a run on another content of it is trained anew."""
        given = self.config.backbone.weights
        return None if given in ("hub", "random", "glyphs") else Path(given)

    def record(self) -> dict[str, object]:
        """What must be the same for a run in the folder to be this one."""
        clips = self._listing if self.manifest is None or self.manifest.is_dir() else digest(self.manifest)
        return {
            "options": changed_options(self.config),
            "manifest_sha256": clips,
            "weights_sha256": None if self.weights is None else digest(self.weights),
            "views": list(self.views),
        }

    @cached_property
    def _listing(self) -> str | None:
        """Of a folder of clips, which no plan changes, so that it is looked through once."""
        return None if self.manifest is None else digest(self.manifest)

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
        """Whether a record has what is known.

        Earlier versions noted no weights and no folders: such a record holds unless those changed after it.
        """
        path, files = self.folder / name, {"manifest_sha256": self.manifest, "weights_sha256": self.weights}
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        unknown = {key: file for key, file in files.items() if file is not None and said.get(key) is None}
        if self.weights is not None and known.get("weights_sha256") is None:
            unknown["weights_sha256"] = self.weights  # gone, or to be made: nothing says that they are others
        if any(changed_since(file, path) for file in unknown.values()):
            return False
        return all(said.get(key) == value for key, value in known.items() if key not in unknown)

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
        inputs: files, or folders of clips, that it is made of; with another content of them it is made anew.
        alone: its folder holds nothing else, and is emptied before it is made of other things.
    """

    command: tuple[str, ...]
    product: Path
    inputs: tuple[Path, ...] = ()
    alone: bool = False

    @property
    def done(self) -> bool:
        return self.product.is_file() and self.begun

    @property
    def begun(self) -> bool:
        """Whether what is there of it, if anything, was made by this command of these inputs."""
        return is_of(self.product, self._record())

    def begin(self) -> None:
        """Note what it is made of."""
        begin(self.product, self._record())

    def _record(self) -> dict[str, object]:
        return {"command": list(self.command), "inputs": {str(path): digest(path) for path in self.inputs}}


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

    @property
    def steps_to_do(self) -> list[Step]:
        """Steps that are not done, and those made of what they make."""
        found: list[Step] = []
        for step in self.steps:
            if not step.done or any(other.product in step.inputs for other in found):
                found.append(step)
        return found


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
    manifest = table_of(Path(config.data.path)) if setting.manifest and config.data.path else None
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
