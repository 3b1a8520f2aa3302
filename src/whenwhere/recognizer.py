"""The Python face: load a trained model, explain a video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whenwhere.features.extract import frame_features
from whenwhere.localization import (
    LocalizationOptions,
    Merged,
    WindowResult,
    find_boxes,
    find_class_segments,
    merge_windows,
    plan_windows,
)
from whenwhere.models import AttentionOutput, Network
from whenwhere.structures import Box, Explanation, Segment
from whenwhere.training.checkpoint import CheckpointError, ModelRecord, load_model
from whenwhere.video import Area, Between, Frames, VideoIndex, VideoInfo, build_index, clip_sampler


def load(run: str | Path) -> Recognizer:
    """Load what a training run left.

    Args:
        run: the run's folder, or its model file.

    Raises:
        CheckpointError: no model there, or its backbone's weights are not to be found as they were.
        WeightsError: the backbone's weights are missing.
    """
    return Recognizer(*load_model(run), name=str(run))


class Recognizer:
    """A trained model that says what, when and where.

    Args:
        network: in evaluation mode, with a backbone.
        record: what it was trained as.
        name: said in explanations.
    """

    def __init__(self, network: Network, record: ModelRecord, name: str = "") -> None:
        if network.backbone is None:
            raise CheckpointError(f"{name} was trained on given features; without a backbone it cannot look at a video")
        self.reader = record.config.data.reader
        if self.reader.modality == "flow":
            raise CheckpointError(
                f"{name} was trained on optical flow, which a video alone does not have; measure it with "
                "`whenwhere evaluate` on a manifest with flow"
            )
        self.network, self.record, self.name = network, record, name
        self.classes = record.classes
        frames, fps = record.config.data.seen_frames, record.config.data.fps
        self.sampler, self.window = clip_sampler(frames, fps), frames / fps if fps else None
        own, cells = network.backbone.preprocessing, record.config.data.cells
        short = own.resize_short and own.resize_short * cells
        self.preprocessing = replace(own, size=own.size * cells, resize_short=short)  # of a whole wall, not of a cell

    @torch.inference_mode()
    def recognize(self, frames: Frames) -> AttentionOutput:
        """Logits and attention for the frames of one video, batch size 1."""
        return self.network.head(self._features(frames.pixels).unsqueeze(0))

    def _features(self, pixels: Tensor) -> Tensor:
        backbone, projection = self.network.backbone, self.network.projection
        return frame_features(pixels, backbone, projection, preprocessing=self.preprocessing)  # type: ignore[arg-type]

    def explain(
        self,
        path: str | Path,
        top: int = 5,
        localization: LocalizationOptions | None = None,
        window: float | None = None,
        overlap: float = 0.5,
    ) -> Explanation:
        """Say what happens in a video, when, and where.

        A long video is looked at in windows, each with as many frames as an evaluation looks at; how they are put
        together says :func:`whenwhere.localization.merge_windows`. Then several classes may have segments.

        Args:
            path: any file FFmpeg reads.
            top: number of classes in the answer.
            localization: how attention is cut into segments and boxes.
            window: seconds; None: the whole video is one window, or for a model trained at a fixed rate what its frames
                last.
            overlap: share of a window that lies in the next one too, in [0, 1).

        Raises:
            VideoError: the file cannot be read.
            ValueError: a window that is not positive, an overlap out of range.
        """
        index = build_index(path)
        length = next(seconds for seconds in (window, self.window, index.info.duration) if seconds is not None)
        windows = plan_windows(index.info.duration, length, overlap)
        seen = merge_windows(list(self._look(index, windows)))
        order = np.argsort(-seen.probabilities, kind="stable")[:top]
        segments, boxes, area = self._localize(index.info, seen, localization)
        return Explanation(
            path=str(path),
            width=index.info.width,
            height=index.info.height,
            duration=index.info.duration,
            labels=tuple((self.classes[number], float(seen.probabilities[number])) for number in order),
            times=tuple(seen.times.tolist()),
            importance=tuple(seen.importance.tolist()),
            weights=tuple(seen.weights.tolist()),
            masks=seen.masks,
            mask_area=area,
            segments=segments,
            boxes=boxes,
            model=self.name,
        )

    def _localize(
        self, info: VideoInfo, seen: Merged, options: LocalizationOptions | None
    ) -> tuple[tuple[Segment, ...], tuple[Box, ...], Area]:
        """Segments, boxes and the pixels that the masks cover; only classes that lead somewhere have any."""
        area = self.preprocessing.area(info.width, info.height)
        evidence, sure = seen.evidence, seen.best_probabilities
        leading = np.unique(evidence.argmax(0))
        if options is not None and options.rule == "untrimmed_net":  # it chooses among all classes itself
            leading, sure = np.argsort(-seen.probabilities, kind="stable"), seen.probabilities
            evidence = seen.scores if seen.scores is not None else evidence
        names = [self.classes[number] for number in leading]
        sure = sure[leading].tolist()
        segments = find_class_segments(evidence[leading], seen.times, info.duration, names, options, sure)
        boxes = find_boxes(
            torch.from_numpy(seen.masks),
            seen.importance,
            seen.times,
            area,
            (info.width, info.height),
            names[0],
            options,
            segments,
            dict(zip(names, sure, strict=True)),
        )
        return segments, boxes, area

    @torch.inference_mode()
    def _look(self, index: VideoIndex, windows: np.ndarray) -> Iterator[WindowResult]:
        """What the model says about each window; a frame that is in the window before too is not looked at again."""
        info = index.info
        known: dict[int, Tensor] = {}
        for start, end in windows.tolist():
            numbers = Between(self.sampler, start, end)(info.timestamps, info.duration)
            missing = np.setdiff1d(numbers, list(known))
            if len(missing):
                pixels = self.reader(index, lambda *_, missing=missing: missing).pixels
                known.update(zip(missing.tolist(), self._features(pixels), strict=True))
            known = {number: known[number] for number in numbers.tolist()}
            output = self.network.head(torch.stack([known[number] for number in numbers.tolist()]).unsqueeze(0))
            times, importance, weights, masks = merge_repeats(
                info.timestamps[numbers], output.importance[0], output.weights[0].mean(0), output.mask[0, :, 0]
            )
            probabilities = output.logits[0].softmax(-1).float().cpu()
            yield WindowResult(
                start,
                end,
                times,
                importance.numpy(),
                weights.numpy(),
                masks.numpy(),
                probabilities.numpy(),
                _frame_scores(output, info.timestamps[numbers]),
            )


def _frame_scores(output: AttentionOutput, times: np.ndarray) -> np.ndarray | None:
    """Probabilities of each distinct frame of one video, `(T, K)`; None where a model's steps are not its frames."""
    if output.steps is None or output.steps.shape[1] != len(times):
        return None
    return output.steps[0].float().exp().cpu().numpy()[np.unique(times, return_index=True)[1]]


def merge_repeats(
    times: np.ndarray, importance: Tensor, weights: Tensor, masks: Tensor
) -> tuple[np.ndarray, Tensor, Tensor, Tensor]:
    """A short video has fewer frames than the model looks at: add up what its repeated frames got."""
    distinct, index = np.unique(times, return_inverse=True)
    count = len(distinct)
    where = torch.from_numpy(index)
    summed = torch.zeros(count, *masks.shape[1:]).index_add_(0, where, masks.float().cpu())
    repeats = torch.bincount(where, minlength=count)
    add = [torch.zeros(count).index_add_(0, where, values.float().cpu()) for values in (importance, weights)]
    shares = [values / values.sum().clamp_min(1e-12) for values in add]
    return distinct, shares[0], shares[1], (summed / repeats[:, None, None]).clamp(0, 1)
