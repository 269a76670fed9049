"""Ranks that are threads of one process: what a group is asked, without torch.distributed."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tunesmith.distributed.group import Group

Value = TypeVar("Value")


class Meeting:
    """Where the ranks of a group exchange what they have."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=60)
        self.values: list[Any] = [None] * size

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.values[rank] = pickle.dumps(value)
        self.barrier.wait()
        found = [pickle.loads(one) for one in self.values]
        self.barrier.wait()
        return found


@dataclass(frozen=True, kw_only=True)
class ThreadGroup(Group):
    meeting: Meeting = field(default_factory=lambda: Meeting(1))

    def gather(self, value: Value) -> list[Value]:
        return self.meeting.exchange(self.rank, value)

    def from_first(self, make: Callable[[], Value]) -> Value:
        found: tuple[Any, Exception | None] = (None, None)
        if self.is_first:
            try:
                found = make(), None
            except Exception as error:
                found = None, error
        value, error = self.gather(found)[0]
        if error is not None:
            raise error
        return value

    def barrier(self) -> None:
        self.gather(None)


def in_ranks(size: int, work: Callable[[Group], Value]) -> list[Value | Exception]:
    """What `work` gives or raises on each rank."""
    meeting = Meeting(size)

    def run(rank: int) -> Value | Exception:
        try:
            return work(ThreadGroup(rank=rank, size=size, meeting=meeting))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))
