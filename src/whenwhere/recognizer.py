"""The Python face: load a trained model, explain a video."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whenwhere.features.extract import frame_features
from whenwhere.localization import LocalizationOptions, find_boxes, find_segments
from whenwhere.models import AttentionOutput, Network
from whenwhere.structures import Explanation
from whenwhere.training.checkpoint import CheckpointError, ModelRecord, load_model
from whenwhere.video import Frames, clip_sampler, read_frames


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
        self.network, self.record, self.name = network, record, name
        self.classes = record.classes
        self.sampler = clip_sampler(record.config.data.clip_frames, record.config.data.fps)
        preprocessing = network.backbone.preprocessing
        network.backbone.preprocessing = replace(preprocessing, size=preprocessing.size * record.config.data.cells)

    @torch.inference_mode()
    def recognize(self, frames: Frames) -> AttentionOutput:
        """Logits and attention for the frames of one video, batch size 1."""
        backbone = self.network.backbone
        assert backbone is not None
        projection = self.network.projection
        features = frame_features(frames.pixels, backbone, projection)  # type: ignore[arg-type]
        return self.network.head(features.unsqueeze(0))

    def explain(self, path: str | Path, top: int = 5, localization: LocalizationOptions | None = None) -> Explanation:
        """Say what happens in a video, when, and where.

        Args:
            path: any file FFmpeg reads.
            top: number of classes in the answer.
            localization: how attention is cut into segments and boxes.

        Raises:
            VideoError: the file cannot be read.
        """
        frames = read_frames(path, self.sampler)
        output = self.recognize(frames)
        probabilities = output.logits[0].softmax(-1)
        order = probabilities.argsort(descending=True)[:top].tolist()
        label = self.classes[order[0]]
        times, importance, weights, masks = _merge_repeats(
            frames.times, output.importance[0], output.weights[0].mean(0), output.mask[0, :, 0]
        )
        backbone = self.network.backbone
        assert backbone is not None
        info = frames.info
        area = backbone.preprocessing.area(info.width, info.height)
        return Explanation(
            path=str(path),
            width=info.width,
            height=info.height,
            duration=info.duration,
            labels=tuple((self.classes[index], float(probabilities[index])) for index in order),
            times=tuple(times.tolist()),
            importance=tuple(importance.tolist()),
            weights=tuple(weights.tolist()),
            masks=masks.numpy(),
            mask_area=area,
            segments=find_segments(importance, times, info.duration, label, localization),
            boxes=find_boxes(masks, importance, times, area, (info.width, info.height), label, localization),
            model=self.name,
        )


def _merge_repeats(
    times: np.ndarray, importance: Tensor, weights: Tensor, masks: Tensor
) -> tuple[np.ndarray, Tensor, Tensor, Tensor]:
    """A short video has fewer frames than the model looks at: add up what its repeated frames got."""
    distinct, index = np.unique(times, return_inverse=True)
    count = len(distinct)
    where = torch.from_numpy(index)
    summed = torch.zeros(count, *masks.shape[1:]).index_add_(0, where, masks.float().cpu())
    repeats = torch.bincount(where, minlength=count)
    add = [torch.zeros(count).index_add_(0, where, values.float().cpu()) for values in (importance, weights)]
    shares = [values / values.sum() for values in add]
    return distinct, shares[0], shares[1], (summed / repeats[:, None, None]).clamp(0, 1)
