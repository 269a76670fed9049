from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from tests.evaluate.fakes import answered_again, raw_text_record, record, scored_records
from tunesmith.config import EvaluateConfig
from tunesmith.errors import DataError, RunError
from tunesmith.evaluate.comparison import Comparison, compare_records
from tunesmith.evaluate.power import mcnemar_detectable_difference, mcnemar_power
from tunesmith.evaluate.records import EvaluationRecord

CONFIG = EvaluateConfig(num_resamples=300)
SCORES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=30)


def comparison_of(name: str, records: list[EvaluationRecord], config: EvaluateConfig = CONFIG) -> Comparison:
    return next(found for found in compare_records(records, config) if found.metric.name == name)


def study(difference: float, *, count: int, spread: float = 0.1) -> list[EvaluationRecord]:
    """Records whose ROUGE-L changes by `difference` on average, with a normal's quantiles for noise: no luck involved."""
    base = np.linspace(0.1, 0.4, count)
    noise = spread * norm.ppf((np.arange(count) + 0.5) / count)
    return scored_records("rouge_l", base.tolist(), (base + difference + noise).tolist())


def test_better_in_words() -> None:
    found = comparison_of("rouge_l", study(0.13, count=140))
    assert found.verdict == "better"
    assert found.sentence == "better: ROUGE-L 0.38 against 0.25, +0.13 [+0.11, +0.15], n = 140, p < 0.001"
    assert found.effect_size == pytest.approx(1.3, abs=0.2)


def test_worse_in_words() -> None:
    found = comparison_of("rouge_l", study(-0.13, count=140))
    assert found.verdict == "worse"
    assert found.sentence.startswith("worse: ROUGE-L 0.12 against 0.25, -0.13 [-0.15, -0.11], n = 140, p < 0.001")


def test_cannot_tell_in_words_with_the_number_that_would_tell() -> None:
    found = comparison_of("rouge_l", study(0.02, count=60))
    assert found.verdict == "cannot tell"
    assert found.sentence == "cannot tell with n = 60: ROUGE-L +0.02 [-0.01, +0.04]; about 300 examples needed"
    assert found.deviation
    # Five metrics share 5 %: the normal's quantile at 1 - 0.05 / 5 / 2, and that of 80 % power.
    assert found.examples_needed == math.ceil(((2.575829 + 0.841621) * found.deviation / found.difference) ** 2)


def test_as_many_examples_as_needed_would_indeed_tell() -> None:
    needed = comparison_of("rouge_l", study(0.03, count=40)).examples_needed
    assert needed is not None
    assert comparison_of("rouge_l", study(0.03, count=needed)).verdict == "better"


def test_lower_loss_is_better_and_is_a_ratio_of_sums() -> None:
    records = [raw_text_record(f"r{i}", (30.0 + i % 7, 10 + i), (20.0 + i % 5, 10 + i)) for i in range(30)]
    found = comparison_of("loss", records)
    tokens = sum(10 + i for i in range(30))
    assert found.base == pytest.approx(sum(30.0 + i % 7 for i in range(30)) / tokens)
    assert found.tuned == pytest.approx(sum(20.0 + i % 5 for i in range(30)) / tokens)
    assert found.difference == pytest.approx(found.tuned - found.base)
    assert found.verdict == "better"
    assert found.gain == -found.difference > 0


def test_an_interval_alone_does_not_convince() -> None:
    """One of two metrics has p between 0.025 and 0.05: alone it is better, beside another one it cannot be told."""
    gains = [0.1] * 11 + [-0.1] * 2  # exact sign-flip p = 2 * (1 + 13 + 78) / 2^13 = 0.0225
    records = scored_records("rouge_l", [0.5] * 13, [0.5 + gain for gain in gains])
    found = comparison_of("rouge_l", records)
    assert found.p_value == pytest.approx(0.0225, abs=1e-3)
    assert found.interval is not None
    assert found.interval.excludes_zero
    assert found.p_adjusted == pytest.approx(5 * found.p_value)
    assert found.verdict == "cannot tell"


def test_where_nothing_differs_no_verdict_is_fooled() -> None:
    """100 seeded studies of five unrelated metrics without any effect: the family is wrong in about one of twenty."""
    generator = np.random.default_rng(9)
    wrong = 0
    for _ in range(100):
        base, tuned = generator.normal(0.5, 0.1, (2, 12, 3))
        records = []
        for i in range(12):
            scores = [{"token_f1": row[0], "rouge_l": row[1], "chrf": row[2]} for row in (base[i].tolist(), tuned[i].tolist())]
            losses = generator.normal(20, 2, 2).tolist()
            sides = [
                replace(record().base, scores=score, loss_total=loss, completion="x") for score, loss in zip(scores, losses, strict=True)
            ]
            records.append(record(name=str(i), base=sides[0], tuned=sides[1]))
        wrong += any(found.verdict != "cannot tell" for found in compare_records(records, CONFIG))
    assert wrong / 100 <= 0.08


@settings(max_examples=25, deadline=None)
@given(SCORES, st.randoms(use_true_random=False))
def test_order_changes_nothing_and_swapping_the_models_mirrors(scores: list[tuple[int, int]], random: object) -> None:
    base, tuned = ([pair[side] / 20 for pair in scores] for side in (0, 1))
    records = scored_records("token_f1", base, tuned)
    found = comparison_of("token_f1", records)
    random.shuffle(records)  # type: ignore[attr-defined]
    shuffled = comparison_of("token_f1", records)
    assert shuffled.difference == pytest.approx(found.difference)
    assert shuffled.interval == (pytest.approx(found.interval) if found.interval else None)
    assert (shuffled.verdict, shuffled.p_value, shuffled.sentence) == (found.verdict, found.p_value, found.sentence)
    mirrored = comparison_of("token_f1", [answered_again(item, base=item.tuned, tuned=item.base) for item in records])
    assert mirrored.difference == pytest.approx(-found.difference)
    assert mirrored.p_adjusted == pytest.approx(found.p_adjusted)
    opposite = {"better": "worse", "worse": "better", "cannot tell": "cannot tell"}
    assert mirrored.verdict == opposite[found.verdict]
    assert mirrored.examples_needed == found.examples_needed


def test_any_two_models_can_be_compared() -> None:
    records = study(0.13, count=140)
    renamed = [replace(item, answers={"old": item.base, "other": item.base, "new": item.tuned}) for item in records]
    assert compare_records(renamed, CONFIG, "old", "new") == compare_records(records, CONFIG)
    assert {found.difference for found in compare_records(renamed, CONFIG, "old", "other")} == {0.0}
    with pytest.raises(RunError, match="no answer of a model called 'base'; expected 'old' or 'other' or 'new'"):
        compare_records(renamed, CONFIG)


def test_the_same_input_gives_the_same_output() -> None:
    records = study(0.05, count=50)
    assert compare_records(records, CONFIG) == compare_records(records, CONFIG)


def test_json_loses_nothing() -> None:
    for found in (*compare_records(study(0.05, count=50), CONFIG), *compare_records(study(0.05, count=1), CONFIG)):
        assert Comparison.from_json(json.loads(json.dumps(asdict(found)))) == found


def test_no_examples_is_an_error() -> None:
    with pytest.raises(DataError, match="there are no examples"):
        compare_records([], CONFIG)


def test_one_example_cannot_tell() -> None:
    found = comparison_of("rouge_l", scored_records("rouge_l", [0.1], [0.9]))
    assert found.verdict == "cannot tell"
    assert (found.interval, found.effect_size, found.examples_needed) == (None, None, None)
    assert found.sentence == "cannot tell with n = 1: ROUGE-L +0.80; more examples needed"
    assert comparison_of("exact_match", scored_records("exact_match", [0.0], [1.0])).verdict == "cannot tell"


def test_identical_models_cannot_be_told_apart() -> None:
    for found in compare_records(scored_records("rouge_l", [0.3] * 40, [0.3] * 40), CONFIG):
        assert found.verdict == "cannot tell"
        assert found.p_value == 1
        assert found.sentence.endswith("no difference seen")


def test_equal_gains_everywhere_are_better() -> None:
    found = comparison_of("rouge_l", scored_records("rouge_l", [0.2] * 40, [0.3] * 40))
    assert found.verdict == "better"
    assert found.effect_size is None
    assert comparison_of("rouge_l", scored_records("rouge_l", [0.2] * 5, [0.3] * 5)).verdict == "cannot tell"  # p = 1/16 at best


def test_exact_match_is_tested_with_mcnemar() -> None:
    found = comparison_of("exact_match", scored_records("exact_match", [0.0] * 20 + [1.0] * 20, [1.0] * 18 + [0.0] * 4 + [1.0] * 18))
    assert found.test == "exact McNemar"
    assert found.difference == pytest.approx(16 / 40)
    assert found.verdict == "better"


def test_the_confidence_is_the_settings() -> None:
    records = study(0.03, count=60)
    wide = comparison_of("rouge_l", records, EvaluateConfig(confidence=0.999, num_resamples=2000))
    narrow = comparison_of("rouge_l", records, EvaluateConfig(confidence=0.8, num_resamples=2000))
    assert wide.interval
    assert narrow.interval
    assert wide.interval.low < narrow.interval.low < narrow.interval.high < wide.interval.high


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused_with_their_place(value: float) -> None:
    fine = record(name="fine", base="x")
    with pytest.raises(DataError, match=r"faq.jsonl:bad: loss of example bad is not a finite number"):
        compare_records([fine, record(name="bad", base=replace(fine.base, loss_total=value))], CONFIG)
    with pytest.raises(DataError, match=r"faq.jsonl:r1: chrF of example r1"):
        compare_records(scored_records("chrf", [1.0, 2.0], [1.0, value]), CONFIG)


def test_losses_over_different_tokens_are_refused() -> None:
    with pytest.raises(DataError, match="10 supervised tokens for the model base and 11 for tuned"):
        compare_records([raw_text_record("a", (1.0, 10), (1.0, 11))], CONFIG)
    with pytest.raises(DataError, match="at least 1"):
        compare_records([raw_text_record("a", (1.0, 0), (1.0, 0))], CONFIG)


def test_a_score_without_a_metric_is_refused() -> None:
    with pytest.raises(DataError, match=r"unknown metrics \['vibes'\]"):
        compare_records(scored_records("vibes", [1.0], [2.0]), CONFIG)


def test_a_score_that_only_some_records_have_is_compared_over_those() -> None:
    records = [*scored_records("rouge_l", [0.1] * 9, [0.2] * 9), raw_text_record("raw", (20.0, 10), (20.0, 10))]
    counts = {found.metric.name: found.num_examples for found in compare_records(records, CONFIG)}
    assert counts == {"loss": 10, "exact_match": 9, "token_f1": 9, "rouge_l": 9, "chrf": 9}


def test_what_right_or_wrong_would_tell_is_of_the_exact_test() -> None:
    """7 newly right and 3 newly wrong of 40: by McNemar's own power, not by the approximation for means, which promises more."""
    base, tuned = [0.0] * 7 + [1.0] * 3 + [0.0] * 30, [1.0] * 7 + [0.0] * 3 + [0.0] * 30
    records = scored_records("exact_match", base, tuned)
    found = comparison_of("exact_match", records)
    needed, alpha = found.examples_needed, 0.05 / len(compare_records(records, CONFIG))
    assert needed is not None
    assert mcnemar_power(needed, gained=8 / 42, lost=4 / 42, alpha=alpha) >= 0.8
    assert mcnemar_power(needed - 4, gained=8 / 42, lost=4 / 42, alpha=alpha) < 0.8
    assert found.detectable_difference == mcnemar_detectable_difference(40, changed=12 / 42, alpha=alpha)
