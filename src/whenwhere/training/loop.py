"""The training loop: explicit, on Lightning Fabric, resumable to the same weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, Subset

from whenwhere.datasets.loader import epoch_order, readable, share_of_order
from whenwhere.losses import LossOptions, attention_loss, classification_loss, soft_attention_loss
from whenwhere.models import AttentionOutput, Network, SpatioTemporalAttention
from whenwhere.training.checkpoint import (
    ModelRecord,
    absent_class,
    build_head,
    load_kept,
    load_state,
    save_model,
    save_state,
)
from whenwhere.training.config import TrainConfig
from whenwhere.training.data import Data, check_broken
from whenwhere.training.health import attention_health, health_warning
from whenwhere.training.logs import RunLog
from whenwhere.training.optimization import learning_rate, make_optimizer, parameter_groups


@dataclass
class Progress:
    """Where a run stands; saved and restored with the weights."""

    epoch: int = 0
    batch: int = 0
    update: int = 0
    best: float = math.inf
    since_best: int = 0


def train(config: TrainConfig, data: Data, out: Path, resume: bool = False, quiet: bool = False) -> Network:
    """Train and leave ``model.safetensors`` (best on validation, else last), logs and the resumable state in ``out``.

    A trainable backbone is trained as a copy; that of ``data`` stays as it is.

    Returns:
        The network as it is kept, of the best epoch and with averaged weights where there are any, in evaluation mode.

    Raises:
        CheckpointError: ``resume`` with the state of other options, or validation never gave a number.
    """
    fit = config.fit
    fabric = Fabric(accelerator="auto", devices=fit.devices, precision=fit.precision)
    fabric.launch()
    fabric.seed_everything(fit.seed, verbose=False)
    backbone = deepcopy(data.backbone) if config.backbone.trainable else data.backbone
    head = build_head(config, data.channels, len(data.classes), absent_class(config, data.classes))
    network = Network(head, backbone, data.projection)
    run = Run(config, data, out, fabric, network, quiet)
    if resume:
        run.restore()
    run.fit()
    fabric.barrier()  # the first process writes
    return load_kept(out, network)


class Run:
    """One training run: what :func:`train` holds while it works."""

    def __init__(
        self, config: TrainConfig, data: Data, out: Path, fabric: Fabric, network: Network, quiet: bool
    ) -> None:
        self.config, self.data, self.out, self.fabric, self.bare = config, data, out, fabric, network
        identity = data.backbone.identity if data.backbone else ""
        tuned = data.backbone.metadata if data.backbone and config.backbone.trainable else {}
        self.record = ModelRecord(config, data.classes, data.channels, identity, tuned)
        self.loss: LossOptions = config.loss.resolved(config.model.variant)
        self.absence = absent_class(config, data.classes)
        optimizer = make_optimizer(parameter_groups(network, config.fit), config.fit)
        self.network, self.optimizer = fabric.setup(network, optimizer)
        self.average = (
            AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.fit.ema), use_buffers=True)
            if config.fit.ema
            else None
        )
        self.at = Progress()
        self.broken: dict[str, dict[str, str]] = {}
        assert data.train is not None
        self.samples: Dataset = data.train
        # Of each process; several share an epoch's clips.
        share = math.ceil(len(self.samples) / fabric.world_size)  # type: ignore[arg-type]
        self.batches = math.ceil(share / config.fit.batch_size)
        each = math.ceil(self.batches / config.fit.accumulate)
        self.updates, self.milestones = config.fit.epochs * each, [epoch * each for epoch in config.fit.milestones]
        self.log = RunLog(out, quiet or not fabric.is_global_zero, written=fabric.is_global_zero)

    def fit(self) -> None:
        """Epochs until the end, or until validation stops improving."""
        fit = self.config.fit
        with self.log.progress(fit.epochs * self.batches, self.at.epoch * self.batches + self.at.batch):
            while self.at.epoch < fit.epochs and not self._patience_spent():
                row = self._train_epoch()
                row |= self._validate()
                self.at.epoch, self.at.batch = self.at.epoch + 1, 0
                self.log.row(self.at.epoch, row)
                self._keep(self.fabric.broadcast(self._badness(row)))  # all processes stop at the same epoch
                self._save()
        self.log.close()

    def _patience_spent(self) -> bool:
        return self.config.fit.patience is not None and self.at.since_best >= self.config.fit.patience

    def _train_epoch(self) -> dict[str, float]:
        fit = self.config.fit
        self.network.train()
        means = Means()
        for batch in self._loader(self.samples, training=True):
            self._set_rates()
            if isinstance(self.bare.head, SpatioTemporalAttention):
                self.bare.head.set_progress(self.at.update / self.updates)
            last = (self.at.batch + 1) % fit.accumulate == 0 or self.at.batch + 1 == self.batches
            with self.fabric.no_backward_sync(self.network, enabled=not last):
                output = self.network(batch)
                progress = self.at.update / self.updates
                terms = _terms(self.config.method, output, batch["label"], self.loss, progress, self.absence)
                self.fabric.backward(terms["total"] / fit.accumulate)
            if not torch.isfinite(terms["total"]):
                raise FloatingPointError(
                    f"the loss is {float(terms['total'])} in epoch {self.at.epoch + 1}; lower fit.lr"
                )
            if last:
                self._update()
            self.at.batch += 1
            means.add({f"train/{name}": float(value.detach()) for name, value in terms.items()}, len(batch["label"]))
            means.add({"train/accuracy": _accuracy(output.logits, batch["label"])}, len(batch["label"]))
            self.log.advance(float(terms["total"].detach()))
            if last and fit.checkpoint_steps and self.at.update % fit.checkpoint_steps == 0:
                self._save()
        return means.values()

    def _set_rates(self) -> None:
        fit = self.config.fit
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.at.update, self.updates, group["peak"], fit.warmup, self.milestones)

    def _update(self) -> None:
        if self.config.fit.clip_norm:
            self.fabric.clip_gradients(self.network, self.optimizer, max_norm=self.config.fit.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.at.update += 1
        if self.average:
            self.average.update_parameters(self.bare)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Accuracy, loss and attention health on the validation clips; health on training clips without any."""
        measured = self.data.val if self.data.val is not None else self.samples
        network = self._measured().eval()
        means = Means()
        for batch in self._loader(measured, training=False):
            output = network(batch)
            terms = _terms(self.config.method, output, batch["label"], self.loss, absence=self.absence)
            row = {f"health/{name}": value for name, value in attention_health(output.mask, output.weights).items()}
            if self.data.val is not None:
                row |= {
                    "val/loss": float(terms["cross_entropy"]),
                    "val/accuracy": _accuracy(output.logits, batch["label"]),
                }
            means.add(row, len(batch["label"]))
        values = means.values()
        warning = health_warning({name.removeprefix("health/"): value for name, value in values.items()})
        if warning and isinstance(self.bare.head, SpatioTemporalAttention):
            self.log.warn(f"epoch {self.at.epoch + 1}: attention is dead: {warning}")
        return values

    def _measured(self) -> torch.nn.Module:
        return self.average.module if self.average else self.bare

    def _badness(self, row: dict[str, float]) -> float | None:
        """What validation says, lower is better; None without validation clips."""
        if "val/loss" not in row or self.config.fit.select == "loss":
            return row.get("val/loss")
        # Far less than one clip's worth: it only decides between equal accuracies.
        return 1 - row["val/accuracy"] + 1e-7 * row["val/loss"]

    def _keep(self, badness: float | None) -> None:
        """Write the model when it is the best so far, or the latest when nothing can tell."""
        better = badness is None or badness < self.at.best
        self.at.since_best = 0 if better else self.at.since_best + 1
        if better:
            self.at.best = math.inf if badness is None else badness
            if self.fabric.is_global_zero:
                save_model(self.out, self.bare, self.record, self._measured().state_dict())

    def _save(self) -> None:
        if not self.fabric.is_global_zero:
            return
        state: dict[str, Any] = {
            "config": self.config.to_json(),
            "optimizer": self.optimizer.state_dict(),
            "progress": dict(vars(self.at)),
            "random": torch.get_rng_state(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }
        if torch.cuda.is_available():
            state["random_cuda"] = torch.cuda.get_rng_state_all()
        if self.average:
            state["average"] = self.average.state_dict()
        save_state(self.out, self.bare, state)

    def restore(self) -> None:
        """Go on from the saved state, if there is one."""
        state = load_state(self.out, self.bare, self.config)
        if state is None:
            return
        self.optimizer.load_state_dict(state["optimizer"])
        self.at = Progress(**state["progress"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        if self.average:
            self.average.load_state_dict(state["average"])
        torch.set_rng_state(state["random"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random_cuda"])
        self.log.truncate(self.at.epoch)

    def _loader(self, dataset: Dataset, training: bool) -> Iterator[dict[str, Tensor]]:
        """Batches; in training a process's share of the epoch's own order, from where the run stands."""
        size, clips = self.config.fit.batch_size, len(dataset)  # type: ignore[arg-type]
        split = "training" if dataset is self.samples else "validation"
        if training:
            dataset.epoch = self.at.epoch  # type: ignore[attr-defined]
            order = epoch_order(clips, self.config.fit.seed, self.at.epoch)
            own = share_of_order(order, self.fabric.world_size, self.fabric.global_rank)
            dataset = Subset(dataset, own[self.at.batch * size :])
        else:  # as many frames at a time as in training
            size = max(1, size * self.config.data.clip_frames // self.config.data.seen_frames)
        loader = DataLoader(
            dataset,
            size,
            num_workers=self.config.data.workers,
            pin_memory=torch.cuda.is_available(),
            # Drawn here, not from the global state, so that a restart within an epoch finds it unchanged.
            generator=torch.Generator().manual_seed(0),
        )
        batches: Any = self.fabric.setup_dataloaders(loader, use_distributed_sampler=False)
        for batch in batches:
            whole, causes = readable(batch)
            self._count_broken(causes, clips, split)
            if len(whole["label"]):
                yield whole

    def _count_broken(self, causes: list[str], clips: int, split: str) -> None:
        """Tell of clips that turn out not to decode, each once, and stop when they are too many."""
        known = self.broken.setdefault(split, {})
        for cause in causes:
            path = cause.partition(": ")[0]
            if path not in known:
                known[path] = cause
                self.data.broken.append((path, cause))
                self.log.warn(f"skipped: {cause}")
        check_broken(list(known.items()), clips, self.config.data.max_broken, split)


class Means:
    """Means of named numbers over an epoch, weighted by batch size."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, row: dict[str, float], count: int) -> None:
        for name, value in row.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * count
            self.counts[name] = self.counts.get(name, 0) + count

    def values(self) -> dict[str, float]:
        return {name: total / self.counts[name] for name, total in self.sums.items()}


def _terms(
    method: str,
    output: AttentionOutput,
    label: Tensor,
    options: LossOptions,
    progress: float = 1.0,
    absence: int | None = None,
) -> dict[str, Tensor]:
    """The loss a method is published with, and its terms."""
    if method == "soft_attention_lstm":
        assert output.steps is not None
        return soft_attention_loss(output.logits, output.steps, label, output.mask, options)
    if method != "spatio_temporal_attention":
        return classification_loss(output.logits, label, options)
    return attention_loss(output.logits, label, output.mask, output.weights, options, progress, output.maps, absence)


def _accuracy(logits: Tensor, label: Tensor) -> float:
    return float((logits.argmax(1) == label).float().mean())
