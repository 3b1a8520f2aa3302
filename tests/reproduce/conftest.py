"""Plans of seconds, on a bank of features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from whenwhere.reproduce.plan import Plan, plan_table
from whenwhere.reproduce.settings import Setting


def bank_setting(bank: Path, epochs: int = 2, **methods: dict[str, Any]) -> Setting:
    base = {
        "data.source": "feature_bank",
        "data.path": str(bank),
        "data.val_share": 0.3,
        "data.mosaic.frames": 8,
        "data.mosaic.action_frames": [2, 4],
        "data.mosaic.clips": 32,
        "data.mosaic.eval_clips": 24,
        "model.hidden": 8,
        "model.steps": 3,
        "fit.epochs": epochs,
        "fit.batch_size": 8,
        "fit.lr": 5e-3,
    }
    return Setting("walls of a tiny bank", base, methods=methods)


@pytest.fixture
def make_plan(tiny_bank: Path) -> Callable[..., Plan]:
    """A plan of ``tables`` on the tiny bank: ``make_plan(out, "table1", methods=["paper"])``."""

    def make(
        out: Path, *tables: str, seeds: tuple[int, ...] = (0,), methods: Any = None, epochs: int = 2, **changes: Any
    ) -> Plan:
        setting = bank_setting(tiny_bank, epochs, **changes)
        return Plan(out, seeds, tuple(plan_table(key, setting, seeds, out, methods) for key in tables))

    return make
