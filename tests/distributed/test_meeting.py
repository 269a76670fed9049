"""Ranks agree on one name for an attempt, whatever earlier attempts have left behind."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch.distributed as dist

from tunesmith.distributed.meeting import MEETING, agreed_name

SECONDS = 20.0


def _agree(store: dist.Store, size: int) -> set[str]:
    with ThreadPoolExecutor(size) as pool:
        return set(pool.map(lambda rank: agreed_name(store, rank, size, seconds=SECONDS), range(size)))


def test_all_have_one_name_and_the_next_attempt_another() -> None:
    store = dist.HashStore()
    first, second = _agree(store, 4), _agree(store, 4)
    assert len(first) == len(second) == 1
    assert first != second


def test_another_number_of_ranks_meets_in_the_same_store() -> None:
    store = dist.HashStore()
    names = [_agree(store, size) for size in (3, 2, 4)]
    assert len(set.union(*names)) == len(names)


def test_whoever_comes_early_takes_no_offer_of_an_earlier_attempt() -> None:
    store = dist.HashStore()
    (old,) = _agree(store, 2)
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(agreed_name, store, 1, 2, seconds=SECONDS)
        time.sleep(0.3)
        assert not early.done()
        first = pool.submit(agreed_name, store, 0, 2, seconds=SECONDS)
        assert early.result() == first.result() != old


def test_the_first_rank_waits_for_the_successor_of_one_that_is_no_more() -> None:
    """Its token is there, and nobody says yes to the offer."""
    store = dist.HashStore()
    store.set(f"{MEETING}/1", "of a process that was killed")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(agreed_name, store, 0, 2, seconds=SECONDS)
        while not store.check([f"{MEETING}/offer"]):
            time.sleep(0.01)
        offered, _ = json.loads(store.get(f"{MEETING}/offer"))
        successor = pool.submit(agreed_name, store, 1, 2, seconds=SECONDS)
        assert first.result() == successor.result() != offered


@pytest.mark.parametrize(("rank", "missing"), [(0, r"ranks \[1, 2\] did not come"), (1, "the first rank did not come")])
def test_who_does_not_come_is_named(rank: int, missing: str) -> None:
    with pytest.raises(RuntimeError, match=missing):
        agreed_name(dist.HashStore(), rank, 3, seconds=0.1)


def test_nobody_goes_before_all_have_come() -> None:
    store = dist.HashStore()
    with ThreadPoolExecutor(3) as pool:
        there = [pool.submit(agreed_name, store, rank, 3, seconds=SECONDS) for rank in (0, 1)]
        time.sleep(0.3)
        assert not any(one.done() for one in there)
        last = agreed_name(store, 2, 3, seconds=SECONDS)
        assert {one.result() for one in there} == {last}
