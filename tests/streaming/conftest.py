from __future__ import annotations

from pathlib import Path

import pytest
from watching import make_run, write_numbered

from whenwhere.recognizer import Recognizer, load


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("watched") / "run")


@pytest.fixture
def model(run: Path) -> Recognizer:
    return load(run)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds, ten numbered frames each."""
    return write_numbered(tmp_path_factory.mktemp("clips") / "numbered.mp4", 30)
