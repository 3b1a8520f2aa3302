"""Look at every clip once: does it decode, how long is it, is it there twice?

What was found is kept as one line of JSON a clip beside the manifest, written as it comes, so that a scan which was
stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from whenwhere.structures import Clip
from whenwhere.video import VideoError, iter_frames, probe

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Finding:
    """What a scan found of one file.

    Attributes:
        path: the file.
        size, changed: bytes, and time of change in ns; a file that differs is looked at again.
        digest: SHA-256 of its bytes, empty when it cannot be read.
        frames: frames that decode.
        fps, duration: frames per second and seconds.
        error: why it is broken; None when it is whole.
    """

    path: str
    size: int
    changed: int
    digest: str = ""
    frames: int = 0
    fps: float = 0.0
    duration: float = 0.0
    error: str | None = None


def content_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes; raises OSError."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class ContentHashes:
    """Hashes of files, remembered from one run to the next as long as a file's size and time of change stay the same.

    Args:
        log: lines of JSON; several processes may append to it.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.known = _read_log(log)

    def of(self, path: str) -> str:
        """The hash of a file; raises VideoError when it cannot be read."""
        known = self.known.get(path)
        if known is None or not _unchanged(known):
            try:
                status = Path(path).stat()
                known = Finding(path, status.st_size, status.st_mtime_ns, content_hash(path))
            except OSError as error:
                raise VideoError(f"{path}: cannot be read ({error.strerror}); check the path") from error
            self.known[path] = known
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as file:  # one write below the size that may be torn apart
                file.write((json.dumps(asdict(known)) + "\n").encode())
        return known.digest


def examine(path: str) -> Finding:
    """Read and decode a file from start to end. A file none or only some of whose frames decode is broken."""
    file = Path(path)
    try:
        status = file.stat()
        found = Finding(path, status.st_size, status.st_mtime_ns)
        found = replace(found, digest=content_hash(path))
    except OSError as error:
        return Finding(path, 0, 0, error=f"{path}: cannot be read ({error.strerror}); check the path")
    try:
        info = probe(path)
        frames = sum(1 for _ in iter_frames(path))
    except VideoError as error:
        return replace(found, error=str(error))
    except Exception as error:  # a decoder's surprise is this clip's trouble, not the whole scan's
        return replace(found, error=f"{path}: {type(error).__name__}: {error}")
    found = replace(found, frames=frames, fps=info.fps, duration=info.duration)
    if frames < len(info.timestamps):
        lost = f"{len(info.timestamps) - frames} of {len(info.timestamps)} frames do not decode"
        return replace(found, error=f"{path}: {lost}; the file is damaged: convert it again")
    return found


def scan(clips: Sequence[Clip], log: Path, workers: int = 1, progress: Progress | None = None) -> dict[str, Finding]:
    """Examine every clip that ``log`` does not already tell of.

    Args:
        log: lines of JSON, one a file; appended to.
        workers: processes.

    Returns:
        What was found, by path.
    """
    paths = list(dict.fromkeys(clip.path for clip in clips))
    known = _read_log(log)
    found = {path: known[path] for path in paths if path in known and _unchanged(known[path])}
    wanted = [path for path in paths if path not in found]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        for count, finding in enumerate(_examine_all(wanted, workers), start=1):
            found[finding.path] = finding
            file.write(json.dumps(asdict(finding)) + "\n")
            file.flush()
            if progress:
                progress(count, len(wanted))
    return found


def _examine_all(paths: Sequence[str], workers: int) -> Iterable[Finding]:
    if workers <= 1 or len(paths) < 2:
        yield from map(examine, paths)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(examine, paths, chunksize=1)


def _read_log(log: Path) -> dict[str, Finding]:
    """What a log tells; a line that was cut off by a kill tells nothing and costs no more than another look."""
    text = log.read_bytes() if log.is_file() else b""
    if text and not text.endswith(b"\n"):
        with log.open("ab") as file:
            file.write(b"\n")
    found = {}
    for line in text.splitlines():
        try:
            finding = Finding(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found[finding.path] = finding
    return found


def _unchanged(finding: Finding) -> bool:
    try:
        status = Path(finding.path).stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (finding.size, finding.changed)


def with_findings(clips: Iterable[Clip], found: dict[str, Finding]) -> list[Clip]:
    """The clips that are whole, with frames, rate and duration as found."""
    whole = []
    for clip in clips:
        finding = found.get(clip.path)
        if finding is None:
            whole.append(clip)
        elif finding.error is None:
            whole.append(replace(clip, frames=finding.frames, fps=finding.fps, duration=finding.duration))
    return whole


def duplicates_across_splits(clips: Iterable[Clip], found: dict[str, Finding]) -> list[tuple[Clip, ...]]:
    """Sets of clips with the same bytes in different splits: what is learned from one is asked of the other."""
    same: dict[str, list[Clip]] = {}
    for clip in clips:
        finding = found.get(clip.path)
        if finding and finding.digest:
            same.setdefault(finding.digest, []).append(clip)
    return [tuple(group) for group in same.values() if len({clip.split for clip in group}) > 1]
