"""The folder in which a server keeps files while it runs."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from whenwhere.server.options import ServerError

_PREFIX = "whenwhere-serve-"


class OwnFolder:
    """A new folder that is locked while its server lives; those that dead servers left beside it are removed.

    Args:
        parent: in which it is made; None: the system's temporary folder.

    Attributes:
        path: of it.

    Raises:
        ServerError: no folder can be made there.
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        try:
            for left in parent.glob(f"{_PREFIX}*"):
                _remove_if_left(left)
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            self._lock = _lock(self.path)
        except OSError as error:
            raise ServerError(f"uploads cannot be kept in {parent} ({error}); choose another --folder") from error

    def close(self) -> None:
        """Remove it and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _lock(folder: Path) -> int:
    """The system takes the lock from a process that ends, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError):  # its server lives, or it is somebody else's
        lock = _lock(folder)
        try:
            if os.fstat(lock).st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
