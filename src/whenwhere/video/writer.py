"""Write videos that browsers play: H.264, 4:2:0, in MP4, with the index in front."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from whenwhere.video.container import VideoError

_TICKS = 90000  # per second; holds every usual frame rate exactly
_BT709 = 1  # in ffmpeg's tables of primaries, transfer and matrix alike


class VideoWriter:
    """Write a video frame by frame; the file appears whole when the block ends, or not at all.

    ::

        with VideoWriter("out.mp4") as writer:
            for seconds, image in iter_frames("in.mp4"):
                writer.write(image, seconds)

    The first frame sets the size. H.264 with 4:2:0 colour has even sizes only: an odd one gets one more column
    at the right or row at the bottom, a copy of the last. Times count from the first frame's, which is shown
    at 0; the last frame is shown as long as the one before.
    """

    def __init__(self, path: str | Path, crf: int = 18, preset: str = "medium") -> None:
        """
        Args:
            path: ends in .mp4; an existing file is replaced.
            crf: quality, 0 (lossless) to 51 (worst).
            preset: of x264, "ultrafast" to "veryslow".

        Raises:
            VideoError: the name does not end in .mp4, or its folder does not exist.
        """
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise VideoError(f"{path}: can write MP4 only; choose a name that ends in .mp4")
        if not self.path.parent.is_dir():
            raise VideoError(f"{path}: its folder does not exist; create {self.path.parent} first")
        self._partial = self.path.with_name(self.path.name + ".partial")
        self._options = {"crf": str(crf), "preset": preset}
        self._reformatter = VideoReformatter()  # one for all frames: a frame's own would prepare its tables anew
        self._container: Any = None
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()
        self._start = 0.0
        self._last_pts = -1
        self._interval = _TICKS // 30  # of a single frame, before there is any

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, image: np.ndarray, time: float) -> None:
        """Add a frame.

        Args:
            image: `(H, W, 3)` uint8, RGB, of the same size as the first.
            time: seconds at which it is shown, later than the frame before.

        Raises:
            VideoError: wrong shape or type, or a time that does not increase.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise VideoError(f"{self.path}: expected (H, W, 3) uint8 frames, got {image.shape} {image.dtype}")
        if self._container is None:
            self._open(image.shape, time)
        if image.shape != self._shape:
            raise VideoError(f"{self.path}: frames must have one size, got {image.shape} after {self._shape}")
        pts = round((time - self._start) * _TICKS)
        if pts <= self._last_pts:
            raise VideoError(f"{self.path}: times must increase, got {time} s after {self._last_pts / _TICKS} s")
        if self._last_pts >= 0:
            self._interval = pts - self._last_pts
        self._last_pts = pts
        image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = self._reformatter.reformat(frame, format="yuv420p", dst_colorspace=Colorspace.ITU709)
        frame.pts, frame.time_base = pts, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._container is not None:
                self._container.close()
            self._partial.unlink(missing_ok=True)

    def _open(self, shape: tuple[int, ...], start: float) -> None:
        self._container = av.open(
            f"file:{self._partial}", "w", format="mp4", container_options={"movflags": "+faststart"}
        )
        stream = self._container.add_stream("libx264", rate=30, options=self._options)  # times come from the frames
        stream.width, stream.height = shape[1] + shape[1] % 2, shape[0] + shape[0] % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, _TICKS)
        # Untagged colours are guessed, differently by different players.
        context.color_primaries = context.color_trc = context.colorspace = context.color_range = _BT709
        self._stream, self._shape, self._start = stream, shape, start

    def _finish(self) -> None:
        if self._container is None:
            raise VideoError(f"{self.path}: no frames to write")
        for packet in self._stream.encode(None):
            # Others end where the next begins; the last one has to be told: it lasts as long as the one before.
            packet.duration = self._interval
            self._container.mux(packet)
        self._container.close()
        self._partial.replace(self.path)


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    times: Sequence[float] | float,
    crf: int = 18,
    preset: str = "medium",
) -> None:
    """Write ``frames``, each `(H, W, 3)` uint8 RGB, one in memory at a time; see `VideoWriter`.

    Args:
        times: seconds at which each is shown, increasing, as many as frames; or one number, frames per second.

    Raises:
        VideoError: as `VideoWriter`; no frames; more or fewer frames than times.
    """
    fps = float(times) if isinstance(times, (int, float)) else None
    if fps is not None and not fps > 0:
        raise VideoError(f"{path}: frames per second must be positive, got {fps}")
    count = 0
    with VideoWriter(path, crf, preset) as writer:
        for image in frames:
            if fps is None and count >= len(times):  # type: ignore[arg-type]
                raise VideoError(f"{path}: more frames than times ({len(times)})")  # type: ignore[arg-type]
            writer.write(image, count / fps if fps is not None else times[count])  # type: ignore[index]
            count += 1
        if fps is None and count < len(times):  # type: ignore[arg-type]
            raise VideoError(f"{path}: {count} frames for {len(times)} times")  # type: ignore[arg-type]
