"""Video files in and out: frames with their times, sampling, preprocessing and the way back to pixels."""

from whenwhere.video.indexing import VideoError, VideoIndex, VideoInfo, build_index, header_rate
from whenwhere.video.reader import Frames, Sampler, iter_frames, probe, read_frames
from whenwhere.video.sampling import (
    Between,
    FixedRate,
    RandomSegment,
    Strided,
    Uniform,
    Window,
    clip_sampler,
    frames_at,
    make_sampler,
)
from whenwhere.video.transforms import Area, Augmentation, Preprocessing, grid_to_pixels, pixels_to_grid, resize
from whenwhere.video.writer import VideoWriter, write_video

__all__ = [
    "Area",
    "Augmentation",
    "Between",
    "FixedRate",
    "Frames",
    "Preprocessing",
    "RandomSegment",
    "Sampler",
    "Strided",
    "Uniform",
    "VideoError",
    "VideoIndex",
    "VideoInfo",
    "VideoWriter",
    "Window",
    "build_index",
    "clip_sampler",
    "frames_at",
    "grid_to_pixels",
    "header_rate",
    "iter_frames",
    "make_sampler",
    "pixels_to_grid",
    "probe",
    "read_frames",
    "resize",
    "write_video",
]
