from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as reference
from torch.nn import functional as F

from whenwhere._torchvision import ensure_torchvision
from whenwhere.metrics.classification import (
    class_mean,
    confusion_matrix,
    per_class_table,
    predicted_classes,
    split_mean,
    top_k_hits,
    wilson_interval,
)

PLANTED = torch.tensor([[4, 0, 0], [1, 2, 0], [0, 0, 0]])  # no clip is of class 2, and none is taken for it


def random_clips(seed: int, clips: int = 200, classes: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (clips,), generator=generator)
    return torch.randn(clips, classes, generator=generator) + F.one_hot(labels, classes), labels


def clips_of(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels that have this confusion matrix."""
    cells = torch.arange(matrix.numel()).repeat_interleave(matrix.flatten())
    return F.one_hot(cells % len(matrix), len(matrix)).float(), cells // len(matrix)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_two_libraries_agree_on_top_k(seed, k):
    ensure_torchvision()
    from torchmetrics.functional.classification import multiclass_accuracy

    logits, labels = random_clips(seed)
    ours = float(top_k_hits(logits, labels, k).double().mean())
    assert ours == pytest.approx(reference.top_k_accuracy_score(labels, logits, k=k, labels=range(7)), abs=1e-12)
    assert ours == pytest.approx(float(multiclass_accuracy(logits, labels, 7, average="micro", top_k=k)), abs=1e-6)


def test_hits_by_hand():
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
    labels = torch.tensor([0, 0, 2])
    assert [top_k_hits(logits, labels, k).tolist() for k in (1, 2, 3)] == [
        [True, False, False],
        [True, False, True],
        [True, True, True],
    ]


def test_a_hit_stays_a_hit_as_k_grows_and_top_1_is_the_class_predicted():
    logits, labels = random_clips(0)
    logits = logits.round()  # many ties
    hits = torch.stack([top_k_hits(logits, labels, k) for k in range(1, 8)])
    assert (hits[1:] >= hits[:-1]).all()
    assert hits[-1].all()
    assert not hits[0].all()
    torch.testing.assert_close(hits[0], predicted_classes(logits) == labels)


def test_a_network_that_says_nothing_names_the_first_classes():
    labels = torch.arange(6)
    assert top_k_hits(torch.zeros(6, 6), labels).tolist() == [True] + [False] * 5
    assert top_k_hits(torch.zeros(6, 6), labels, 4).tolist() == [True] * 4 + [False] * 2
    assert predicted_classes(torch.zeros(6, 6)).tolist() == [0] * 6


def test_hits_follow_the_order_of_the_logits_alone():
    logits, labels = random_clips(1)
    hits, order = top_k_hits(logits, labels, 2), torch.randperm(7)
    torch.testing.assert_close(top_k_hits(torch.exp(logits) * 3 - 5, labels, 2), hits)
    torch.testing.assert_close(top_k_hits(logits.log_softmax(1), labels, 2), hits)
    torch.testing.assert_close(top_k_hits(logits[:, order], order.argsort()[labels], 2), hits)


def test_a_probability_of_zero_is_a_logit_like_any_other():
    logits = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]).log()
    assert top_k_hits(logits, torch.tensor([1, 2])).tolist() == [True, False]


@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_agrees_on_mean_class_accuracy(seed):
    logits, labels = random_clips(seed)
    ours = class_mean(top_k_hits(logits, labels), labels, 7)
    assert ours.value == pytest.approx(reference.balanced_accuracy_score(labels, logits.argmax(1)), abs=1e-12)
    assert (ours.classes, ours.without_clips) == (7, ())


def test_classes_without_clips_are_left_out_and_named():
    # Class 0: 1 of 1; class 2: 1 of 3. Classes 1 and 3 have no clips.
    result = class_mean([1, 1, 0, 0], [0, 2, 2, 2], 4)
    assert result.value == pytest.approx((1 + 1 / 3) / 2)
    assert (result.classes, result.without_clips) == (2, (1, 3))
    nothing = class_mean([], np.zeros(0, int), 2)
    assert np.isnan(nothing.value)
    assert (nothing.classes, nothing.without_clips) == (0, (0, 1))


def test_weighing_clips_equals_repeating_them():
    random = np.random.default_rng(0)
    values, labels, weights = random.random(30), random.integers(4, size=30), random.integers(3, size=30)
    weights[labels == 1] = 0
    weighed = class_mean(values, labels, 4, weights)
    repeated = class_mean(np.repeat(values, weights), np.repeat(labels, weights), 4)
    assert weighed.value == pytest.approx(repeated.value)
    assert weighed.without_clips == repeated.without_clips == (1,)


def test_confusion_matrix_is_what_was_planted_and_what_scikit_learn_counts():
    torch.testing.assert_close(confusion_matrix(*clips_of(PLANTED)), PLANTED)
    logits, labels = random_clips(2)
    expected = reference.confusion_matrix(labels, logits.argmax(1))
    np.testing.assert_array_equal(confusion_matrix(logits, labels), expected)


def test_table_by_hand():
    first, second, third = per_class_table(*clips_of(PLANTED), names=["run", "walk", "jump"])
    assert (first.name, first.count, first.correct, first.recall) == ("run", 4, 4, 1)
    assert first.precision == pytest.approx(4 / 5)
    assert first.f1 == pytest.approx(8 / 9)
    assert (first.confused_with, first.confused) == (None, 0)
    assert (second.count, second.correct, second.precision) == (3, 2, 1)
    assert second.recall == pytest.approx(2 / 3)
    assert (second.confused_with, second.confused) == ("run", 1)
    assert (second.low, second.high) == pytest.approx(stats.binomtest(2, 3).proportion_ci(method="wilson"))
    assert (third.count, third.precision, third.recall, third.f1, third.low, third.high) == (0, *[None] * 5)


def test_a_class_never_predicted_has_no_precision_but_an_f1_of_zero():
    row = per_class_table(*clips_of(torch.tensor([[0, 2, 3], [0, 1, 0], [0, 0, 1]])))[0]
    assert (row.name, row.precision, row.recall, row.f1) == ("0", None, 0, 0)
    assert (row.confused_with, row.confused) == ("2", 3)


def test_of_equal_confusions_the_first_class_is_named():
    assert per_class_table(*clips_of(torch.tensor([[1, 2, 2], [0, 1, 0], [0, 0, 1]])))[0].confused_with == "1"


@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_agrees_on_the_table(seed):
    logits, labels = random_clips(seed)
    rows = per_class_table(logits, labels)
    expected = reference.precision_recall_fscore_support(labels, logits.argmax(1))
    np.testing.assert_allclose([(row.precision, row.recall, row.f1, row.count) for row in rows], np.array(expected).T)


def test_scipy_agrees_on_wilson_intervals():
    cases = [(0, 1), (0, 20), (3, 3), (7, 20), (399, 400)]
    low, high = wilson_interval(*np.array(cases).T, confidence=0.9)
    for i, case in enumerate(cases):
        expected = stats.binomtest(*case).proportion_ci(confidence_level=0.9, method="wilson")
        assert (low[i], high[i]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert np.isnan(wilson_interval(0, 0)).all()


def test_split_mean_counts_every_split_the_same():
    result = split_mean({"split 1": 0.9, "split 2": 0.8, "split 3": 0.7})
    assert result.mean == pytest.approx(0.8)
    assert result.values == {"split 1": 0.9, "split 2": 0.8, "split 3": 0.7}


LOGITS = torch.zeros(3, 4)


@pytest.mark.parametrize(
    "logits, labels, words",
    [
        (LOGITS[:0], torch.zeros(0, dtype=torch.long), r"need clips, and two classes or more; logits are \(0, 4\)"),
        (LOGITS[:, :1], torch.zeros(3, dtype=torch.long), r"logits are \(3, 1\)"),
        (LOGITS, torch.tensor([0, 1]), r"labels \(N,\), got \(3, 4\) and \(2,\)"),
        (LOGITS, torch.tensor([0.0, 1.0, 2.0]), "labels must be integers, got torch.float32"),
        (LOGITS, torch.tensor([0, 4, 7]), "labels of 2 clips are none of the 4 classes.*first label 4 of clip 1"),
        (LOGITS, torch.tensor([0, 0, -1]), "first label -1 of clip 2"),
        (LOGITS.index_fill(0, torch.tensor(1), torch.nan), torch.tensor([0, 1, 2]), "1 of 3 clips.*of clip 1"),
        (LOGITS.index_fill(1, torch.tensor(1), torch.nan), torch.tensor([0, 1, 2]), "3 of 3 clips.*of clip 0"),
        (LOGITS + torch.inf, torch.tensor([0, 1, 2]), "3 of 3 clips"),
        (LOGITS - torch.inf, torch.tensor([0, 1, 2]), "3 of 3 clips"),
    ],
)
@pytest.mark.parametrize("measure", [top_k_hits, confusion_matrix, per_class_table])
def test_logits_and_labels_that_cannot_be_are_errors(measure, logits, labels, words):
    with pytest.raises(ValueError, match=words):
        measure(logits, labels)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: top_k_hits(LOGITS, torch.tensor([0, 1, 2]), 5), "top-5 accuracy is not defined with 4 classes"),
        (lambda: top_k_hits(LOGITS, torch.tensor([0, 1, 2]), 0), "top-0 accuracy is not defined"),
        (lambda: class_mean([1, 0], [0, 2], 2), "labels are 0 to 2, but there are 2 classes"),
        (lambda: class_mean([1, 0], [0], 2), r"must be \(N,\), got \(2,\), \(1,\)"),
        (lambda: class_mean([1, np.nan], [0, 1], 2), "1 of 2 values are not finite"),
        (lambda: per_class_table(LOGITS, torch.tensor([0, 1, 2]), ["run"]), "1 names for 4 classes"),
        (lambda: wilson_interval(3, 2), "between 0 and the counts"),
        (lambda: wilson_interval(1, 2, confidence=95), r"in \(0, 1\), got 95"),
        (lambda: split_mean({}), "at least one split"),
        (lambda: split_mean({"split 1": 0.9, "split 2": np.nan}), "no finite figure for split 2"),
    ],
)
def test_what_cannot_be_is_an_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()
