"""UntrimmedNet: which class each shot shows, and which shots count (Wang et al. 2017).

L. Wang, Y. Xiong, D. Lin, L. Van Gool, "UntrimmedNets for weakly supervised action recognition and detection", CVPR
2017. A shot (the paper's clip proposal) is a frame here; how frames are drawn is a matter of the data. Axes: B videos,
T shots, C feature channels, H x W the feature grid, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from whenwhere.layers import class_activation_map
from whenwhere.models.output import AttentionOutput


@dataclass(frozen=True)
class UntrimmedNetOptions:
    """What the model is made of.

    Attributes:
        selection: ``soft``: a softmax over shots of a learned linear score weighs their class probabilities; ``hard``:
            the mean over the shots with the highest scores, class by class, then a softmax.
        top: shots that ``hard`` takes of each class; of fewer, all (released prototxt: 3 of 7).
        dropout: before both modules (released prototxt: 0.8).
    """

    selection: Literal["soft", "hard"] = "soft"
    top: int = 3
    dropout: float = 0.8

    def __post_init__(self) -> None:
        if self.selection not in ("soft", "hard"):
            raise ValueError(f"selection must be soft or hard, got {self.selection!r}")
        if self.top < 1:
            raise ValueError(f"top must be at least 1 shot, got {self.top}")


class UntrimmedNet(nn.Module):
    """Recogniser with a classification module and a selection module over the shots of a video.

    ``weights`` are the selection: the attention of ``soft``; for ``hard``, which has none of its own, equal shares of
    the shots chosen for the predicted class. The mask is the :func:`class_activation_map` of the predicted class, so
    importance is large where a shot is selected *and* shows the class. ``steps`` are the shots' log class
    probabilities, which the rule ``untrimmed_net`` of :class:`whenwhere.localization.LocalizationOptions` cuts.

    It is blind to the order of shots. Parameters at C = 1024: K (C + 1) for ``hard``, 20,500 for K = 20 and 103,525 for
    K = 101, as the released prototxt's ``fc-action``; C more for ``soft``, 21,524 and 104,549, one fewer than with its
    ``fc-attention``, whose bias the softmax cancels.

    Args:
        channels: C of the features.
        classes: K.
        options: see :class:`UntrimmedNetOptions`.

    Shape:
        features `(B, T, C, H, W)` to :class:`AttentionOutput`, with ``steps``.
    """

    def __init__(self, channels: int, classes: int, options: UntrimmedNetOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or UntrimmedNetOptions()
        self.dropout = nn.Dropout(options.dropout)
        self.attention = nn.Linear(channels, 1, bias=False) if options.selection == "soft" else None
        self.classifier = nn.Linear(channels, classes)

    def forward(self, features: Tensor) -> AttentionOutput:
        if features.ndim != 5:
            raise ValueError(f"features must be (B, T, C, H, W), got {tuple(features.shape)}")
        pooled = self.dropout(features.mean(dim=(3, 4)))
        scores = self.classifier(pooled)
        if self.attention is not None:
            logits, weights = select_softly(scores, self.attention(pooled).squeeze(-1))
        else:
            logits, weights = select_hard(scores, self.options.top)
        mask = class_activation_map(features, self.classifier.weight[logits.argmax(1)])
        return AttentionOutput(logits, mask, weights.unsqueeze(1), scores.log_softmax(-1))


def select_softly(scores: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
    """The video's log probabilities, ``log sum_i softmax(attention)_i softmax(scores_i)``, and the weights.

    Args:
        scores: `(B, T, K)` of the shots, before any softmax.
        attention: `(B, T)`, before the softmax over shots.

    Returns:
        `(B, K)`, a distribution after ``exp``, and `(B, T)`, sums to 1.
    """
    weights = attention.softmax(1)
    return (attention.log_softmax(1).unsqueeze(2) + scores.log_softmax(2)).logsumexp(1), weights


def select_hard(scores: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """The video's scores, each class's mean over the shots where it is strongest, and which those are.

    Args:
        scores: `(B, T, K)` of the shots, before any softmax.
        top: shots a class; all where there are fewer.

    Returns:
        `(B, K)`, and `(B, T)`: 1 / top for the chosen shots of the class with the highest mean, else 0; sums to 1.
    """
    count = min(top, scores.shape[1])
    best, chosen = scores.topk(count, dim=1)
    logits = best.mean(1)
    predicted = logits.argmax(1)[:, None, None].expand(-1, count, 1)
    of_predicted = chosen.gather(2, predicted).squeeze(2)
    return logits, F.one_hot(of_predicted, scores.shape[1]).sum(1).to(scores) / count
