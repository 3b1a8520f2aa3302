"""What processes with limits are given to do; imported by each of them, so it imports little."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

from whenwhere.server.isolation import Line


def take_memory(line: Line, megabytes: int) -> None:
    taken = bytearray(megabytes * 1_000_000)
    line.send({"taken": len(taken)})


def work_on(line: Line) -> None:
    while True:
        pass


def chatter(line: Line) -> None:
    while True:
        line.send({"decoded": 1})


def stop_in_the_middle(line: Line) -> None:
    os.write(line.connection.fileno(), struct.pack("!i", 1000) + b"{")
    time.sleep(60)


def listen_to_nothing(line: Line) -> None:
    time.sleep(60)


def fill_disk(line: Line, path: Path) -> None:
    path.write_bytes(bytes(2_000_000))
