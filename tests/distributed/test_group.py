"""What ranks tell each other, between real processes."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
import torch

from tests.ranks import run_ranks
from tunesmith.distributed import group as module
from tunesmith.distributed.group import ALONE, current_group, joined
from tunesmith.errors import DataError, GroupError


def _talk() -> dict[str, Any]:
    with joined("cpu") as group:
        assert current_group() is group
        with joined("cpu") as again:
            assert again is group
        own = {"a": torch.full((3, 2), float(group.rank + 1)), "b": torch.arange(5.0)}
        sums = group.add_up(own)
        assert not own
        with pytest.raises(DataError, match="the first says so"):
            group.from_first(_refuse)
        with pytest.raises(DataError, match="the first says so"):
            group.on_all(_refuse if group.rank == 1 else str)
        assert group.on_all(lambda: group.rank) == group.rank
        found = {
            "gathered": group.gather({"rank": group.rank}),
            "sums": {key: one.tolist() for key, one in sums.items()},
            "from first": group.from_first(os.getpid),
            "any": (group.any(group.rank == 1), group.any(False)),
        }
        group.barrier()
    assert current_group() is ALONE
    return {**found, "pid": os.getpid()}


def _refuse() -> None:
    raise DataError("here", "the first says so", expected="otherwise", remedy="nothing")


def test_what_ranks_tell_each_other() -> None:
    found = run_ranks(3, _talk)
    for one in found:
        assert one["gathered"] == [{"rank": 0}, {"rank": 1}, {"rank": 2}]
        assert one["sums"] == {"a": [[6.0, 6.0]] * 3, "b": [0.0, 3.0, 6.0, 9.0, 12.0]}
        assert one["from first"] == found[0]["pid"]
        assert one["any"] == (True, False)


def _come_and_go() -> list[list[int]]:
    found = []
    for _ in range(3):
        with joined("cpu") as group:
            found.append(group.gather(group.rank))
            time.sleep(0.3 * (group.size - 1 - group.rank))  # the first rank, who keeps the meeting place, leaves last
    return found


def test_a_group_is_joined_again_and_again() -> None:
    """As by a script that trains, and then evaluates."""
    assert run_ranks(2, _come_and_go) == [[[0, 1]] * 3] * 2


class _Stubborn(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("not to be taken apart")


def _fail_first() -> str:
    with joined("cpu") as group:
        try:
            group.from_first(_raise_stubborn)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return "nothing"


def _raise_stubborn() -> None:
    raise _Stubborn("no")


def test_an_error_that_cannot_be_sent_arrives_in_words() -> None:
    assert run_ranks(2, _fail_first) == ["_Stubborn: no", "RuntimeError: _Stubborn: no"]


def _in_small_buckets() -> list[list[float]]:
    module.BUCKET_BYTES = 40
    with joined("cpu") as group:
        sums = group.add_up({n: torch.arange(float(n)) + group.rank for n in (1, 7, 30, 0, 4)})
        return [one.tolist() for one in sums.values()]


def test_sums_in_several_buckets() -> None:
    expected = [(2 * torch.arange(float(n)) + 1).tolist() for n in (1, 7, 30, 0, 4)]
    assert run_ranks(2, _in_small_buckets) == [expected, expected]


def _of_many_kinds() -> list[list[Any]]:
    module.BUCKET_BYTES = 40
    with joined("cpu") as group:
        own = {
            "halves": torch.full((3,), [256, 1][group.rank], dtype=torch.bfloat16),
            "lacking": torch.zeros(()).expand(2, 2) if group.rank else torch.eye(2),
            "columns": torch.arange(6.0).view(2, 3).T,
            "large": torch.full((20,), 0.1),
            "scalar": torch.tensor(2.0, dtype=torch.bfloat16),
        }
        sums = group.add_up(own)
        assert all(one.dtype == torch.float32 for one in sums.values())
        return [one.tolist() for one in sums.values()]


def test_sums_are_float32_in_the_shapes_that_were_given() -> None:
    """256 + 1 is 256 in bfloat16."""
    tenth = torch.tensor(0.1) * 2
    expected = [[257.0] * 3, [[1.0, 0.0], [0.0, 1.0]], [[0.0, 6.0], [2.0, 8.0], [4.0, 10.0]], [float(tenth)] * 20, 4.0]
    assert run_ranks(2, _of_many_kinds) == [expected, expected]


def _leave_early() -> str:
    try:
        with joined("cpu") as group:
            if group.rank == 1:
                os._exit(7)
            group.gather("still here")
    except GroupError as error:
        return str(error)
    return "nobody noticed"


def test_a_rank_that_went_away_is_noticed() -> None:
    with pytest.raises(AssertionError, match="rank 1:\nit died"):
        run_ranks(2, _leave_early)


def _notice() -> str | None:
    try:
        with joined("cpu") as group:
            if group.rank == 1:
                return None
            group.gather("still here")
    except GroupError as error:
        return str(error)
    return "nobody noticed"


def test_the_others_say_so() -> None:
    message, _ = run_ranks(2, _notice)
    assert message.startswith("rank 0 of 2: lost touch with the others")


def test_a_group_of_one_does_nothing() -> None:
    tensor = torch.ones(2)
    assert ALONE.add_up({"a": tensor})["a"] is tensor
    ALONE.barrier()
    assert ALONE.gather("x") == ["x"]
    assert ALONE.from_first(lambda: 3) == 3
    assert ALONE.any(True)
    with joined("cpu") as group:
        assert group is ALONE
