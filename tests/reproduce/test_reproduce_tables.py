"""Layout of tables, from predictions planted in the runs' folders."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from whenwhere.evaluation.measure import Predictions
from whenwhere.evaluation.recorded import save_predictions
from whenwhere.reproduce.measures import MEASURES
from whenwhere.reproduce.pairing import only
from whenwhere.reproduce.plan import FINISHED, STARTED, Plan
from whenwhere.reproduce.results import TableResult, table_result
from whenwhere.reproduce.rows import TABLES, Row
from whenwhere.reproduce.tables import as_json, escape_latex, grid, latex, markdown, rich_table, write_table

CLIPS, FRAMES, CLASSES = 20, 8, 6


def planted(right: int, seed: int = 0) -> Predictions:
    """The first ``right`` clips are named rightly; masks and importance lie on the truth in all of them."""
    labels = torch.arange(CLIPS) % CLASSES
    named = torch.where(torch.arange(CLIPS) < right, labels, (labels + 1) % CLASSES)
    active = torch.zeros(CLIPS, FRAMES, dtype=torch.bool)
    active[:, 2:5] = True
    masks = torch.zeros(CLIPS, FRAMES, 4, 4)
    masks[:, :, :2, :2] = 1.0
    boxes = torch.full((CLIPS, FRAMES, 4), float("nan"))
    boxes[active] = torch.tensor([0.0, 0.0, 0.5, 0.5])
    importance = active.float() / 3
    generator = torch.Generator().manual_seed(seed)
    cam = torch.rand(masks.shape, generator=generator)
    return Predictions(
        torch.nn.functional.one_hot(named, CLASSES).float() * 5, labels, masks, cam, importance, importance, active,
        boxes, cam, cam,
    )  # fmt: skip


@pytest.fixture
def result(make_plan: Callable[..., Plan], tmp_path: Path) -> Callable[..., TableResult]:
    def make(
        key: str,
        right: dict[str, tuple[int, ...]],
        dataset: str | None = None,
        said: dict[str, Predictions] | None = None,
    ) -> TableResult:
        seeds = tuple(range(len(next(iter(right.values())))))
        plan = make_plan(tmp_path, key, seeds=seeds, methods=list(right))
        (table,) = plan.tables
        table = replace(table, setting=replace(table.setting, dataset=dataset))
        for method, hits in right.items():
            for seed, count in enumerate(hits):
                job = table.jobs[method, seed]
                job.folder.mkdir(parents=True, exist_ok=True)
                job.mark(STARTED)
                predictions = (said or {}).get(method, planted(count))
                save_predictions(job.predictions, predictions, tuple("abcdef"))
                job.mark(FINISHED)
        return table_result(table, seeds)

    return make


def cells(result: TableResult, name: str, line: str | None = None) -> dict[str, str]:
    headings, rows = grid(result)
    names = [row[0] for row in rows]
    for number, row in enumerate(rows):
        named = next(names[back] for back in range(number, -1, -1) if names[back])
        if named == name and line in (None, row[1]):
            return dict(zip(headings, row))
    raise AssertionError(f"no row {name}, {line}")


def test_a_known_share_of_right_clips_is_the_accuracy(result: Callable[..., TableResult]) -> None:
    table = result("table1", {"paper": (10,), "default": (15,)})
    assert cells(table, "Our default")["top-1 here"].startswith("75.0 (")
    assert cells(table, "Our default")["top-1, difference"].startswith("+25.0 (+")
    assert cells(table, "Ours")["UCF101, published"] == "86.02"
    assert cells(table, "Ours")["top-1, difference"] == "-"
    assert table.default_places["top-1"] == "top-1: our default is first of 2"


def test_on_the_same_data_the_difference_is_to_the_published_value(result: Callable[..., TableResult]) -> None:
    table = result("table1", {"paper": (10,), "default": (15,)}, dataset="ucf101")
    assert cells(table, "Ours")["top-1, difference"] == "−36.0"
    assert cells(table, "Our default")["top-1, difference"] == "-", "nothing was published for it"


def test_several_seeds_have_a_mean_and_a_spread(result: Callable[..., TableResult]) -> None:
    table = result("table1", {"paper": (10, 14), "default": (4, 4)})
    assert cells(table, "Ours")["top-1 here"].startswith("60.0 ± 14.1 (")
    assert "; Ours is ahead by" in table.default_places["top-1"]
    numbers = as_json(table)["rows"][2]["here"]["top-1"]
    assert numbers["by_seed"] == [[0.5], [0.7]]
    assert numbers["low"][0] < 0.6 < numbers["high"][0]


def test_attention_on_the_truth_wins_and_controls_stand_beside_it(result: Callable[..., TableResult]) -> None:
    where = result("table3", {"default": (20,), "frame_average": (20,)})
    assert cells(where, "Our default", "here")["IoU 0.3"].startswith("100.0")
    assert cells(where, "Our default", "here")["frame-mAP@0.5"].startswith("100.0")
    assert cells(where, "Control: full frame, labels and frames given", "here")["IoU 0.3"].startswith("0.0"), (
        "a quarter of the frame is true"
    )
    assert cells(where, "Control: full frame, labels and frames given", "here")["IoU 0.2"].startswith("100.0")
    assert cells(where, "Fast action proposal (Yu & Yuan, 2015) *")["IoU 0.05"] == "42.8"
    when = result("table4", {"default": (20,)})
    assert cells(when, "Our default", "here")["mAP@0.5"].startswith("100.0")
    assert cells(when, "Control: all frames, labels given", "here")["IoU 0.5"].startswith("100.0"), "it is a recall"
    assert cells(when, "Control: all frames, labels given", "here")["mAP@0.5"].startswith("0.0")


def test_five_classes_or_fewer_have_no_top_5() -> None:
    six = planted(10)
    assert MEASURES["top-5"].of(six, "attention", "peak") is not None
    assert MEASURES["top-5"].of(replace(six, logits=six.logits[:, :5]), "attention", "peak") is None


def test_the_heavier_stream_of_a_fused_row_has_the_last_word(
    result: Callable[..., TableResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("Two streams", fused={"paper": 1.0, "default": 1.5}, modality="both")
    monkeypatch.setitem(TABLES, "table2", replace(TABLES["table2"], rows=(*TABLES["table2"].rows, row)))
    table = result("table2", {"paper": (20,), "default": (8,)})
    assert cells(table, "Two streams")["Top-1 here".lower()].startswith("40.0")
    assert cells(table, "Two streams")["modality"] == "both"


def named(predictions: Predictions, without: int) -> Predictions:
    """The same, one clip of which did not decode."""
    kept = torch.tensor([clip for clip in range(CLIPS) if clip != without])
    return only(replace(predictions, clips=tuple(f"clip {number}" for number in range(CLIPS))), kept)


def test_rows_of_different_clips_are_compared_on_those_of_both(result: Callable[..., TableResult]) -> None:
    said = {"paper": named(planted(10), without=3), "default": named(planted(15), without=12)}
    table = result("table1", {"paper": (10,), "default": (15,), "without_tv": (20,)}, said=said)
    # Of the 18 clips of both the paper's form names 9 rightly, our default 13.
    row = next(row for row in table.rows if row.row.name == "Our default")
    lead = row.cells["top-1"].lead
    assert lead is not None
    assert lead.clips == 18
    assert lead.mean[0] == pytest.approx(4 / 18)
    assert row.cells["top-1"].figures.mean[0] == pytest.approx(14 / 19)
    assert row.remark == "on 19 clips; compared with 'Ours' on the 18 clips of both"
    assert "Our default: on 19 clips; compared with 'Ours' on the 18 clips of both." in markdown(table)
    unnamed = next(row for row in table.rows if row.row.name == "Ours w/o L_TV")
    assert unnamed.cells["top-1"].lead is None
    assert unnamed.remark.startswith("not compared: 'Ours w/o L_TV' and 'Ours' were tested on different clips")
    assert "Ours w/o L_TV is ahead" in table.default_places["top-1"]


def test_streams_are_fused_by_the_names_of_their_clips(
    result: Callable[..., TableResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two streams that agree on every clip, each without another one; all labels are the same."""
    row = Row("Two streams", fused={"paper": 1.0, "default": 1.0})
    monkeypatch.setitem(TABLES, "table1", replace(TABLES["table1"], rows=(*TABLES["table1"].rows, row)))
    same = replace(planted(10), labels=torch.zeros(CLIPS, dtype=torch.long))
    logits = torch.zeros(CLIPS, CLASSES)
    logits[::2, 0], logits[1::2, 1] = 1.0, 3.0
    same = replace(same, logits=logits)
    said = {"paper": named(same, without=0), "default": named(same, without=19)}
    table = result("table1", {"paper": (10,), "default": (10,)}, said=said)
    fused = next(row for row in table.rows if row.row.name == "Two streams").cells["top-1"].figures
    assert fused.clips == 18
    assert fused.mean[0] == 0.5, "every other clip; shifted by one the odd ones would outvote all"


def test_clips_that_do_not_fit_are_the_trouble_of_one_row(
    result: Callable[..., TableResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("Two streams", fused={"paper": 1.0, "default": 1.0})
    monkeypatch.setitem(TABLES, "table1", replace(TABLES["table1"], rows=(*TABLES["table1"].rows, row)))
    said = {"default": only(planted(15), torch.arange(17))}
    table = result("table1", {"paper": (10,), "default": (15,)}, said=said)
    rows = {row.row.name: row for row in table.rows}
    assert rows["Two streams"].problem.startswith("failed: 'paper' and 'default' were tested on different clips")
    assert table.failed == [rows["Two streams"]]
    assert cells(table, "Our default")["top-1 here"].startswith("88.2")
    assert cells(table, "Our default")["top-1, difference"] == "-"


def test_controls_look_at_the_frames_of_the_reference(result: Callable[..., TableResult]) -> None:
    few = planted(20)
    first = torch.arange(4)
    few = replace(
        few, masks=few.masks[:, first], importance=few.importance[:, first], weights=few.weights[:, first],
        active=few.active[:, first], boxes=few.boxes[:, first], evidence=None, grad_cam=None, difference=None,
    )  # fmt: skip
    said = {"untrimmed_net_soft": few, "default": few}
    name = "Control: random half, labels given"
    table = result("table4", {"untrimmed_net_soft": (20,), "paper": (20,), "default": (20,)}, said=said)
    control = next(row for row in table.rows if row.row.name == name).cells["paper"].figures.mean
    expected, other = (MEASURES["paper"].of(one, "random half", "peak") for one in (planted(20), few))
    assert expected is not None
    assert other is not None
    assert control.tolist() == expected.mean.tolist() != other.mean.tolist()
    assert table.controls == table.plan.jobs["paper", 0].name
    assert f"Controls: on the clips and frames that the run {table.controls} looked at." in markdown(table)


def test_without_the_reference_controls_look_at_the_frames_of_our_default(
    result: Callable[..., TableResult],
) -> None:
    table = result("table4", {"untrimmed_net_soft": (20,), "default": (20,)})
    assert table.controls == table.plan.jobs["default", 0].name


def test_without_either_there_are_no_controls(result: Callable[..., TableResult]) -> None:
    table = result("table4", {"tsn": (20,)})
    row = next(row for row in table.rows if row.row.answer == "all frames")
    assert row.problem == "not measured: neither 'Ours' nor our default is finished"
    assert table.controls == ""
    assert table.failed == []


def test_predictions_without_grad_cam_are_not_laid_at_the_door_of_the_data(
    result: Callable[..., TableResult],
) -> None:
    without = replace(planted(20), grad_cam=None, evidence=None)
    table = result("table4", {"tsn": (20,), "paper": (20,)}, said={"tsn": without})
    row = next(row for row in table.rows if row.row.answer == "Grad-CAM")
    assert row.problem.startswith("not measured: its predictions hold no Grad-CAM")


def test_values_published_by_another_measure_are_named_and_never_subtracted(
    result: Callable[..., TableResult],
) -> None:
    table = result("table4", {"untrimmed_net_soft": (20,), "paper": (20,)}, dataset="thumos14")
    name = "UntrimmedNet, soft (Wang et al., 2017)"
    assert cells(table, name, "published, mAP")["IoU 0.1"] == "44.4"
    with pytest.raises(AssertionError, match="no row UntrimmedNet"):
        cells(table, name, "difference")
    assert cells(table, "Ours", "published")["IoU 0.1"] == "70.0"
    assert cells(table, "Ours", "difference")["IoU 0.1"] == "+30.0"
    assert f"never subtracted: Yeung et al. (2016) (mAP); {name} (mAP)." in markdown(table)
    assert {row["published_by"] for row in as_json(table)["rows"]} == {None, "mAP"}


def test_latex_is_escaped_and_every_line_has_all_columns(result: Callable[..., TableResult]) -> None:
    assert escape_latex("50 % of a_b & {c} ~ \\") == r"50 \% of a\_b \& \{c\} \textasciitilde{} \textbackslash{}"
    text = latex(result("table3", {"default": (20,)}))
    body = text[text.index("\\hline") : text.index("\\end{tabular}")]
    lines = [line for line in body.splitlines() if line.endswith("\\\\")]
    columns = len(re.search(r"\{(lr+)\}", text)[1])  # type: ignore[index]
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {columns}
    assert "Yu \\& Yuan" in text
    assert re.search(r"(?<!\\)[%_#]", text) is None


def test_markdown_has_a_row_a_line_and_names_its_protocols(result: Callable[..., TableResult]) -> None:
    text = markdown(result("table3", {"default": (20,)}))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert "a hit rate, called mAP in the paper" in text
    assert "strongly supervised" in text
    assert "Left out: " in text


def test_the_screen_shows_all_of_it(result: Callable[..., TableResult]) -> None:
    console = Console(width=220, record=True, file=StringIO())
    console.print(rich_table(result("table1", {"paper": (10,)})))
    said = console.export_text()
    assert "Ours w/o L_TV" in said
    assert "50.0" in said


def test_files_are_written_and_json_has_the_numbers(result: Callable[..., TableResult], tmp_path: Path) -> None:
    table = result("table1", {"paper": (10,), "default": (20,)})
    paths = write_table(table, tmp_path)
    assert [path.name for path in paths] == ["table1.json", "table1.md", "table1.tex"]
    said = json.loads(paths[0].read_text())
    rows = {row["name"]: row for row in said["rows"]}
    assert rows["Our default"]["here"]["top-1"]["mean"] == [1.0]
    assert rows["Ours"]["published_percent"] == {"HMDB51": 49.93, "UCF101": 86.02}
    assert rows["Visual attention (Sharma et al., 2015)"]["problem"]
