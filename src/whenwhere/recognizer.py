"""The Python face: load a trained model, explain a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

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
from whenwhere.models.evidence import grad_cam, temporal_profile
from whenwhere.structures import Box, Explanation, Segment
from whenwhere.training.checkpoint import CheckpointError, ModelRecord, load_model
from whenwhere.video import Area, Between, Frames, VideoIndex, VideoInfo, build_index, clip_sampler

Answer = Literal["attention", "grad_cam"]
FeaturesAt = Callable[[np.ndarray], Tensor]


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
        return self.network.head(self.features(frames.pixels).unsqueeze(0))

    def features(self, pixels: Tensor) -> Tensor:
        """What the head is given of frames as displayed, `(T, 3, height, width)` uint8; each frame is seen alone.

        Returns:
            `(T, C, H, W)` on the model's device.
        """
        backbone, projection = self.network.backbone, self.network.projection
        return frame_features(pixels, backbone, projection, preprocessing=self.preprocessing)  # type: ignore[arg-type]

    def features_of(self, fitted: Tensor) -> Tensor:
        """Features `(T, C, H, W)` of frames `(T, 3, size, size)` uint8 that are fitted to the network's input already.

        Frames of several videos may stand in one batch; each is seen alone.
        """
        backbone, projection = self.network.backbone, self.network.projection
        return frame_features(fitted, backbone, projection, preprocessing=self.preprocessing.normalise)  # type: ignore[arg-type]

    def windows_of(self, info: VideoInfo, window: float | None = None, overlap: float = 0.5) -> np.ndarray:
        """Windows that :meth:`explain` looks at, `(N, 2)` start and end in seconds."""
        length = next(seconds for seconds in (window, self.window, info.duration) if seconds is not None)
        return plan_windows(info.duration, length, overlap)

    def numbers_in(self, info: VideoInfo, start: float, end: float) -> np.ndarray:
        """Numbers `(T,)` of the frames looked at in the window from ``start`` to ``end`` seconds; some may repeat."""
        return Between(self.sampler, start, end)(info.timestamps, info.duration)

    def explain(
        self,
        path: str | Path,
        top: int = 5,
        localization: LocalizationOptions | None = None,
        window: float | None = None,
        overlap: float = 0.5,
        answer: Answer = "attention",
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
            answer: what says when and where. ``grad_cam`` is Grad-CAM of the window's most probable class on the same
                features, over its largest value in the window, to hold the attention against. It has no temporal
                weights, so ``weights`` are its importance. Masks are 0 where nothing speaks for the class.

        Raises:
            VideoError: the file cannot be read.
            ValueError: a window that is not positive, an overlap out of range, an unknown answer.
        """
        if answer not in get_args(Answer):
            raise ValueError(f"answer must be one of {', '.join(get_args(Answer))}, got {answer!r}")
        index = build_index(path)
        windows = self.windows_of(index.info, window, overlap)
        looks = list(self._look(index.info, windows, self._reading(index), answer))
        return self.explanation_of(index.info, looks, top, localization, answer)

    def explanation_of(
        self,
        info: VideoInfo,
        looks: Sequence[WindowResult],
        top: int = 5,
        localization: LocalizationOptions | None = None,
        answer: Answer = "attention",
    ) -> Explanation:
        """What :meth:`explain` says, from what the head said about each window.

        Args:
            info: of the video.
            looks: of :meth:`look_at`, one for each of :meth:`windows_of`.
            top, localization, answer: as :meth:`explain`.
        """
        seen = merge_windows(looks)
        order = np.argsort(-seen.probabilities, kind="stable")[:top]
        segments, boxes, area = self._localize(info, seen, localization)
        return Explanation(
            path=info.path,
            width=info.width,
            height=info.height,
            duration=info.duration,
            labels=tuple((self.classes[number], float(seen.probabilities[number])) for number in order),
            times=tuple(seen.times.tolist()),
            importance=tuple(seen.importance.tolist()),
            weights=tuple(seen.weights.tolist()),
            masks=seen.masks,
            mask_area=area,
            segments=segments,
            boxes=boxes,
            model=self.name if answer == "attention" else f"{self.name}, Grad-CAM",
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

    def _reading(self, index: VideoIndex) -> FeaturesAt:
        """Reads and computes; a frame that is in the window before too is not looked at again."""
        known: dict[int, Tensor] = {}

        def features_at(numbers: np.ndarray) -> Tensor:
            missing = np.setdiff1d(numbers, list(known))
            if len(missing):
                pixels = self.reader(index, lambda *_: missing).pixels
                known.update(zip(missing.tolist(), self.features(pixels), strict=True))
            for number in known.keys() - set(numbers.tolist()):
                del known[number]
            return torch.stack([known[number] for number in numbers.tolist()])

        return features_at

    def _look(
        self, info: VideoInfo, windows: np.ndarray, features_at: FeaturesAt, answer: Answer
    ) -> Iterator[WindowResult]:
        """What the model says about each window."""
        for start, end in windows.tolist():
            numbers = self.numbers_in(info, start, end)
            yield self.look_at(features_at(numbers), info.timestamps[numbers], start, end, answer)

    @torch.inference_mode()
    def look_at(
        self, features: Tensor, times: np.ndarray, start: float, end: float, answer: Answer = "attention"
    ) -> WindowResult:
        """What the head says about one window.

        Args:
            features: `(T, C, H, W)` from :meth:`features`.
            times: `(T,)` seconds of the frames, not decreasing; a frame may stand there several times.
            start, end: of the window, seconds.
            answer: as in :meth:`explain`.
        """
        output, *shares = self._when_and_where(features.unsqueeze(0), answer)
        distinct, importance, weights, masks = merge_repeats(times, *shares)
        return WindowResult(
            start,
            end,
            distinct,
            importance.numpy(),
            weights.numpy(),
            masks.numpy(),
            output.logits[0].softmax(-1).float().cpu().numpy(),
            _frame_scores(output, times),
        )

    def _when_and_where(self, features: Tensor, answer: Answer) -> tuple[AttentionOutput, Tensor, Tensor, Tensor]:
        """Output for features `(1, T, C, H, W)`; the answer's importance `(T,)`, weights `(T,)`, masks `(T, H, W)`."""
        output = self.network.head(features)
        if answer == "attention":
            return output, output.importance[0], output.weights[0].mean(0), output.mask[0, :, 0]
        with torch.inference_mode(False):
            _, maps = grad_cam(self.network.head, features.clone(), output.logits.argmax(1).clone())
        profile = temporal_profile(maps)[0]
        return output, profile, profile, maps[0] / maps.max().clamp_min(1e-12)


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
