"""Classification: scikit-learn's figures, bootstrapped over examples."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from tests.evaluate.fakes import answer, answered_again, example, record
from tunesmith.config import EvaluateConfig
from tunesmith.evaluate.comparison import compare_records
from tunesmith.evaluate.confusion import Confusion, confusion_lines
from tunesmith.evaluate.heatmap import heatmap
from tunesmith.evaluate.labels import balanced_accuracy, compare_labels, label_answers, macro_f1
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.report import EvaluationReport, build_report
from tunesmith.evaluate.scorers import resolve_scorers

NAMES = ["card arrival", "top up", "refund", "pin"]
CONFIG = EvaluateConfig(num_resamples=300)
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=40)


def labelled(pairs: list[tuple[str, str, str]]) -> list[EvaluationRecord]:
    """Records from (reference, base's answer, tuned's answer), scored as the evaluation does."""
    (scorer,) = resolve_scorers(["label_accuracy"], [example("q", name) for name in NAMES])

    def scored(said: str, reference: str) -> ModelAnswer:
        found = scorer.function(said, reference, "")
        assert found is not None
        return replace(answer(said, reference), scores={scorer.name: found.value}, label=found.label)

    return [
        answered_again(record(name=f"r{i}", reference=right), base=scored(base, right), tuned=scored(tuned, right))
        for i, (right, base, tuned) in enumerate(pairs)
    ]


def study(count: int = 40) -> list[EvaluationRecord]:
    """The base always says one label or rambles, the tuned model is right but for every eighth."""
    rights = [NAMES[i % 4] for i in range(count)]
    return labelled(
        [(right, "I do not know" if i % 3 == 0 else "Pin.", "refund" if i % 8 == 0 else right.title()) for i, right in enumerate(rights)]
    )


@settings(max_examples=60)
@given(PAIRS)
def test_the_figures_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    there = np.unique(truth)
    assert macro_f1(truth, predicted, 4) == pytest.approx(f1_score(truth, predicted, labels=there, average="macro", zero_division=0))
    recalls = np.mean([(predicted[truth == one] == one).mean() for one in there])
    assert balanced_accuracy(truth, predicted, 4) == pytest.approx(recalls)
    if set(predicted) <= set(there):
        assert balanced_accuracy(truth, predicted, 4) == pytest.approx(balanced_accuracy_score(truth, predicted))


def test_the_confusion_matrix_is_scikit_learns() -> None:
    found = label_answers(study(), "base", "tuned")
    assert found is not None
    assert found.labels == ("card arrival", "pin", "refund", "top up")
    for predicted, table in ((found.base, found.confusion.base), (found.tuned, found.confusion.tuned)):
        assert np.array_equal(np.array(table), confusion_matrix(found.truth, predicted, labels=range(5))[:4])
    assert sum(row[-1] for row in found.confusion.base) == 14  # "I do not know", every third of 40


def test_corpus_figures_come_with_label_accuracy() -> None:
    found = {one.metric.name: one for one in compare_records(study(), CONFIG)}
    assert list(found) == ["loss", "label_accuracy", "macro_f1", "balanced_accuracy"]
    answers = label_answers(study(), "base", "tuned")
    assert answers is not None
    for name, figure in (("macro_f1", macro_f1), ("balanced_accuracy", balanced_accuracy)):
        one = found[name]
        assert one.base == figure(answers.truth, answers.base, 4)
        assert one.tuned == figure(answers.truth, answers.tuned, 4)
        assert one.interval is not None
        assert one.interval.low < one.difference < one.interval.high
        assert (one.test, one.verdict, one.num_examples) == ("random swaps", "better", 40)
        assert one.p_value == pytest.approx(1 / 301)  # no swap of 300 is as far


def test_order_changes_nothing_and_swapping_the_models_mirrors() -> None:
    records = study()
    first, again, mirrored = (
        compare_records(records, CONFIG),
        compare_records(records[::-1], CONFIG),
        compare_records(records, CONFIG, "tuned", "base"),
    )
    for one, other, swapped in zip(first, again, mirrored, strict=True):
        assert one.sentence == other.sentence
        assert swapped.difference == pytest.approx(-one.difference)
        if one.interval and swapped.interval:
            assert tuple(swapped.interval) == pytest.approx((-one.interval.high, -one.interval.low))
        assert swapped.p_value == pytest.approx(one.p_value)


def test_without_an_effect_the_interval_mostly_holds_zero() -> None:
    generator = np.random.default_rng(4)
    wrong = 0
    for seed in range(60):
        truth = generator.integers(3, size=40)
        base, tuned = (np.where(generator.random(40) < 0.7, truth, generator.integers(4, size=40)) for _ in range(2))
        names = [NAMES[i] for i in range(3)]
        said = [*names, "nothing of that"]
        records = labelled([(names[t], said[b], said[s]) for t, b, s in zip(truth, base, tuned, strict=True)])
        answers = label_answers(records, "base", "tuned")
        assert answers is not None
        found = compare_labels(answers, macro_f1, confidence=0.9, num_resamples=200, seed=seed)
        wrong += found.p_value < 0.1
    assert wrong <= 12  # a tenth of 60 is 6


def test_few_examples_have_figures_without_an_interval() -> None:
    found = {one.metric.name: one for one in compare_records(study(4), CONFIG)}
    assert found["macro_f1"].interval is None
    assert found["macro_f1"].verdict == "cannot tell"


def test_the_report_decides_by_the_labels_and_shows_them() -> None:
    report = build_report(study(), CONFIG, run_name="r", model_name="m", split="test", data_fingerprint="f", date="2026-01-31")
    assert [one.metric.name for one in report.headline] == ["loss", "label_accuracy"]
    assert report.flips.rule.words == "label accuracy"
    assert EvaluationReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    lines = "\n".join(report.summary_lines())
    assert "macro-F1" in lines
    assert "card arrival -> refund: 5 (base 0)" in lines
    assert report.confusion is not None
    figures = {one.label: one for one in report.confusion.per_label()}
    # Tuned says refund 10 times rightly and 5 times instead of card arrival: 2 * 10 / (10 + 15).
    assert figures["refund"].tuned == pytest.approx(20 / 25)
    assert Confusion.from_json(json.loads(json.dumps(asdict(report.confusion)))) == report.confusion


def test_the_table_for_the_terminal() -> None:
    confusion = Confusion(labels=("no", "yes"), base=((1, 1, 1), (0, 3, 0)), tuned=((2, 1, 0), (0, 3, 0)))
    assert confusion_lines(confusion) == [
        "tuned says     1     2  none",
        "1 no           2     1     0",
        "2 yes          0     3     0",
        "most frequent mistakes of the tuned model:",
        "  no -> yes: 1 (base 1)",
    ]


def test_a_heat_map_has_a_square_for_every_cell_that_is_not_empty_and_escapes_labels() -> None:
    confusion = Confusion(labels=("<b>", "yes"), base=((1, 1, 1), (0, 3, 0)), tuned=((2, 1, 0), (0, 3, 0)))
    drawn = heatmap(confusion, confusion.tuned, title="tuned")
    assert drawn.count("<title>") == 3
    assert "<b>" not in drawn
    assert "&lt;b&gt;, said yes: 1 of 3" in drawn
