from __future__ import annotations

import json

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from tunesmith.config import RankConfig
from tunesmith.evaluate.rating.agreement import agreement, rating_table, vote_table
from tunesmith.evaluate.rating.ratings import Rating
from tunesmith.evaluate.rating.summary import summarise, summary_lines
from tunesmith.evaluate.votes import Vote

KEYWORDS = {"confidence": 0.95, "num_resamples": 200, "seed": 0}
QUICK = RankConfig(num_resamples=100)


def scores(rater: str, values: list[int], model: str = "faq") -> list[Rating]:
    return [Rating(model=model, example=f"e{i}", score=score, rater=rater, answer="ab") for i, score in enumerate(values)]


def verdicts(rater: str, winners: str, *, turned: bool = False) -> list[Vote]:
    """`a`, `b` or `t` for each example; `turned` has b on the left."""
    sides = ("b", "a") if turned else ("a", "b")
    names = {sides[0]: "left", sides[1]: "right", "t": "tie"}
    return [Vote(left=sides[0], right=sides[1], winner=names[w], example=f"e{i}", rater=rater) for i, w in enumerate(winners)]  # type: ignore[arg-type]


def test_kappa_of_two_equals_statsmodels() -> None:
    first, second = "aaabbbttab" * 3, "aabbbattab" * 3
    found = agreement(vote_table([*verdicts("ana", first), *verdicts("bo", second, turned=True)]), "nominal", **KEYWORDS)  # type: ignore[arg-type]
    assert found is not None
    table = np.array([[sum(x == one and y == other for x, y in zip(first, second, strict=True)) for other in "abt"] for one in "abt"])
    assert found.measure == "Cohen's kappa"
    assert found.value == pytest.approx(cohens_kappa(table).kappa)
    assert found.share_equal == pytest.approx(0.8)
    assert found.interval is not None
    assert found.interval.low < found.value < found.interval.high


def test_weighted_kappa_of_scores_equals_statsmodels() -> None:
    first, second = [1, 2, 3, 4, 5, 5, 4, 2] * 3, [1, 3, 3, 5, 5, 4, 4, 1] * 3
    found = agreement(rating_table([*scores("ana", first), *scores("bo", second)]), "ordinal", **KEYWORDS)  # type: ignore[arg-type]
    table = np.array([[sum(x == i and y == j for x, y in zip(first, second, strict=True)) for j in range(1, 6)] for i in range(1, 6)])
    assert found is not None
    assert found.value == pytest.approx(cohens_kappa(table, wt="quadratic").kappa)


def test_alpha_of_three_with_gaps_is_krippendorffs_example() -> None:
    """Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C: nominal 0.743, ordinal 0.815."""
    rows = {
        "A": [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        "B": [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        "C": [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        "D": [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    }
    table = {rater: {str(i): float(value) for i, value in enumerate(values) if value} for rater, values in rows.items()}
    for scale, expected in (("nominal", 0.743), ("ordinal", 0.815)):
        found = agreement(table, scale, **KEYWORDS)  # type: ignore[arg-type]
        assert found is not None
        assert found.measure == "Krippendorff's alpha"
        assert found.value == pytest.approx(expected, abs=0.001)
        assert found.num_units == 11  # the twelfth has one judgement


def test_where_all_say_the_same_nothing_is_claimed() -> None:
    same = agreement(vote_table([*verdicts("ana", "a" * 20), *verdicts("bo", "a" * 20)]), "nominal", **KEYWORDS)  # type: ignore[arg-type]
    assert same is not None
    assert (same.value, same.interval, same.share_equal) == (None, None, 1)
    assert agreement(vote_table(verdicts("ana", "ab")), "nominal", **KEYWORDS) is None  # type: ignore[arg-type]


def test_the_latest_judgement_of_a_rater_counts_and_judges_are_no_raters() -> None:
    twice = [*verdicts("ana", "ab"), *verdicts("ana", "bb")]
    assert vote_table(twice) == vote_table(verdicts("ana", "bb")) or len(set(vote_table(twice)["ana"].values())) == 1
    judged = [Vote(left="a", right="b", winner="left", kind="judge", rater="big", example="e1")]
    assert vote_table(judged) == {}


def test_the_summary_of_scores() -> None:
    generator = np.random.default_rng(0)
    base = generator.integers(1, 4, 40).tolist()
    tuned = [score + 1 + i % 2 for i, score in enumerate(base)]
    summary = summarise([], [*scores("ana", base, "m"), *scores("ana", tuned, "faq"), *scores("bo", tuned, "faq")], QUICK)
    assert [(one.model, one.num_examples) for one in summary.scores] == [("m", 40), ("faq", 40)]
    only = summary.differences[0]
    assert only.difference == pytest.approx(1.5)
    assert only.rank_biserial == 1
    assert only.p_adjusted < 0.001
    text = "\n".join(summary_lines(summary))
    assert "faq minus m: +1.50" in text
    assert "quadratically weighted kappa +1.00" in text
    json.dumps(summary.to_json(), allow_nan=False)


def test_the_summary_of_votes() -> None:
    summary = summarise([*verdicts("ana", "abtab" * 5), *verdicts("bo", "abtbb" * 5)], [], QUICK)
    assert summary.num_votes == 50
    assert summarise([*verdicts("ana", "abtab" * 5)] * 2, [], QUICK).num_votes == 25  # asked in two windows
    text = "\n".join(summary_lines(summary))
    assert "of 50 votes" in text
    assert "agreement of 2 raters on 25 pairs judged by two or more: Cohen's kappa" in text
