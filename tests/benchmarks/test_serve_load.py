from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from whenwhere.benchmarks.explain import untrained
from whenwhere.benchmarks.serve import benchmark_serve, distinct_clips, format_serve, same
from whenwhere.features.backbone import BackboneOptions
from whenwhere.video import probe


def test_no_two_clips_could_be_taken_for_each_other(tmp_path: Path) -> None:
    seen = {(info.width, info.height, round(info.duration, 3)) for info in map(probe, distinct_clips(tmp_path))}
    assert len(seen) == 24


def test_an_answer_to_another_clip_is_found_out(tmp_path: Path) -> None:
    one, other = distinct_clips(tmp_path)[:2]
    recognizer = untrained(BackboneOptions(name="test_resnet", weights="random", size=64))
    expected = recognizer.explain(one)
    answer = replace(expected, path=one.name)
    assert same(answer, expected)
    assert not same(replace(recognizer.explain(other), path=one.name), expected)
    assert not same(replace(answer, path=other.name), expected)
    assert not same(replace(answer, masks=1 - answer.masks), expected)


@pytest.mark.slow
def test_a_short_run_loses_nothing() -> None:
    result = benchmark_serve(seconds=5, parallel=16)
    assert result["done"] >= 16
    assert result["lost"] == result["mixed_up"] == 0
    assert result["refused_429"] > 0  # 16 clients, 12 places in the queue and 2 at work
    assert 0 < result["p50"] <= result["p95"]
    assert 0 < result["memory_end"] <= result["memory_all_most"] * 1.5
    assert format_serve(result).row_count == 6
