"""The one thread that runs the model; frames of several clips that wait go through the backbone together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import torch
from torch import Tensor

from whenwhere.recognizer import Recognizer

_Item = tuple[Future[Any], Tensor | Callable[[], Any]]


class Compute:
    """Runs a recogniser for several threads.

    Args:
        recognizer: used by nobody else meanwhile.
        batch: most frames in one pass of the backbone.

    Attributes:
        passes: how many passes of the backbone there were, for tests.
    """

    def __init__(self, recognizer: Recognizer, batch: int = 32) -> None:
        self.recognizer, self.batch, self.passes = recognizer, batch, 0
        self._items: queue.Queue[_Item | None] = queue.Queue()
        self._thread = threading.Thread(target=self._loop, name="compute", daemon=True)
        self._thread.start()

    def features(self, fitted: Tensor) -> Future[Tensor]:
        """Features `(T, C, H, W)` of frames `(T, 3, size, size)` uint8, as `Recognizer.features_of`."""
        return self._put(fitted)

    def run(self, work: Callable[[], Any]) -> Future[Any]:
        """Anything else that uses the model."""
        return self._put(work)

    def close(self) -> None:
        """Finish what was given, then end."""
        self._items.put(None)
        self._thread.join()

    def _put(self, work: Tensor | Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._items.put((future, work))
        return future

    def _loop(self) -> None:
        waiting: _Item | None = None
        while True:
            item = waiting or self._items.get()
            waiting = None
            if item is None:
                return
            future, work = item
            if not future.set_running_or_notify_cancel():
                continue
            if not isinstance(work, Tensor):
                _settle([future], partial(_once, work))
                continue
            together, frames = [(future, work)], len(work)
            while frames < self.batch:
                try:
                    following = self._items.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    self._items.put(None)
                    break
                if not isinstance(following[1], Tensor):
                    waiting = following
                    break
                if following[0].set_running_or_notify_cancel():
                    together.append((following[0], following[1]))
                    frames += len(following[1])
            self.passes += 1
            parts = [work for _, work in together]
            _settle([future for future, _ in together], partial(self._features, parts))

    def _features(self, parts: list[Tensor]) -> list[Tensor]:
        together = self.recognizer.features_of(torch.cat(parts))
        return [own.clone() for own in together.split([len(part) for part in parts])]


def _once(work: Callable[[], Any]) -> list[Any]:
    return [work()]


def _settle(futures: list[Future[Any]], work: Callable[[], list[Any]]) -> None:
    try:
        results = work()
    except Exception as error:
        for future in futures:
            future.set_exception(error)
    else:
        for future, result in zip(futures, results, strict=True):
            future.set_result(result)
