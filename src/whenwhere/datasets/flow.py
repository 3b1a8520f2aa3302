"""Optical flow of whole sets of clips: in parallel, and once.

A clip's flow lies in a folder named by the options, under its own name and the hash of its bytes: a clip renamed or
copied is known, one that changed is not, and flow made otherwise is never taken for this. A file is there once it is
whole, so that a run that was killed goes on where it was.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

from whenwhere.datasets.integrity import ContentHashes
from whenwhere.datasets.manifest import ManifestError, write_clips
from whenwhere.structures import Clip
from whenwhere.video import FlowOptions, FlowUnavailableError, VideoError, write_flow
from whenwhere.video.flow import flow_solver
from whenwhere.video.flow_files import SUFFIX

Progress = Callable[[int, int], None]
MANIFEST, HASHES = "clips.csv", "files.jsonl"


@dataclass(frozen=True)
class FlowResult:
    """What came of computing the flow of a set of clips.

    Attributes:
        manifest: the clips with the column ``flow``, empty where there is none.
        computed, known: files of flow made now, and there before; copies of a video share one.
        fields: flow fields computed now.
        size: bytes of all the files.
        broken: ``(path, cause)`` of videos without flow.
    """

    manifest: Path
    computed: int
    known: int
    fields: int
    size: int
    broken: tuple[tuple[str, str], ...]


def compute_flows(
    clips: Sequence[Clip],
    folder: str | Path,
    options: FlowOptions | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> FlowResult:
    """Compute the flow of every clip that has none in ``folder`` yet, and write ``clips.csv`` there.

    Clips that cannot be read are reported and have no flow in the manifest.

    Args:
        folder: for the files; one run at a time may write to it.
        workers: processes.
        progress: called with files done and files to compute.

    Raises:
        ManifestError: OpenCV, or its part with the method, is not installed.
        VideoError: not one clip can be read.
    """
    folder, options = Path(folder), options or FlowOptions()
    try:
        flow_solver(options.method)
    except FlowUnavailableError as error:
        raise ManifestError(str(error)) from error
    target, broken = _targets(clips, folder, options)
    wanted = {file: path for path, file in target.items() if not file.is_file()}
    (folder / options.name).mkdir(parents=True, exist_ok=True)
    fields = 0
    for count, (file, done) in enumerate(_all(wanted, options, workers), start=1):
        if isinstance(done, str):
            broken |= {path: done for path, other in target.items() if other == file}
        else:
            fields += done
        if progress:
            progress(count, len(wanted))
    broken = {clip.path: broken[clip.path] for clip in clips if clip.path in broken}
    if broken and len(broken) == len({clip.path for clip in clips}):
        raise VideoError(f"none of the {len(broken)} clips can be read; the first: {next(iter(broken.values()))}")
    with_flow = [replace(clip, flow=None if clip.path in broken else str(target[clip.path])) for clip in clips]
    manifest = write_clips(with_flow, folder / MANIFEST)
    files = {file for path, file in target.items() if path not in broken}
    size = sum(file.stat().st_size for file in files)
    made = sum(file in files for file in wanted)
    return FlowResult(manifest, made, len(files) - made, fields, size, tuple(broken.items()))


def _targets(clips: Sequence[Clip], folder: Path, options: FlowOptions) -> tuple[dict[str, Path], dict[str, str]]:
    """Where the flow of each video belongs, by its path; why a video cannot be read, likewise."""
    hashes = ContentHashes(folder / HASHES)
    target: dict[str, Path] = {}
    broken: dict[str, str] = {}
    files = {file.stem.rpartition("-")[2]: file for file in sorted((folder / options.name).glob(f"*{SUFFIX}"))}
    for path in dict.fromkeys(clip.path for clip in clips):
        try:
            digest = hashes.of(path)[:16]
        except VideoError as error:
            broken[path] = str(error)
            continue
        own = folder / options.name / f"{Path(path).stem}-{digest}{SUFFIX}"
        target[path] = files.setdefault(digest, own)
    return target, broken


def _all(wanted: dict[Path, str], options: FlowOptions, workers: int) -> Iterator[tuple[Path, int | str]]:
    """File, and number of fields or why there are none, as they come."""
    one = partial(_one, options)
    if workers <= 1 or len(wanted) < 2:
        yield from map(one, wanted.items())
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        yield from pool.map(one, wanted.items(), chunksize=1)


def _one(options: FlowOptions, task: tuple[Path, str]) -> tuple[Path, int | str]:
    file, path = task
    try:
        return file, write_flow(file, path, options)
    except VideoError as error:
        return file, str(error)
    except Exception as error:  # a decoder's surprise is this clip's trouble, not the whole run's
        return file, f"{path}: {type(error).__name__}: {error}"


def _start_worker() -> None:
    """One thread for each process, which ends with the one that started it, even when that is killed."""
    import cv2

    cv2.setNumThreads(1)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
