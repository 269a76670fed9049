"""The decision: quality first, then cost, then simplicity; in words."""

from __future__ import annotations

import dataclasses
import math
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from tests.evaluate.fakes import answer, example
from tunesmith.config import BaselineConfig
from tunesmith.evaluate.baselines.costs import Cost
from tunesmith.evaluate.baselines.decision import best_of, decide
from tunesmith.evaluate.baselines.measured import Answered, Estimate, Taken, WayResult
from tunesmith.evaluate.baselines.report import build_baseline_report, flattery
from tunesmith.evaluate.baselines.ways import Way
from tunesmith.evaluate.comparison import Comparison, Verdict
from tunesmith.evaluate.scorers import METRICS, SCORERS
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
    decision = decide(ways, ROUGE, "tuned", {"zero-shot": against("worse", -0.16)}, requests=None, flattery=0.004)
    assert (decision.take, decision.best, decision.contenders) == ("tuned", "tuned", ("tuned",))
    assert decision.paragraph == (
        "Take `tuned`: ROUGE-L 0.34 [0.32, 0.36] on 100 held-out examples, the best of all. Worse than `tuned`: `zero-shot` (-0.16). "
        "As the same examples chose `tuned` as the best of 2, its ROUGE-L is flattered by about 0.004. "
        "A request takes 1.2 s, 1.5 GB of memory; nothing leaves this machine."
    )


def test_what_cannot_be_told_from_the_best_and_is_simpler_is_taken() -> None:
    ways = [way("few-shot", 0.33), way("retrieval", 0.33), way("tuned", 0.34)]
    compared = {"few-shot": against("cannot tell", -0.01), "retrieval": against("cannot tell", -0.01)}
    decision = decide(ways, ROUGE, "tuned", compared, requests=None, flattery=0.004)
    assert (decision.take, decision.best) == ("few-shot", "tuned")
    assert "`tuned` scores higher, but not surely (-0.01 [-0.02, 0.00])" in decision.paragraph
    assert "Not to be told from the best: `retrieval`." in decision.paragraph


@pytest.mark.parametrize(("requests", "taken"), [(10_000, "endpoint"), (100_000, "tuned")])
def test_cost_decides_between_equals_by_the_number_of_requests(requests: float, taken: str) -> None:
    ways = [way("tuned", 0.34, cost=MACHINE), way("endpoint", 0.35, cost=BY_REQUEST)]
    decision = decide(ways, ROUGE, "endpoint", {"tuned": against("cannot tell", -0.01)}, requests=requests, flattery=0.0)
    assert decision.take == taken
    assert (
        "Below 37,000 requests a month the endpoint is cheaper than `tuned` (0.002 a request against 73 a month); above"
        in decision.paragraph
    )


def test_a_price_that_was_not_given_decides_nothing() -> None:
    ways = [way("tuned", 0.34), way("endpoint", 0.35, cost=BY_REQUEST)]
    decision = decide(ways, ROUGE, "endpoint", {"tuned": against("cannot tell", -0.01)}, requests=1e9, flattery=0.0)
    assert decision.take == "tuned"
    assert "a month" not in decision.paragraph


def test_worse_is_not_taken_however_cheap() -> None:
    ways = [way("tuned", 0.30, cost=MACHINE), way("endpoint", 0.50, cost=BY_REQUEST)]
    decision = decide(ways, ROUGE, "endpoint", {"tuned": against("worse", -0.20)}, requests=1e6, flattery=0.0)
    assert decision.take == "endpoint"
    assert "its questions leave this machine" in decision.paragraph


def test_of_equal_means_the_simplest_is_the_best() -> None:
    assert best_of({"tuned": 0.3, "zero-shot": 0.3}, ROUGE) == "zero-shot"


def test_a_best_that_chance_chose_is_flattered_by_what_choosing_brings() -> None:
    generator = np.random.default_rng(0)
    studies = [generator.normal(0.5, 0.2, (4, 60)) for _ in range(60)]  # four ways that are equally good
    seen = [flattery({str(way): row for way, row in enumerate(study)}, ROUGE, seed=0) for study in studies]
    gained = [study.mean(axis=1).max() - 0.5 for study in studies]  # of four normal means: 1.03 standard errors
    assert fmean(seen) == pytest.approx(1.03 * 0.2 / math.sqrt(60), rel=0.25)
    assert fmean(seen) == pytest.approx(fmean(gained), rel=0.3)
    clear = {"zero-shot": np.linspace(0.0, 0.2, 60), "tuned": np.linspace(0.7, 0.9, 60)}
    assert flattery(clear, ROUGE, seed=0) < 0.005
    assert flattery({"zero-shot": np.ones(5)}, ROUGE, seed=0) == 0.0


def test_ways_are_judged_among_all_pairs_as_the_best_was_seen_first() -> None:
    """Three ways are three pairs: the least p is multiplied by 3 and not by 2, the others of the best."""
    held_out = [example(f"Q{number}?", "Right.", name=f"e{number}") for number in range(12)]
    taken = Taken(latencies=(1.0,), seconds_a_request=1.0, prompt_tokens=1.0, new_tokens=1.0, peak_memory_bytes=None)

    def answered(name: str, num_right: int) -> Answered:
        scores = [{"rouge_l": float(number < num_right)} for number in range(12)]
        given = {one.id: dataclasses.replace(answer("x", "Right."), scores=score) for one, score in zip(held_out, scores, strict=True)}
        return Answered(way=Way(name=name, answerer="base", examples=tuple(held_out), words=""), answers=given, taken=taken)

    ways = [answered("zero-shot", 2), answered("few-shot", 8), answered("retrieval", 12)]
    results = [way(one.way.name, 0.5) for one in ways]
    report = build_baseline_report("m", None, held_out, ways, results, [SCORERS["rouge_l"]], BaselineConfig())
    assert report.decision.best == "retrieval"
    far, near = report.comparisons["zero-shot"], report.comparisons["few-shot"]
    assert far.p_value == pytest.approx(2 / 2**10)  # sign flips of ten differences
    assert far.p_adjusted == pytest.approx(3 * far.p_value)
    assert (far.verdict, near.verdict) == ("worse", "cannot tell")
    assert near.p_value == pytest.approx(2 / 2**4)
    assert report.decision.contenders == ("retrieval", "few-shot")
