"""The rows of the paper's Tables 1 to 4: what was published, and how each row is built here.

Published values are per cent, as printed in "Where and When to Look? Spatio-temporal Attention for Action Recognition
in Videos" (ICLR 2019 submission).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Numbers = tuple[float | None, ...]

# Eq. 1-10 to the letter: none of what our default adds.
_PAPER: dict[str, Any] = {
    "model.variant": "paper",
    "model.order": "none",
    "model.fade_in": 0.0,
    "model.steps": None,
    "loss.warmup": 0.0,
}

# How each method differs from our default, whatever the data and the size of the networks.
METHODS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": _PAPER,
    "attention_readout": {**_PAPER, "model.readout": "attention"},
    "without_spatial": {**_PAPER, "model.spatial": False},
    "without_temporal": {**_PAPER, "model.temporal": False},
    "without_tv": {**_PAPER, "loss.total_variation": 0.0},
    "without_contrast": {**_PAPER, "loss.contrast": 0.0},
    "without_unimodality": {**_PAPER, "loss.unimodality": 0.0},
    "frame_average": {"method": "frame_average"},
    "frame_average_flow": {"method": "frame_average", "data.modality": "flow"},
    "frame_average_dynamic": {"method": "frame_average", "data.modality": "dynamic"},
    "soft_attention_lstm": {"method": "soft_attention_lstm"},
    "tsn": {"method": "tsn"},
    "tsn_flow": {"method": "tsn", "data.modality": "flow"},
    "trn": {"method": "trn"},
    "trn_flow": {"method": "trn", "data.modality": "flow"},
    "untrimmed_net_soft": {"method": "untrimmed_net", "untrimmed_net.selection": "soft"},
    "untrimmed_net_hard": {"method": "untrimmed_net", "untrimmed_net.selection": "hard"},
}


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: as printed; our additions say what they are.
        method: key of ``METHODS``; None: not trained.
        published: per cent by the table's published columns; None where the paper has no value.
        modality: as printed in Table 2.
        fused: methods whose class scores, before softmax, are averaged with these weights, instead of ``method`` (TSN,
            Wang et al. 2016, Sec. 3.3: 1 and 1.5).
        answer: whose answer to where and when is scored; a control needs no network.
        rule: how attention is cut, see :class:`~whenwhere.localization.LocalizationOptions`.
        unbuilt: why a row stands as published only.
        published_by: the measure of its published values, where it is another than the table's first.
    """

    name: str
    method: str | None = None
    published: Numbers = ()
    modality: str = "RGB"
    fused: Mapping[str, float] = field(default_factory=dict)
    answer: str = "attention"
    rule: Literal["peak", "paper", "scripts", "untrimmed_net"] = "peak"
    unbuilt: str = ""
    published_by: str = ""

    @property
    def methods(self) -> tuple[str, ...]:
        """What must be trained for it."""
        return tuple(self.fused) or ((self.method,) if self.method else ())


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        title: its caption in short.
        datasets: names, as ``prepare`` knows them, of the data its numbers are on.
        columns: published columns, as printed.
        measures: what is measured here, keys of :data:`whenwhere.reproduce.measures.MEASURES`; the first ones, as many
            as there are columns for one data set, are the published ones.
        rows: in the paper's order, our additions after them.
        reference: name of the row that others are compared with on other data.
    """

    title: str
    datasets: tuple[str, ...]
    columns: tuple[str, ...]
    measures: tuple[str, ...]
    rows: tuple[Row, ...]
    reference: str = "Ours"


_STRONG = "strongly supervised, trained with boxes or segments"

TABLE_1 = PaperTable(
    "top-1 accuracy (%) on HMDB51 and UCF101",
    ("hmdb51", "ucf101"),
    ("HMDB51", "UCF101"),
    ("top-1",),
    (
        Row("Visual attention (Sharma et al., 2015)", "soft_attention_lstm", (41.31, 84.96)),
        Row("ResNet50-ImageNet", "frame_average", (47.78, 82.30)),
        Row("Ours", "paper", (49.93, 86.02)),
        Row("Ours w/o spatial attention", "without_spatial", (49.21, 84.83)),
        Row("Ours w/o temporal attention", "without_temporal", (49.22, 85.06)),
        Row("Ours w/o L_TV", "without_tv", (49.02, 85.05)),
        Row("Ours w/o L_contrast", "without_contrast", (49.15, 85.15)),
        Row("Ours w/o L_unimodal", "without_unimodality", (49.35, 85.57)),
        Row("Second architecture (public scripts)", "attention_readout", (None, None)),
        Row("Our default", "default", (None, None)),
    ),
)

TABLE_2 = PaperTable(
    "results on Moments in Time (%)",
    ("moments",),
    ("Top-1", "Top-5"),
    ("top-1", "top-5"),
    (
        Row("ResNet50-ImageNet (Monfort et al., 2018)", "frame_average", (26.98, 51.74)),
        Row("TSN-Spatial (Wang et al., 2016a)", "tsn", (24.11, 49.10)),
        Row("TRN-Multiscale (Zhou et al., 2018)", "trn", (27.20, 53.05)),
        Row("BNInception-Flow (Monfort et al., 2018)", "frame_average_flow", (11.60, 27.40), "Optical flow"),
        Row("ResNet50-DyImg (Monfort et al., 2018)", "frame_average_dynamic", (15.76, 35.69), "Optical flow"),
        Row("TSN-Flow (Wang et al., 2016a)", "tsn_flow", (15.71, 34.65), "Optical flow"),
        Row(
            "TSN-2stream (Wang et al., 2016a)",
            None,
            (25.32, 50.10),
            "RGB+Optical flow",
            fused={"tsn": 1.0, "tsn_flow": 1.5},
        ),
        Row(
            "TRN-Multiscale, RGB+flow (Zhou et al., 2018)",
            None,
            (28.27, 53.87),
            "RGB+optical flow",
            fused={"trn": 1.0, "trn_flow": 1.0},
        ),
        Row("Ours", "paper", (27.55, 53.52)),
        Row("Our default", "default", (None, None)),
    ),
)

_NO_4, _NO_5 = (None,) * 4, (None,) * 5

TABLE_3 = PaperTable(
    "spatial action localisation on UCF101-24, by IoU",
    ("ucf101_24",),
    ("0.05", "0.1", "0.2", "0.3"),
    ("paper-boxes", "frame-mAP"),
    (
        Row(
            "Fast action proposal (Yu & Yuan, 2015)",
            None,
            (42.8, None, None, None),
            unbuilt=_STRONG,
            published_by="video-mAP",
        ),
        Row(
            "Learning to track (Weinzaepfel et al., 2015)",
            None,
            (54.3, 51.7, 47.7, 37.8),
            unbuilt=_STRONG,
            published_by="video-mAP",
        ),
        Row("Ours", "paper", (67.0, 56.1, 34.1, 17.7), rule="paper"),
        Row("Ours, cut as the public scripts do", "paper", _NO_4, rule="scripts"),
        Row("Second architecture (public scripts)", "attention_readout", _NO_4, rule="scripts"),
        Row("Our default", "default", _NO_4),
        Row("Our default, class evidence, class given", "default", _NO_4, answer="class evidence"),
        Row("Visual attention (Sharma et al., 2015)", "soft_attention_lstm", _NO_4),
        Row("ResNet50-ImageNet, class activation map", "frame_average", _NO_4),
        Row("UntrimmedNet, soft (Wang et al., 2017)", "untrimmed_net_soft", _NO_4),
        Row("UntrimmedNet, hard (Wang et al., 2017)", "untrimmed_net_hard", _NO_4),
        Row("Grad-CAM of TSN, class given", "tsn", _NO_4, answer="Grad-CAM"),
        Row("Control: full frame, labels and frames given", None, _NO_4, answer="full frame"),
        Row("Control: centre box, labels and frames given", None, _NO_4, answer="centre box"),
        Row("Control: random box, labels and frames given", None, _NO_4, answer="random box"),
    ),
)

TABLE_4 = PaperTable(
    "temporal action localisation on THUMOS'14, by IoU",
    ("thumos14",),
    ("0.1", "0.2", "0.3", "0.4", "0.5"),
    ("paper", "activitynet"),
    (
        Row("Yeung et al. (2016)", None, (48.9, 44.0, 36.0, 26.4, 17.1), unbuilt=_STRONG, published_by="mAP"),
        Row(
            "UntrimmedNet, soft (Wang et al., 2017)",
            "untrimmed_net_soft",
            (44.4, 37.7, 28.2, 21.1, 13.7),
            rule="untrimmed_net",
            published_by="mAP",
        ),
        Row("UntrimmedNet, hard (Wang et al., 2017)", "untrimmed_net_hard", _NO_5, rule="untrimmed_net"),
        Row("Ours", "paper", (70.0, 61.4, 48.6, 32.6, 17.9), rule="paper"),
        Row("Second architecture (public scripts)", "attention_readout", _NO_5, rule="paper"),
        Row("Our default", "default", _NO_5),
        Row("Our default, class evidence, class given", "default", _NO_5, answer="class evidence"),
        Row("Visual attention (Sharma et al., 2015)", "soft_attention_lstm", _NO_5),
        Row("ResNet50-ImageNet, class activation map", "frame_average", _NO_5),
        Row("Grad-CAM of TSN, class given", "tsn", _NO_5, answer="Grad-CAM"),
        Row("Control: all frames, labels given", None, _NO_5, answer="all frames"),
        Row("Control: random half, labels given", None, _NO_5, answer="random half"),
        Row("Control: random run, labels and mean length given", None, _NO_5, answer="random run"),
    ),
)

TABLES: dict[str, PaperTable] = {"table1": TABLE_1, "table2": TABLE_2, "table3": TABLE_3, "table4": TABLE_4}
