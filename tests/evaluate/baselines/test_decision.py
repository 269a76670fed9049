"""The decision: quality first, then cost, then simplicity; in words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tunesmith.evaluate.baselines.costs import Cost
from tunesmith.evaluate.baselines.decision import best_of, decide
from tunesmith.evaluate.baselines.measured import Estimate, WayResult
from tunesmith.evaluate.comparison import Comparison, Verdict
from tunesmith.evaluate.scorers import METRICS
from tunesmith.evaluate.statistics import Interval

ROUGE = METRICS["rouge_l"]
MACHINE = Cost(a_month=73.0, a_request=0.0, most_requests=1e6)
BY_REQUEST = Cost(a_month=0.0, a_request=0.002, most_requests=math.inf)


def way(name: str, score: float, *, cost: Cost | None = None, **values: Any) -> WayResult:
    answerer: Any = name if name == "endpoint" else "tuned" if name.startswith("tuned") else "base"
    usual: dict[str, Any] = {
        "words": "",
        "num_answers": 100,
        "num_missing": 0,
        "scores": {"rouge_l": Estimate(value=score, low=score - 0.02, high=score + 0.02)},
        "latency_seconds": 1.2,
        "seconds_a_request": 0.4,
        "prompt_tokens": 50.0,
        "new_tokens": 60.0,
        "peak_memory_bytes": None if answerer == "endpoint" else 1_500_000_000,
        "data_leaves": answerer == "endpoint",
    }
    return WayResult(name=name, answerer=answerer, cost=cost, **{**usual, **values})


def against(verdict: Verdict, difference: float) -> Comparison:
    unknown = dict.fromkeys(("effect_size", "deviation", "detectable_difference", "examples_needed"))
    return Comparison(
        metric=ROUGE,
        num_examples=100,
        base=0.5,
        tuned=0.5 + difference,
        difference=difference,
        interval=Interval(difference - 0.01, difference + 0.01),
        test="sign flips",
        p_value=0.01,
        p_adjusted=0.01,
        verdict=verdict,
        sentence="",
        **unknown,
    )


def test_the_best_is_taken_when_all_others_are_worse() -> None:
    ways = [way("zero-shot", 0.18), way("tuned", 0.34)]
    decision = decide(ways, ROUGE, "tuned", {"zero-shot": against("worse", -0.16)}, requests=None)
    assert (decision.take, decision.best, decision.contenders) == ("tuned", "tuned", ("tuned",))
    assert decision.paragraph == (
        "Take `tuned`: ROUGE-L 0.34 [0.32, 0.36] on 100 held-out examples, the best of all. Worse than `tuned`: `zero-shot` (-0.16). "
        "A request takes 1.2 s, 1.5 GB of memory; nothing leaves this machine."
    )


def test_what_cannot_be_told_from_the_best_and_is_simpler_is_taken() -> None:
    ways = [way("few-shot", 0.33), way("retrieval", 0.33), way("tuned", 0.34)]
    compared = {"few-shot": against("cannot tell", -0.01), "retrieval": against("cannot tell", -0.01)}
    decision = decide(ways, ROUGE, "tuned", compared, requests=None)
    assert (decision.take, decision.best) == ("few-shot", "tuned")
    assert "`tuned` scores higher, but not surely (-0.01 [-0.02, 0.00])" in decision.paragraph
    assert "Not to be told from the best: `retrieval`." in decision.paragraph


@pytest.mark.parametrize(("requests", "taken"), [(10_000, "endpoint"), (100_000, "tuned")])
def test_cost_decides_between_equals_by_the_number_of_requests(requests: float, taken: str) -> None:
    ways = [way("tuned", 0.34, cost=MACHINE), way("endpoint", 0.35, cost=BY_REQUEST)]
    decision = decide(ways, ROUGE, "endpoint", {"tuned": against("cannot tell", -0.01)}, requests=requests)
    assert decision.take == taken
    assert (
        "Below 37,000 requests a month the endpoint is cheaper than `tuned` (0.002 a request against 73 a month); above"
        in decision.paragraph
    )


def test_a_price_that_was_not_given_decides_nothing() -> None:
    ways = [way("tuned", 0.34), way("endpoint", 0.35, cost=BY_REQUEST)]
    decision = decide(ways, ROUGE, "endpoint", {"tuned": against("cannot tell", -0.01)}, requests=1e9)
    assert decision.take == "tuned"
    assert "a month" not in decision.paragraph


def test_worse_is_not_taken_however_cheap() -> None:
    ways = [way("tuned", 0.30, cost=MACHINE), way("endpoint", 0.50, cost=BY_REQUEST)]
    decision = decide(ways, ROUGE, "endpoint", {"tuned": against("worse", -0.20)}, requests=1e6)
    assert decision.take == "endpoint"
    assert "its questions leave this machine" in decision.paragraph


def test_of_equal_means_the_simplest_is_the_best() -> None:
    assert best_of({"tuned": 0.3, "zero-shot": 0.3}, ROUGE) == "zero-shot"
