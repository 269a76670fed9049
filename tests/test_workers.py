"""Work that is spread over processes comes back whole, in order, and fails as it would at home."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tunesmith import workers as module
from tunesmith.errors import DataError
from tunesmith.workers import Workers


@dataclass(frozen=True)
class Times:
    """A function with something of its own."""

    factor: int

    def __call__(self, number: int) -> tuple[int, int]:
        print("libraries may print")
        return number * self.factor, os.getpid()


def refuse_seven(number: int) -> int:
    if number == 7:
        raise DataError("faq.csv:7", "seven", expected="another number", remedy="leave it out")
    return number


def die(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers start with the first piece."""
    monkeypatch.setattr(module, "SECONDS_AT_HOME", -1.0)


def test_in_order_in_other_processes() -> None:
    with Workers(2) as workers:
        results = list(workers.map(Times(3), range(50)))
        again = list(workers.map(Times(5), range(4)))
    assert [number for number, _ in results] == [3 * number for number in range(50)]
    processes = {process for _, process in results}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert [number for number, _ in again] == [0, 5, 10, 15]
    assert os.getpid() not in {process for _, process in again}


def test_little_work_stays_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_AT_HOME", 60.0)
    with Workers(2) as workers:
        assert {process for _, process in workers.map(Times(1), range(5))} == {os.getpid()}
    with Workers(1) as workers:
        assert {process for _, process in workers.map(Times(1), range(5))} == {os.getpid()}


def test_pieces_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    with Workers(2) as workers:
        results = workers.map(Times(1), pieces())
        assert next(results)[0] == 0
        assert len(taken) < 20, "pieces wait in memory"


def test_an_error_comes_home_as_itself() -> None:
    with Workers(2) as workers, pytest.raises(DataError, match=r"faq\.csv:7: seven"):
        list(workers.map(refuse_seven, range(20)))


def test_a_worker_that_dies_is_said() -> None:
    with Workers(2) as workers, pytest.raises(DataError, match="a worker process: it ended in the middle"):
        list(workers.map(die, range(20)))


def test_nothing_stays_behind() -> None:
    with Workers(2) as workers:
        processes = {process for _, process in workers.map(Times(1), range(10))}
    for process in processes:
        assert not Path(f"/proc/{process}").exists() if Path("/proc/self").exists() else True
