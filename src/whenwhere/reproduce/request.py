"""From what is asked for to a plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from whenwhere.datasets.manifest import ManifestError, read_clips
from whenwhere.datasets.prepare import prepare
from whenwhere.reproduce.plan import Plan, Step, plan_table
from whenwhere.reproduce.published import FINETUNE, published_setting
from whenwhere.reproduce.rows import TABLES
from whenwhere.reproduce.settings import (
    Setting,
    knows,
    quick_setting,
    quick_video_setting,
    small_setting,
    wall_setting,
)

QUICK_CLIPS, QUICK_EPOCHS, QUICK_FILES = 600, 8, 240


@dataclass(frozen=True)
class Request:
    """What is asked for; see ``whenwhere reproduce --help``."""

    tables: tuple[str, ...]
    out: Path
    seeds: tuple[int, ...] = (0,)
    quick: bool = False
    data: Path | None = None
    dataset: str | None = None
    annotations: Path | None = None
    ucf101_root: Path | None = None
    scale: Literal["small", "published"] | None = None
    weights: str = "hub"
    background: str | None = None
    methods: list[str] | None = None
    clips: int | None = None
    epochs: int | None = None
    recipes: Path = Path("recipes")


def make_plan(request: Request) -> Plan:
    """The runs of the tables asked for; a published data set is listed in a manifest first.

    Raises:
        ManifestError: data that cannot be used, or a method that no table asked for has.
    """
    wanted = request.methods
    known = {method for key in request.tables for row in TABLES[key].rows for method in row.methods}
    if wanted is not None and (strange := sorted(set(wanted) - known)):
        raise ManifestError(f"no row of {', '.join(request.tables)} is made by {strange[0]!r}; known: {sorted(known)}")
    manifest = None if request.quick else _manifest(request)
    tables = []
    steps: dict[Path, Step] = {}
    for key in dict.fromkeys(request.tables):
        setting = _quick(key, request) if manifest is None else _on_data(key, request, manifest)
        own = {method for row in TABLES[key].rows for method in row.methods}
        table = plan_table(key, setting, request.seeds, request.out, None if wanted is None else own & set(wanted))
        tables.append(table)
        steps |= {step.product: step for step in _steps(setting, {method for method, _ in table.jobs}, request)}
    return Plan(request.out, request.seeds, tuple(tables), tuple(steps.values()))


def _manifest(request: Request) -> Path:
    if request.data is None:
        raise ManifestError("--data is missing: a manifest, a folder per class, or a published data set")
    if request.dataset is None:
        read_clips(request.data)  # says what is wrong before anything is planned
        return request.data
    # Each time anew, for the data may be others; the same data give the same manifest.
    path, elsewhere = request.out / f"{request.dataset}.csv", request.ucf101_root
    return prepare(request.dataset, request.data, path, annotations=request.annotations, ucf101_root=elsewhere).manifest


def _quick(key: str, request: Request) -> Setting:
    if key == "table2":
        return quick_video_setting(request.out, request.epochs or QUICK_EPOCHS)
    return quick_setting(request.out, request.clips or QUICK_CLIPS, request.epochs or QUICK_EPOCHS)


def _on_data(key: str, request: Request, manifest: Path) -> Setting:
    scale = request.scale or ("published" if request.dataset else "small")
    if scale == "published":
        return published_setting(
            manifest, request.out, request.weights, request.dataset, request.recipes, request.epochs
        )
    needs = {"table3": "boxes", "table4": "segments"}.get(key)
    if needs is None or knows(read_clips(manifest), needs):  # type: ignore[arg-type]
        return small_setting(manifest, request.out, request.weights, request.epochs)
    rows = 2 if key == "table3" else 1
    return wall_setting(manifest, request.out, request.weights, request.background, rows, request.epochs)


def _steps(setting: Setting, methods: set[str], request: Request) -> list[Step]:
    """What must be on disk before the runs of these methods."""
    if setting.manifest is None or not methods:
        return []
    steps = []
    if request.quick:
        folder, clips = setting.manifest.parent, str(request.clips or QUICK_FILES)
        render = ("render", "--tier", "A", "--clips", clips, "--out", str(folder))
        steps.append(Step(render, setting.manifest))
    flowing = any(method.endswith("_flow") for method in methods)
    if flowing and setting.flow is not None:
        # As published (TSN: TV-L1 on frames of 340 x 256), or some sixty times as fast.
        how = ("tvl1", "--size", "340x256") if setting.recipes else ("dis",)
        flow = ("flow", "--data", str(setting.manifest), "--out", str(setting.flow.parent), "--method", *how)
        steps.append(Step(flow, setting.flow, (setting.manifest,)))
    finetuned = str(request.out / "finetuned" / "backbone.safetensors")
    if any(setting.methods.get(method, {}).get("backbone.weights") == finetuned for method in methods):
        out = str(Path(finetuned).parent)
        recipe, clips = str(request.recipes / FINETUNE), str(setting.manifest)
        options = ("--config", recipe, "--data.path", clips, "--backbone.weights", request.weights)
        finetune = ("finetune", *options, "--out", out, "--resume", "--unmeasured")
        inputs = (setting.manifest, request.recipes / FINETUNE, Path(request.weights))
        steps.append(Step(finetune, Path(finetuned), inputs, alone=True))
    return steps
