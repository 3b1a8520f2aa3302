"""How attention is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Rule = Literal["peak", "parts", "paper", "scripts", "untrimmed_net"]
Suppression = Literal["gaussian", "linear", "hard", "none"]
TubeKind = Literal["linked", "volume"]


@dataclass(frozen=True)
class LocalizationOptions:
    """How attention is cut into segments, boxes and tubes.

    Five rules:

    * ``peak``: segments are runs of frames above one threshold; a frame's box lies around the connected part of its
      mask that holds the peak.
    * ``parts``: candidate segments at several thresholds, scored by contrast inside against outside; every connected
      part of the mask is a box, and boxes are linked into tubes.
    * ``paper``: as printed (Sec. 4.2): frames whose min-max normalised importance exceeds 0.5; one tightest box around
      all cells of the mask above 0.5, none where no cell is.
    * ``scripts``: time as in the paper; masks as in the first author's public scripts: min-max normalised per frame,
      resized to 320 x 240, cut at 200/255, box around the largest part.
    * ``untrimmed_net``: segments by :func:`whenwhere.localization.untrimmed_net_segments`, the rule UntrimmedNet was
      released with; where frames are asked for, those above half of the largest importance; boxes as ``peak``.

    Attributes:
        rule: one of the above; ``paper``, ``scripts`` and ``untrimmed_net`` fix their thresholds.
        time_threshold: of the min-max normalised importance.
        flat: importance whose range is below this share of its mean says nothing: the whole clip is the segment.
        mask_threshold: of the mask over its maximum, in the frame (``peak``) or in the clip (``parts``).
        upsample: finer grid on which the mask is cut.
        min_seconds: shorter segments are dropped.
        thresholds: of the min-max normalised signal, for candidate segments.
        inflation: width of the surround on either side, as a share of the segment (AutoLoc, Shou et al. 2018: 0.25).
        nms: what lowers the score of a segment that overlaps a better one: ``gaussian`` or ``linear`` soft-NMS (Bodla
            et al. 2017), ``hard`` drops it, ``none``.
        nms_sigma: of ``gaussian``.
        nms_iou: temporal IoU beyond which ``linear`` and ``hard`` act.
        score_floor: segments and tubes below this share of the best one's score are dropped.
        tubes: ``linked``: parts of neighbouring frames assigned to each other; ``volume``: connected parts of
            mask times importance in space and time.
        link_iou: least IoU of boxes that are linked.
        tube_gap: frames without a box that a linked tube may bridge.
        tube_frames: shortest tube; a segment with fewer frames asks for no more than it has.
    """

    rule: Rule = "peak"
    time_threshold: float = 0.5
    flat: float = 0.1
    mask_threshold: float = 0.5
    upsample: int = 4
    min_seconds: float = 0.0
    thresholds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    inflation: float = 0.25
    nms: Suppression = "gaussian"
    nms_sigma: float = 0.5
    nms_iou: float = 0.5
    score_floor: float = 0.05
    tubes: TubeKind = "linked"
    link_iou: float = 0.1
    tube_gap: int = 2
    tube_frames: int = 2

    def __post_init__(self) -> None:
        for name, kind in (("rule", Rule), ("nms", Suppression), ("tubes", TubeKind)):
            self._require(name, getattr(self, name) in get_args(kind), f"one of {', '.join(get_args(kind))}")
        for name in ("time_threshold", "mask_threshold", "nms_iou", "score_floor", "link_iou"):
            self._require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("flat", "min_seconds"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        for name in ("inflation", "nms_sigma"):
            self._require(name, getattr(self, name) > 0, "positive")
        for name, least in (("upsample", 1), ("tube_gap", 0), ("tube_frames", 1)):
            value: Any = getattr(self, name)
            self._require(name, isinstance(value, int) and value >= least, f"a whole number of at least {least}")
        good = len(self.thresholds) > 0 and all(0 <= value < 1 for value in self.thresholds)
        self._require("thresholds", good, "one or more numbers in [0, 1)")

    def _require(self, name: str, condition: bool, expected: str) -> None:
        if not condition:
            raise ValueError(f"LocalizationOptions.{name} must be {expected}, got {getattr(self, name)!r}")

    @property
    def as_published(self) -> bool:
        """Whether the rule is somebody else's, thresholds included."""
        return self.rule in ("paper", "scripts", "untrimmed_net")
