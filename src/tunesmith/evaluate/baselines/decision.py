"""Which way to take, in a paragraph: the cheapest and simplest of those that the data cannot tell from the best.

A way is in the running unless it is worse than the best one by an interval that excludes zero and a test that holds after Holm's
correction over all pairs of ways, as the best one was chosen by the same examples. Among those, cost decides at the number of requests
given, and where costs are equal or unknown, simplicity: what needs no training, no retrieval and no other machine comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.evaluate.baselines.costs import Cost, break_even
from tunesmith.evaluate.baselines.measured import WayResult
from tunesmith.evaluate.comparison import Comparison
from tunesmith.evaluate.scorers import Metric
from tunesmith.evaluate.wording import bracketed, roughly, signed

IN_ORDER = ("zero-shot", "own prompt", "few-shot", "retrieval", "tuned", "tuned + retrieval", "endpoint")
"""From the simplest on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What to take, and why."""

    take: str
    best: str
    """By the metric alone."""
    contenders: tuple[str, ...]
    """Those that cannot be told from the best, the best included."""
    flattery: float
    """How much better the best way's mean looks than it is, because the same examples chose it."""
    paragraph: str


def decide(
    results: Sequence[WayResult],
    metric: Metric,
    best: str,
    against_best: Mapping[str, Comparison],
    *,
    requests: float | None,
    flattery: float,
) -> Decision:
    """Choose.

    Args:
        results: the ways.
        metric: what quality is measured by.
        best: name of the best way by it.
        against_best: each other way's comparison with the best one, by its name.
        requests: a month; None where costs do not matter.
        flattery: of the best way's mean, see `Decision`.
    """
    by_name = {result.name: result for result in results}
    contenders = [best, *(name for name, comparison in against_best.items() if comparison.verdict != "worse")]
    simplest = sorted(contenders, key=IN_ORDER.index)
    take = _cheapest([by_name[name] for name in simplest], requests)
    sentences = [
        _quality(by_name[take], by_name[best], metric, against_best),
        *_others(results, take, best, against_best, contenders),
        *_flattered(best, metric, len(results), flattery),
        _practice(by_name[take], by_name[best]),
        *_money(results, by_name[take], requests),
    ]
    return Decision(take=take, best=best, contenders=tuple(contenders), flattery=flattery, paragraph=" ".join(sentences))


def best_of(means: Mapping[str, float], metric: Metric) -> str:
    """Name of the way with the best mean; of equals the simplest."""
    sign = 1 if metric.higher_is_better else -1
    return max(means, key=lambda name: (sign * means[name], -IN_ORDER.index(name)))


def _cheapest(simplest_first: Sequence[WayResult], requests: float | None) -> str:
    costs = [result.cost for result in simplest_first]
    if requests is None or any(cost is None for cost in costs):
        return simplest_first[0].name
    return min(simplest_first, key=lambda result: result.cost.of(requests) if result.cost else 0.0).name


def _quality(taken: WayResult, best: WayResult, metric: Metric, against_best: Mapping[str, Comparison]) -> str:
    score = taken.scores[metric.name]
    form = f"{{:.{metric.decimals}f}}"
    interval = f" [{form.format(score.low)}, {form.format(score.high)}]" if score.low is not None else ""
    text = f"Take `{taken.name}`: {metric.title} {form.format(score.value)}{interval} on {taken.num_answers:,} held-out examples"
    if taken.name == best.name:
        return f"{text}, the best of all."
    comparison = against_best[taken.name]
    difference = signed(comparison.difference, comparison.decimals)
    span = f" {bracketed(comparison.interval, comparison.decimals)}" if comparison.interval else ""
    return f"{text}. `{best.name}` scores higher, but not surely ({difference}{span}), and `{taken.name}` is simpler or cheaper."


def _others(
    results: Sequence[WayResult], take: str, best: str, against_best: Mapping[str, Comparison], contenders: Sequence[str]
) -> list[str]:
    sentences = []
    alike = [f"`{result.name}`" for result in results if result.name in contenders and result.name not in (take, best)]
    worse = [f"`{name}` ({signed(c.difference, c.decimals)})" for name, c in against_best.items() if c.verdict == "worse"]
    if alike:
        sentences.append(f"Not to be told from the best: {', '.join(alike)}.")
    if worse:
        sentences.append(f"Worse than `{best}`: {', '.join(worse)}.")
    return sentences


def _flattered(best: str, metric: Metric, num_ways: int, flattery: float) -> list[str]:
    """What the best one's mean owes to having been chosen, where there was a choice."""
    if num_ways < 2:
        return []
    least = 10.0 ** -(metric.decimals + 1)
    amount = f"about {flattery:.{metric.decimals + 1}f}" if flattery >= least / 2 else f"less than {least:.{metric.decimals + 1}f}"
    return [f"As the same examples chose `{best}` as the best of {num_ways}, its {metric.title} is flattered by {amount}."]


def _practice(taken: WayResult, best: WayResult) -> str:
    where = "its questions leave this machine" if taken.data_leaves else "nothing leaves this machine"
    memory = f", {taken.peak_memory_bytes / 1e9:.1f} GB of memory" if taken.peak_memory_bytes else ""
    text = f"A request takes {taken.latency_seconds:.2g} s{memory}; {where}."
    if best.latency_seconds < taken.latency_seconds:
        tokens = f"{best.prompt_tokens:.0f} prompt tokens instead of {taken.prompt_tokens:.0f}"
        text += f" With `{best.name}` it takes {best.latency_seconds:.2g} s and {tokens}."
    return text


def _money(results: Sequence[WayResult], taken: WayResult, requests: float | None) -> list[str]:
    """Where the machine pays for itself against the endpoint."""
    endpoint = next((result for result in results if result.answerer == "endpoint"), None)
    local = taken if taken.answerer != "endpoint" else next((result for result in results if result.name == "tuned"), None)
    sentences = []
    if taken.cost and requests is not None:
        sentences.append(f"At {requests:,.0f} requests a month it costs {_amount(taken.cost.of(requests))}.")
    if endpoint is None or endpoint.cost is None or local is None or local.cost is None:
        return sentences
    sentences.append(_break_even_sentence(local.name, local.cost, endpoint.cost))
    return sentences


def _break_even_sentence(name: str, local: Cost, endpoint: Cost) -> str:
    requests = break_even(local, endpoint)
    if requests is None:
        return f"The endpoint is cheaper than `{name}` at any number of requests: its price of a request is below the machine's."
    capacity = f"one machine can answer {roughly(int(local.most_requests))} a month"
    return (
        f"Below {roughly(int(requests))} requests a month the endpoint is cheaper than `{name}` ({_amount(endpoint.a_request)} a request "
        f"against {_amount(local.a_month)} a month); above, `{name}` is; {capacity}."
    )


def _amount(value: float) -> str:
    """Three significant digits; the currency is the user's."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
