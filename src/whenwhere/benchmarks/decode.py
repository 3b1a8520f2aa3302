"""Reading some frames of a video against decoding all of them, and against other readers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import av
import numpy as np
from rich.table import Table

from whenwhere.files import whole_file
from whenwhere.video import frames_at, iter_frames, make_sampler, probe, read_frames

LONG_BAR, SHORT_BAR = 2.0, 0.9
LONG_SECONDS, LONG_FPS, LONG_SIZE, KEY_FRAME_EVERY = 600, 25, (1280, 720), 250

Reader = Callable[[Path, int], int]


def every_frame(path: Path, frames: int) -> int:
    """Decode and convert every frame, then pick: what a reader does that cannot seek."""
    read = list(iter_frames(path))
    times = np.array([seconds for seconds, _ in read])
    wanted = frames_at(times, (np.arange(frames) + 0.5) / frames * times[-1])
    return np.stack([read[index][1] for index in wanted]).shape[0]


def every_frame_streamed(path: Path, frames: int) -> int:
    """The same for a video that does not fit into memory: only the wanted ones are kept."""
    times = probe(path).timestamps
    wanted = set(frames_at(times, (np.arange(frames) + 0.5) / frames * times[-1]).tolist())
    return sum(1 for index, _ in enumerate(iter_frames(path)) if index in wanted)


def ours(path: Path, frames: int) -> int:
    return len(read_frames(path, make_sampler("uniform", frames=frames)).pixels)


def with_opencv(path: Path, frames: int) -> int:
    """OpenCV, seeking to each frame by its number."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    read = 0
    for index in ((np.arange(frames) + 0.5) / frames * total).astype(int):
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(index))
        good, image = capture.read()
        read += good and cv2.cvtColor(image, cv2.COLOR_BGR2RGB) is not None
    capture.release()
    return read


def with_torchcodec(path: Path, frames: int) -> int:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), seek_mode="approximate")
    total = decoder.metadata.num_frames or 0
    return len(decoder.get_frames_at(((np.arange(frames) + 0.5) / frames * total).astype(int).tolist()).data)


def readers() -> dict[str, Reader]:
    """Those that can be imported, ours first."""
    found: dict[str, Reader] = {"whenwhere": ours, "every frame": every_frame}
    for name, module, reader in (("OpenCV", "cv2", with_opencv), ("torchcodec", "torchcodec", with_torchcodec)):
        try:
            __import__(module)
        except (ImportError, OSError, RuntimeError):
            continue
        found[name] = reader
    return found


def make_long_video(
    path: Path, seconds: int = LONG_SECONDS, size: tuple[int, int] = LONG_SIZE, fps: int = LONG_FPS
) -> Path:
    """A drawn test pattern in H.264, a key frame every 250 frames; left alone if it is there."""
    if path.is_file():
        return path
    source = f"testsrc2=size={size[0]}x{size[1]}:rate={fps}:duration={seconds}"
    options = {"preset": "ultrafast", "crf": "23", "g": str(KEY_FRAME_EVERY), "keyint_min": str(KEY_FRAME_EVERY)}
    with (
        whole_file(path) as partial,
        av.open(source, format="lavfi") as drawn,
        av.open(str(partial), "w", format="mp4") as container,
    ):
        stream = container.add_stream("libx264", rate=fps, options={**options, "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for frame in drawn.decode(video=0):
            shown = frame.reformat(format="yuv420p")
            shown.pict_type = av.video.frame.PictureType.NONE  # drawn frames say "key frame", every one of them
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    return path


def benchmark_decode(
    clips: Sequence[Path], folder: Path, frames: int = 16, long_frames: int = 50, repeats: int = 3,
    seconds: int = LONG_SECONDS, size: tuple[int, int] = LONG_SIZE,
) -> dict[str, float]:  # fmt: skip
    """Clips per second of every reader, on short clips and on one long video.

    Readers take turns clip by clip, so that a passing disturbance meets all of them.

    Args:
        clips: videos of 10 s and less.
        folder: where the long video is made and kept.
        frames, long_frames: evenly spaced frames read of each.
        seconds, size: of the long video.

    Returns:
        ``short_ratio`` and ``long_ratio``: ours over decoding every frame, and clips per second as
        ``{short,long}_{reader}``.
    """
    available = readers()
    long = make_long_video(folder / f"long_{seconds}s_{size[0]}x{size[1]}.mp4", seconds, size)
    result: dict[str, float] = {}
    for kind, paths, count, names in (
        ("short", clips, frames, available),
        ("long", [long], long_frames, {**available, "every frame": every_frame_streamed}),
    ):
        spent: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(repeats if kind == "short" else 1):
            totals = dict.fromkeys(names, 0.0)
            for path in paths:
                for name, reader in names.items():
                    start = time.perf_counter()
                    reader(path, count)
                    totals[name] += time.perf_counter() - start
            for name, total in totals.items():
                spent[name].append(total)
        result |= {f"{kind}_{name}": len(paths) / median(values) for name, values in spent.items()}
        ratios = [slow / fast for slow, fast in zip(spent["every frame"], spent["whenwhere"], strict=True)]
        result[f"{kind}_ratio"] = median(ratios)
    return result


def format_decode(result: dict[str, float]) -> Table:
    """The result of :func:`benchmark_decode` for a terminal."""
    table = Table("reader", "short clips/s", "long videos/s", title="Reading evenly spaced frames")
    for name in [key.removeprefix("short_") for key in result if key.startswith("short_") and key != "short_ratio"]:
        table.add_row(name, f"{result[f'short_{name}']:.2f}", f"{result[f'long_{name}']:.4f}")
    ratios = [f"{result[f'{kind}_ratio']:.2f} (>= {bar})" for kind, bar in (("short", SHORT_BAR), ("long", LONG_BAR))]
    table.add_row("ours over every frame", *ratios)
    return table
