"""The published values are those of the paper's text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from whenwhere.reproduce.measures import MEASURES
from whenwhere.reproduce.rows import METHODS, TABLES


@pytest.fixture(scope="module")
def paper(shared: Path) -> str:
    return (shared / "paper" / "where_and_when_to_look.txt").read_text(encoding="utf-8")


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"(?<![\d.])\d+\.\d+", text)]


def between(text: str, start: str, end: str) -> str:
    return text[text.index(start) + len(start) : text.index(end)]


def test_table_1_is_that_of_the_paper(paper: str) -> None:
    block = between(paper, "4 EXPERIMENTS", "Table 1:")
    hmdb51, ucf101 = block.split("UCF101 84.96")
    hmdb51_values = numbers(hmdb51)
    ucf101_values = [84.96, *numbers(ucf101)]
    published = [row.published for row in TABLES["table1"].rows if row.published[0] is not None]
    assert [row[0] for row in published] == hmdb51_values
    assert [row[1] for row in published] == ucf101_values


def test_table_2_is_that_of_the_paper(paper: str) -> None:
    block = between(paper, "Model ResNet50-ImageNet (Monfort et al., 2018) TSN", "Table 2:")
    published = [row.published for row in TABLES["table2"].rows if row.published[0] is not None]
    first, _, second = block.partition("Top-5 (%)")
    assert [row[0] for row in published] == numbers(first)
    assert [row[1] for row in published] == numbers(second)
    assert [row.modality for row in TABLES["table2"].rows[:8]] == re.findall(
        r"RGB\+[Oo]ptical flow|RGB|Optical flow", block
    )[:8]


@pytest.mark.parametrize(
    ("key", "start", "end"), [("table3", "Methods\nFast action", "Table 3:"), ("table4", "Method\n(Yeung", "Table 4:")]
)
def test_tables_3_and_4_are_those_of_the_paper(paper: str, key: str, start: str, end: str) -> None:
    block = between(paper, start, end)
    columns = [numbers(part.partition("\n")[2]) for part in re.split(r" = ", block)[1:]]
    table = TABLES[key]
    rows = [row.published for row in table.rows if any(value is not None for value in row.published)]
    for column, found in enumerate(columns):
        assert [row[column] for row in rows if row[column] is not None] == found
    assert len(columns) == len(table.columns)


def test_rows_ask_for_what_there_is() -> None:
    for table in TABLES.values():
        assert len({row.name for row in table.rows}) == len(table.rows)
        assert table.reference in {row.name for row in table.rows}
        assert set(table.measures) <= set(MEASURES)
        for row in table.rows:
            assert set(row.methods) <= set(METHODS)
            assert len(row.published) in (0, len(table.columns))
            assert not (row.unbuilt and row.methods), "what stands as published is not trained"


def test_ablations_leave_out_one_part_of_the_paper_form() -> None:
    for name, changes in METHODS.items():
        if name.startswith("without_"):
            assert len(set(changes.items()) - set(METHODS["paper"].items())) == 1
