"""What a run says while it goes: a progress bar, a CSV file and TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class RunLog:
    """Logs of one run in its folder: ``metrics.csv`` and TensorBoard event files.

    Args:
        out: the run's folder.
        quiet: show nothing on the console.
        written: False for a process beside the first one, which writes for all.
    """

    def __init__(self, out: Path, quiet: bool = False, written: bool = True) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.out = out
        self.console = Console(stderr=True, quiet=quiet)
        self.file = out / "metrics.csv"
        self.writer = SummaryWriter(str(out / "tensorboard")) if written else None
        self.bar: Progress | None = None

    @contextmanager
    def progress(self, total: int, done: int) -> Iterator[None]:
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
        )
        with Progress(*columns, console=self.console) as self.bar:
            self.task = self.bar.add_task("", total=total, completed=done, loss=float("nan"))
            yield

    def advance(self, loss: float) -> None:
        if self.bar:
            self.bar.update(self.task, advance=1, loss=loss)

    def row(self, epoch: int, values: dict[str, float]) -> None:
        """Write one epoch's numbers everywhere."""
        if self.writer is None:
            return
        values = {name: round(value, 6) for name, value in values.items()}
        new = not self.file.exists()
        with self.file.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["epoch", *values])
            if new:
                writer.writeheader()
            writer.writerow({"epoch": epoch, **values})
        for name, value in values.items():
            self.writer.add_scalar(name, value, epoch)
        shown = {
            "loss": values.get("train/total"),
            "val accuracy": values.get("val/accuracy"),
            "mask area": values.get("health/mask_area"),
            "entropy of w": values.get("health/entropy"),
            "of importance": values.get("health/importance_entropy"),
            "state sensitivity": values.get("health/state_sensitivity"),
        }
        text = ", ".join(f"{name} {value:.3f}" for name, value in shown.items() if value is not None)
        self.console.print(f"epoch {epoch}: {text}", highlight=False)

    def warn(self, text: str) -> None:
        self.console.print(f"[yellow]warning:[/yellow] {text}", highlight=False)

    def truncate(self, epochs: int) -> None:
        """Forget rows after epoch ``epochs``: a resumed run writes them again."""
        if self.writer is None or not self.file.exists():
            return
        with self.file.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file))
        with self.file.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(
                [header, *(row for row in rows if row and row[0].isdigit() and int(row[0]) <= epochs)]
            )

    def close(self) -> None:
        if self.writer:
            self.writer.close()
