"""How long a plan will take and how much disk, before anything of it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from whenwhere.datasets.manifest import read_clips
from whenwhere.datasets.splits import split_clips
from whenwhere.features.backbone import Backbone
from whenwhere.reproduce.plan import Job, Plan
from whenwhere.training.checkpoint import build_head
from whenwhere.training.config import TrainConfig

START_SECONDS = 25.0  # two processes that import torch, read features and the model
CLIP_SECONDS = 0.002  # whatever the model: reading its features, a step's overhead
PREDICTION_SHARE = 0.5  # a test clip costs a forward pass, its evidence and Grad-CAM


@dataclass(frozen=True)
class Estimate:
    """Attributes:
    seconds: of each run that is to do, by its name.
    feature_seconds: of features that are computed first.
    feature_bytes: of them on disk.
    run_bytes: of models, states and predictions.
    """

    seconds: dict[str, float]
    feature_seconds: float
    feature_bytes: int
    run_bytes: int


@dataclass(frozen=True)
class _Maps:
    """Features of one frame: `(C, H, W)` and seconds to compute them."""

    channels: int
    height: int
    width: int
    seconds: float


def estimate(plan: Plan) -> Estimate:
    """Time from the arithmetic of one training step, counted, at the speed of one that is run.

    On another machine or beside other work it will differ: it tells minutes from hours and hours from days.
    """
    jobs = [job for job in plan.jobs if job.state != "done"]
    maps: dict[str, _Maps] = {}
    for job in jobs:
        key = repr(job.config.backbone)
        if key not in maps:
            maps[key] = _frame(job.config)
    work = {job.name: _flops(job.config, maps[repr(job.config.backbone)]) for job in jobs}
    seconds: dict[str, float] = {}
    if jobs:
        speed = _speed(jobs, work, maps)
        clips = {job.features: _clips(job.config) for job in jobs}
        for job in jobs:
            training, tested = clips[job.features]
            passes = training * job.config.fit.epochs + tested * PREDICTION_SHARE
            seconds[job.name] = START_SECONDS + passes * (work[job.name] / speed + CLIP_SECONDS)
    sources = {job.features: job for job in plan.jobs if not job.config.backbone.trainable}
    warm = {job.features for job in plan.jobs if job.state == "done"}
    frames = {key: _stored_frames(job.config) for key, job in sources.items()}
    feature_seconds, feature_bytes = 0.0, 0
    for key in {_frames_key(job.config): key for key, job in sources.items()}.values():
        if key not in warm:
            of = maps[repr(sources[key].config.backbone)]
            feature_seconds += frames[key] * of.seconds
            feature_bytes += frames[key] * 2 * of.channels * of.height * of.width
    run_bytes = sum(_run_bytes(job, maps[repr(job.config.backbone)]) for job in jobs)
    return Estimate(seconds, feature_seconds, feature_bytes, run_bytes)


def _frame(config: TrainConfig) -> _Maps:
    """One frame through a backbone of that shape; its weights do not matter."""
    options = config.backbone
    known = options.weights == "glyphs"
    backbone = Backbone(options if known else replace(options, weights="random", trainable=False))
    size, channels = backbone.preprocessing.size, options.in_channels
    with torch.inference_mode():
        backbone(torch.zeros(1, channels, size, size))  # the first call also sets things up
        began = time.perf_counter()
        maps = backbone(torch.zeros(4, channels, size, size))
        seconds = (time.perf_counter() - began) / 4
    return _Maps(maps.shape[1], maps.shape[2], maps.shape[3], seconds)


def _shape(config: TrainConfig, maps: _Maps) -> tuple[int, ...]:
    """Of one training clip's features, `(1, T, C, H, W)`."""
    data, (rows, columns) = config.data, (1, 1)
    if data.source in ("mosaic", "feature_bank"):
        walls = data.mosaic.for_training()
        rows, columns = walls.rows, walls.columns
    return (1, data.clip_frames, data.components or maps.channels, rows * maps.height, columns * maps.width)


def _flops(config: TrainConfig, maps: _Maps) -> float:
    """Floating point operations of a training step, a clip; without the backbone where it is frozen."""
    shape = _shape(config, maps)
    with torch.device("meta"):
        head, features = build_head(config, shape[2], 10), torch.zeros(shape)
    with FlopCounterMode(display=False) as counter:
        head(features.requires_grad_()).logits.sum().backward()
    flops = float(counter.get_total_flops())
    if config.backbone.trainable:
        flops += 3 * shape[1] * maps.seconds * 5e10  # forward and backward, at a CPU's usual speed
    return flops


def _speed(jobs: Sequence[Job], work: dict[str, float], maps: dict[str, _Maps]) -> float:
    """Floating point operations a second: of the heaviest step that ends soon, else of a convolution."""
    brief = [job for job in jobs if 1e8 < work[job.name] < 2e10]
    if brief:
        job = max(brief, key=lambda job: work[job.name])
        shape = (4, *_shape(job.config, maps[repr(job.config.backbone)])[1:])
        head, flops = build_head(job.config, shape[2], 10), 4 * work[job.name]
        return flops / _best(lambda: head(torch.rand(shape)).logits.sum().backward())
    layer, images = torch.nn.Conv2d(256, 256, 3, padding=1), torch.rand(64, 256, 7, 7, requires_grad=True)
    return 3 * 2 * 9 * 256**2 * 64 * 49 / _best(lambda: layer(images).sum().backward())


def _best(work: Callable[[], None]) -> float:
    times = []
    for _ in range(2):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _clips(config: TrainConfig) -> tuple[int, int]:
    """Training and test clips; 0 where the data are still to be made."""
    data = config.data
    if data.source == "synthetic":
        return data.synthetic.clips, data.synthetic.eval_clips
    if data.source in ("mosaic", "feature_bank"):
        return data.mosaic.clips, data.mosaic.eval_clips
    try:
        splits = split_clips(read_clips(str(data.path)), data.val_share, seed=data.split_seed)
    except Exception:
        return 240, 60
    return len(splits["train"]), len(splits["test"])


def _frames_key(config: TrainConfig) -> str:
    data = config.data
    return repr((data.path, data.synthetic, data.stored_frames or data.clip_frames, data.fps, config.backbone))


def _stored_frames(config: TrainConfig) -> int:
    """Frames whose features are computed, over all splits."""
    data = config.data
    if data.source == "feature_bank":
        return 0
    if data.source == "synthetic":
        return (data.synthetic.clips + 2 * data.synthetic.eval_clips) * data.synthetic.frames
    try:
        count = len(read_clips(str(data.path)))
    except Exception:
        count = 360
    return count * (data.stored_frames or (24 if data.source == "mosaic" else data.frames))


def _run_bytes(job: Job, maps: _Maps) -> int:
    """Weights four times over (model, state, two moments of the optimiser), and three maps of every test clip."""
    shape = _shape(job.config, maps)
    with torch.device("meta"):
        weights = sum(p.numel() for p in build_head(job.config, shape[2], 10).parameters())
    walls = job.config.data.mosaic if job.config.data.source in ("mosaic", "feature_bank") else None
    cells = maps.height * maps.width * (walls.rows * walls.columns if walls else 1)
    return 16 * weights + _clips(job.config)[1] * shape[1] * cells * 2 * 4
