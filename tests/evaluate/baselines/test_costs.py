"""Months of cost, and where they meet."""

from __future__ import annotations

import math

import pytest

from tunesmith.evaluate.baselines.costs import Cost, break_even, endpoint_cost, local_cost


def test_a_machine_costs_by_the_month_and_a_second_one_when_the_first_is_full() -> None:
    cost = local_cost(0.1, 2.0)
    assert cost.a_month == pytest.approx(73.0)
    assert cost.most_requests == 730 * 3600 / 2
    assert cost.of(1) == cost.of(cost.most_requests) == pytest.approx(73.0)
    assert cost.of(cost.most_requests + 1) == pytest.approx(146.0)


def test_an_endpoint_costs_by_the_token() -> None:
    cost = endpoint_cost(2.0, 8.0, prompt_tokens=500, new_tokens=100)
    assert cost.a_request == pytest.approx(0.0018)
    assert cost.of(10_000) == pytest.approx(18.0)


def test_break_even_is_where_both_cost_the_same() -> None:
    local, endpoint = local_cost(0.1, 2.0), endpoint_cost(2.0, 8.0, prompt_tokens=500, new_tokens=100)
    requests = break_even(local, endpoint)
    assert requests == pytest.approx(73.0 / 0.0018)
    assert requests is not None
    assert local.of(requests) == pytest.approx(endpoint.of(requests))


def test_a_full_machine_that_has_not_paid_for_itself_never_does() -> None:
    slow = Cost(a_month=73.0, a_request=0.0, most_requests=1_000)
    cheap = Cost(a_month=0.0, a_request=0.001, most_requests=math.inf)
    assert break_even(slow, cheap) is None
    assert all(slow.of(requests) > cheap.of(requests) for requests in (10, 1_000, 100_000))


def test_a_free_machine_always_pays_and_a_free_endpoint_never_loses() -> None:
    free = Cost(a_month=0.0, a_request=0.0, most_requests=1e6)
    assert break_even(free, Cost(a_month=0.0, a_request=0.01, most_requests=math.inf)) == 0.0
    assert break_even(Cost(a_month=5.0, a_request=0.0, most_requests=1e6), Cost(a_month=0.0, a_request=0.0, most_requests=math.inf)) is None
