"""Video files in and out: frames with their times, sampling, preprocessing and the way back to pixels."""

from whenwhere.video.container import VideoError, header_rate
from whenwhere.video.dynamic_images import DynamicImageOptions, dynamic_image, rank_pooling_weights, read_dynamic_images
from whenwhere.video.flow import FlowOptions, FlowUnavailableError, dequantize_flow, quantize_flow
from whenwhere.video.flow_files import FlowRecord, flow_record, read_flow, write_flow
from whenwhere.video.indexing import VideoIndex, VideoInfo, build_index
from whenwhere.video.modality import InputReader, Modality
from whenwhere.video.reader import Frames, Sampler, iter_frames, iter_wanted, probe, read_frames
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
    "DynamicImageOptions",
    "FixedRate",
    "FlowOptions",
    "FlowRecord",
    "FlowUnavailableError",
    "Frames",
    "InputReader",
    "Modality",
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
    "dequantize_flow",
    "dynamic_image",
    "flow_record",
    "frames_at",
    "grid_to_pixels",
    "header_rate",
    "iter_frames",
    "iter_wanted",
    "make_sampler",
    "pixels_to_grid",
    "probe",
    "quantize_flow",
    "rank_pooling_weights",
    "read_dynamic_images",
    "read_flow",
    "read_frames",
    "resize",
    "write_flow",
    "write_video",
]
