"""What a request costs in each way, and at how many requests a month another way becomes the cheaper one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

HOURS_A_MONTH = 730.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """In the user's currency."""

    a_month: float
    """Whatever the number of requests: a machine that runs all the time."""
    a_request: float
    """On top of it."""
    most_requests: float
    """A month that one such machine can answer; infinite at an endpoint."""

    def of(self, requests: float) -> float:
        """A month's cost, with as many machines as it takes."""
        machines = max(1, math.ceil(requests / self.most_requests)) if math.isfinite(self.most_requests) else 1
        return self.a_month * machines + self.a_request * requests


def local_cost(hourly: float, seconds_a_request: float) -> Cost:
    """A machine of one's own: rented or written off by the hour, busy for so many seconds with a request in a full batch."""
    return Cost(a_month=hourly * HOURS_A_MONTH, a_request=0.0, most_requests=HOURS_A_MONTH * 3600 / seconds_a_request)


def endpoint_cost(price_prompt: float, price_completion: float, *, prompt_tokens: float, new_tokens: float) -> Cost:
    """By the token; prices are of a million."""
    return Cost(a_month=0.0, a_request=(prompt_tokens * price_prompt + new_tokens * price_completion) / 1e6, most_requests=math.inf)


def break_even(fixed: Cost, by_request: Cost) -> float | None:
    """Requests a month from which the machine is cheaper than paying by the request; None where it never is."""
    saved = by_request.a_request - fixed.a_request
    if saved <= 0 or fixed.a_month <= by_request.a_month:
        return None if saved <= 0 else 0.0
    requests = (fixed.a_month - by_request.a_month) / saved
    return requests if requests <= fixed.most_requests else None  # full before it has paid for itself, and so is every further machine


def cheapest(costs: Sequence[Cost], requests: float) -> int:
    """Position of the cheapest; the first of equals."""
    return min(range(len(costs)), key=lambda place: (costs[place].of(requests), place))
