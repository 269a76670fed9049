"""Work that is spread over processes comes back whole, in order, and fails as it would at home."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
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
        time.sleep(0.01)  # no one process does all of them before another has begun
        return number * self.factor, os.getpid()


def refuse_seven(number: int) -> int:
    if number == 7:
        raise DataError("faq.csv:7", "seven", expected="another number", remedy="leave it out")
    return number


def die_away_from(home: int, number: int) -> int:
    if number >= 5 and os.getpid() != home:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers start with the first piece."""
    monkeypatch.setattr(module, "SECONDS_AT_HOME", -1.0)


def test_in_order_here_and_in_other_processes() -> None:
    with Workers(3) as workers:
        results = list(workers.map(Times(3), range(500)))
    assert [number for number, _ in results] == [3 * number for number in range(500)]
    assert len({process for _, process in results}) == 3
    assert os.getpid() in {process for _, process in results}


def test_workers_that_run_are_given_the_first_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    with Workers(2) as workers:
        list(workers.map(Times(1), range(10)))
        monkeypatch.setattr(module, "SECONDS_AT_HOME", 60.0)
        again = list(workers.map(Times(5), range(4)))
    assert [number for number, _ in again] == [0, 5, 10, 15]
    assert [process == os.getpid() for _, process in again[:2]] == [False, False]


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
        assert len(taken) < 2 * module.MOST_WAITING, "pieces wait in memory"


def test_an_error_comes_home_as_itself() -> None:
    with Workers(2) as workers, pytest.raises(DataError, match=r"faq\.csv:7: seven"):
        list(workers.map(refuse_seven, range(20)))


def test_a_worker_that_dies_is_said() -> None:
    with Workers(2) as workers, pytest.raises(DataError, match="a worker process: it ended in the middle"):
        list(workers.map(partial(die_away_from, os.getpid()), range(200)))


def test_nothing_stays_behind() -> None:
    with Workers(2) as workers:
        processes = {process for _, process in workers.map(Times(1), range(10))}
    assert processes > {os.getpid()}
    for process in processes - {os.getpid()}:
        assert not Path(f"/proc/{process}").exists() if Path("/proc/self").exists() else True
