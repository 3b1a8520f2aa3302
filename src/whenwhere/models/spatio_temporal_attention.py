"""The method: spatial mask, temporal attention driven by a ConvLSTM, classifier (paper, Sec. 3).

Axes: B clips, T frames (the paper's n), S recurrent steps (the paper's T), C feature channels,
H x W the feature grid, D hidden channels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from whenwhere.layers import (
    ConvLSTM,
    SpatialAttention,
    TemporalAttention,
    TemporalConvolution,
    mask_of_maps,
    scale_mask_by_clip_mean,
    smooth_mask,
    temporal_difference,
    temporal_encoding,
)
from whenwhere.layers.temporal_attention import Energy
from whenwhere.models.output import AttentionOutput

Order = Literal["none", "encoding", "difference", "motion", "convolution"]


@dataclass(frozen=True)
class SpatioTemporalAttentionOptions:
    """What the model is made of.

    The fields that default to None follow ``variant``; any of them can be set on its own, so every
    ablation and every step from the paper's form to the default is an argument.

    Attributes:
        variant: ``paper``: Eq. 1-6 to the letter; ``default``: the form in which attention is alive.
        hidden: D, channels of the ConvLSTM's state.
        mask_widths: output channels of the mask's first two convolutions; None: (C / 2, C / 4).
        spatial: False leaves the mask out (ablation "w/o spatial attention").
        temporal: False makes the weights uniform (ablation "w/o temporal attention").
        energy: ``joint`` or ``additive`` (Eq. 2 as printed; does not depend on the state).
        mask_scale: ``clip_mean`` divides the mask by its clip mean before it meets the features, ``none`` does not.
        divide_by_frames: the 1/n of Eq. 4 on top of weights that already sum to 1.
        start: what the first state is made of: ``mean`` of all frames (Eq. 5), a way round the temporal attention
            that lets it stay uniform, or ``attended``, the frames under the weights of an empty state.
        steps: S; None: as many as frames.
        readout: ``mean``: Eq. 6; ``attention``: the second architecture of the public scripts, in which
            the ConvLSTM reads the masked frames in order and softmax weights over its states are read out.
        order: ``none``: blind to the order of frames, as the paper; ``encoding`` adds a temporal encoding to
            keys and masked features; ``difference`` adds channels that tell how each cell changes; ``motion``
            adds the magnitude of that change, which tells order but not direction; ``convolution`` adds D channels
            learned over neighbouring frames, which tell any motion.
        pool: side, in cells, of the squares over which masked features are averaged before the recurrence; 2 gives a
            mask of H x W and states of H/2 x W/2, a quarter of the recurrence's cost.
        order_kernel: frames and cells of the kernels of ``order: convolution``. What it knows of a motion stands within
            their reach of it, and the mask may lie there, beside the thing that moves; with one cell it cannot.
        gate_order: mask what ``order: convolution`` reads, too: the mask is made from one such layer, and a second one,
            3 x 3 x 3, gives the classifier what it finds in masked features. What lies outside the mask is then not
            known inside it, except for what the features themselves see around each cell.
        mask_kernel: cells of the mask's kernels, 3, or 1: each cell is judged by its own features.
        smooth_mask: average the mask over neighbouring cells and frames, see :func:`smooth_mask`.
        class_maps: make the mask of a map for each class, which has to find its class and nothing else
            (:func:`whenwhere.losses.detection`). Without, a class known by the absence of all others is not attended.
            A class that *is* the absence of all others (``data.background``) has no map.
        dropout: share of feature channels dropped in training.
        fade_in: share of training over which the mask is faded in. A mask that closes before the classifier knows
            what to look for hides it for good; so it starts as average pooling. 0: from the start.
    """

    variant: Literal["default", "paper"] = "default"
    hidden: int = 512
    mask_widths: tuple[int, int] | None = None
    spatial: bool = True
    temporal: bool = True
    energy: Energy | None = None
    mask_scale: Literal["clip_mean", "none"] | None = None
    divide_by_frames: bool | None = None
    start: Literal["attended", "mean"] | None = None
    steps: int | None = None
    readout: Literal["mean", "attention"] = "mean"
    order: Order = "none"
    pool: int = 1
    order_kernel: tuple[int, int] = (3, 3)
    gate_order: bool = False
    mask_kernel: int = 3
    smooth_mask: bool = False
    class_maps: bool = False
    dropout: float = 0.2
    fade_in: float = 0.0

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise ValueError(f"model.pool must be at least 1, got {self.pool}")
        if self.gate_order and not (self.spatial and self.order == "convolution"):
            raise ValueError(
                "model.gate_order masks what order: convolution reads; it needs model.order: convolution and "
                f"model.spatial: true, got {self.order!r} and {self.spatial}"
            )
        if self.class_maps and not self.spatial:
            raise ValueError("model.class_maps makes the mask; it needs model.spatial: true")

    def resolved(self) -> SpatioTemporalAttentionOptions:
        """The same options with every None that follows ``variant`` filled in."""
        paper = self.variant == "paper"
        preset = {
            "energy": "additive" if paper else "joint",
            "mask_scale": "none" if paper else "clip_mean",
            "divide_by_frames": paper,
            "start": "mean" if paper else "attended",
        }
        return replace(self, **{k: v for k, v in preset.items() if getattr(self, k) is None})  # type: ignore[arg-type]


class _StartState(nn.Sequential):
    """g_c or g_h of Eq. 5: two convolutions with batch norm, `(B, C, H, W)` to `(B, D, H, W)`."""

    def __init__(self, channels: int, hidden: int) -> None:
        middle = max(channels // 2, hidden)
        super().__init__(
            nn.Conv2d(channels, middle, 3, padding=1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
        )


class SpatioTemporalAttention(nn.Module):
    """Recogniser whose two attentions say when and where (paper, Eq. 1-6).

    Args:
        channels: C of the features.
        classes: K.
        options: see :class:`SpatioTemporalAttentionOptions`.
        absence: index of the class that is the absence of all others; None: there is none.

    Shape:
        features `(B, T, C, H, W)` to :class:`AttentionOutput`.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        options: SpatioTemporalAttentionOptions | None = None,
        absence: int | None = None,
    ) -> None:
        super().__init__()
        self.options = options = (options or SpatioTemporalAttentionOptions()).resolved()
        self.dropout = nn.Dropout3d(options.dropout)
        self.mask_share = 1.0
        self.channels = channels
        self.temporal_convolution = (
            TemporalConvolution(channels, options.hidden, options.order_kernel)
            if options.order == "convolution"
            else None
        )
        inputs = channels + {"difference": channels, "motion": channels, "convolution": options.hidden}.get(
            options.order, 0
        )
        maps = classes - (absence is not None) if options.class_maps else 1
        self.spatial_attention = (
            SpatialAttention(inputs, options.mask_widths, options.mask_kernel, maps) if options.spatial else None
        )
        self.gated_convolution = TemporalConvolution(channels, options.hidden) if options.gate_order else None
        self.conv_lstm = ConvLSTM(inputs, options.hidden)
        self.classifier = nn.Linear(options.hidden, classes)
        if options.readout == "attention":
            self.state_score = nn.Linear(options.hidden, 1, bias=False)  # softmax would cancel a bias
            return
        self.start_cell = _StartState(inputs, options.hidden)
        self.start_hidden = _StartState(inputs, options.hidden)
        self.temporal_attention = (
            TemporalAttention(inputs, options.hidden, options.energy or "joint") if options.temporal else None
        )

    def set_progress(self, progress: float) -> None:
        """Tell the share of training done, in [0, 1]; a model that is not being trained is at 1."""
        self.mask_share = min(1.0, progress / self.options.fade_in) if self.options.fade_in else 1.0

    def forward(self, features: Tensor, *, hoist: bool = True) -> AttentionOutput:
        """Attend and classify.

        Args:
            features: `(B, T, C, H, W)`.
            hoist: take the input convolution over all frames at once, before the recurrence mixes them
                (the same by linearity, several times faster); False: step by step, as the paper writes it.
        """
        if features.ndim != 5:
            raise ValueError(f"features must be (B, T, C, H, W), got {tuple(features.shape)}")
        # Whole channels of a clip go at once, as in the public scripts: (B, C, T, H, W) for Dropout3d.
        features = self.dropout(features.transpose(1, 2)).transpose(1, 2)
        masked, mask, maps = self._attend_space(self._with_change(features))
        masked = self._pool(masked)
        if self.options.order == "encoding":
            frames, channels = masked.shape[1:3]
            masked = (
                masked + temporal_encoding(frames, channels, device=masked.device).to(masked)[None, :, :, None, None]
            )
        if self.options.readout == "attention":
            pooled, weights = self._read_by_attention(masked)
        else:
            states, weights = self._recur(masked, hoist)
            pooled = states.mean(1)
        return AttentionOutput(self.classifier(pooled), mask, weights, maps=maps)

    def _with_change(self, features: Tensor) -> Tensor:
        """Features and, beside them, the channels that tell how neighbouring frames differ."""
        if self.temporal_convolution is not None:
            return torch.cat([features, self.temporal_convolution(features)], dim=2)
        if self.options.order not in ("difference", "motion"):
            return features
        change = temporal_difference(features)
        return torch.cat([features, change.abs() if self.options.order == "motion" else change], dim=2)

    def _attend_space(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        if self.spatial_attention is None:
            return features, torch.ones_like(features[:, :, :1]), None
        if self.options.class_maps:
            maps = self.spatial_attention.maps(features)
            mask = mask_of_maps(maps)
        else:
            maps, mask = None, self.spatial_attention(features)
        if self.options.smooth_mask:
            mask = smooth_mask(mask)
        scaled = self._faded(scale_mask_by_clip_mean(mask) if self.options.mask_scale == "clip_mean" else mask)
        if self.gated_convolution is not None:
            content = features[:, :, : self.channels]
            features = torch.cat([content, self.gated_convolution(content * self._faded(mask))], dim=2)
        return features * scaled, mask, maps

    def _pool(self, masked: Tensor) -> Tensor:
        """Masked features `(B, T, C, H, W)` averaged over squares of ``pool`` x ``pool`` cells."""
        side, (height, width) = self.options.pool, masked.shape[-2:]
        if side == 1:
            return masked
        if height % side or width % side:
            raise ValueError(f"model.pool must divide the grid's {height} x {width} cells, got {side}")
        return masked.unflatten(-1, (-1, side)).unflatten(-3, (-1, side)).mean((-3, -1))

    def _faded(self, mask: Tensor) -> Tensor:
        """While the mask fades in: as much of it as is due, the rest 1."""
        if not self.training or self.mask_share == 1:
            return mask
        return self.mask_share * mask + (1 - self.mask_share)

    def _recur(self, masked: Tensor, hoist: bool) -> tuple[Tensor, Tensor]:
        """Eq. 2-5: states averaged over cells, `(B, S, D)`, and weights `(B, S, T)`."""
        batch, frames = masked.shape[:2]
        scale = 1 / frames if self.options.divide_by_frames else 1.0
        weigh = self._weigher(masked)
        # Weights that do not depend on the state mix the frames once; then one map is all there is to convolve.
        constant = self.temporal_attention is None or self.temporal_attention.energy == "additive"
        convolve_first = hoist and not constant
        source = masked
        if convolve_first:
            source = self.conv_lstm.input_gates(masked.flatten(0, 1)).unflatten(0, (batch, frames))
        flat = source.flatten(2)
        start = self._start(masked, weigh)
        state = (self.start_hidden(start), self.start_cell(start))
        pooled = state[0].mean(dim=(2, 3))
        states, weights = [], []
        for step in range(self.options.steps or frames):
            if step == 0 or not (hoist and constant):
                weight = weigh(pooled)
                mixed = torch.bmm(weight.unsqueeze(1) * scale, flat).view(batch, *source.shape[2:])
                gates = mixed if convolve_first else self.conv_lstm.input_gates(mixed)
            state = self.conv_lstm.step(gates, state)
            pooled = state[0].mean(dim=(2, 3))
            states.append(pooled)
            weights.append(weight)
        return torch.stack(states, 1), torch.stack(weights, 1)

    def _start(self, masked: Tensor, weigh: Callable[[Tensor], Tensor]) -> Tensor:
        """What g_c and g_h see, `(B, C, H, W)`: the mean of the frames, or the frames under the first weights."""
        if self.options.start == "mean":
            return masked.mean(1)
        weight = weigh(masked.new_zeros(len(masked), self.options.hidden))
        return torch.einsum("bt,btchw->bchw", weight, masked)

    def _weigher(self, masked: Tensor) -> Callable[[Tensor], Tensor]:
        """The function from H_{t-1}, averaged over cells `(B, D)`, to the weights `(B, T)` of step t."""
        attention = self.temporal_attention
        if attention is None:
            uniform = masked.new_full(masked.shape[:2], 1 / masked.shape[1])
            return lambda pooled: uniform
        keys = attention.keys(masked.mean(dim=(3, 4)))
        return lambda pooled: attention(pooled, keys)

    def _read_by_attention(self, masked: Tensor) -> tuple[Tensor, Tensor]:
        """Second architecture: softmax over the states of a ConvLSTM that read the frames in order."""
        states = self.conv_lstm(masked).mean(dim=(3, 4))
        if self.options.temporal:
            weights = self.state_score(states).squeeze(-1).softmax(dim=1)
        else:
            weights = states.new_full(states.shape[:2], 1 / states.shape[1])
        return torch.einsum("bt,btd->bd", weights, states), weights.unsqueeze(1)
