"""A function over many pieces of work, in several processes when there is much of it; results in the order of the pieces.

    with Workers(2) as workers:
        for result in workers.map(function, pieces):
            ...

This process works too, on pieces for which the others have no hand free, so none of the cores waits while they start. They are joblib's
(loky): fresh interpreters, so no locks of torch's threads are inherited, and the user's script is not imported once more. Small work pays
no interpreter: the first pieces are done at home, and workers start only when there are more.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Self, TypeVar

from tunesmith.errors import DataError, first_line

Piece = TypeVar("Piece")
Result = TypeVar("Result")

SECONDS_AT_HOME = 0.5
"""Work that is done by then starts no process (0.3 s each, more where the function imports much)."""
MOST_WORKERS = 8
PIECES_AHEAD = 2
"""Of each worker: one in its hands, one at its door, so that few are left to wait for at the end."""
MOST_WAITING = 16
"""Results of each worker that wait in memory for an earlier one."""


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


class Workers:
    """Processes that are started when they pay, and ended with the block."""

    def __init__(self, number: int | None = None) -> None:
        """`number` of processes, this one included; all cores but at most eight when None; 1 computes everything at home."""
        self.number = min(MOST_WORKERS, available_cores()) if number is None else number
        self._has_started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._has_started:
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor().shutdown(wait=True, kill_workers=True)

    def map(self, function: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
        """`function` of every piece; it, the pieces and the results have to survive pickling.

        Raises:
            DataError: a worker ended without an answer, as it does when memory is short.
            Exception: what `function` raised.
        """
        waiting, started = iter(pieces), time.monotonic()
        gc.freeze()  # what is there already is not looked through for garbage while the work adds to it
        try:
            while self.number == 1 or not (self._has_started or time.monotonic() - started > SECONDS_AT_HOME):
                try:
                    piece = next(waiting)
                except StopIteration:
                    return
                yield function(piece)
            yield from self._spread(function, waiting)
        finally:
            gc.unfreeze()

    def _spread(self, function: Callable[[Piece], Result], pieces: Iterator[Piece]) -> Iterator[Result]:
        from joblib.externals.loky import get_reusable_executor
        from joblib.externals.loky.process_executor import BrokenProcessPool

        self._has_started = True
        others = self.number - 1
        executor = get_reusable_executor(max_workers=others, env={"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"})
        running: deque[Future[Result]] = deque()  # in the order of the pieces; those done at home among them
        try:
            for piece in pieces:
                is_busy = sum(not future.done() for future in running) >= PIECES_AHEAD * others
                running.append(_at_home(function, piece) if is_busy else executor.submit(_in_worker, function, piece))
                while running and (running[0].done() or len(running) > MOST_WAITING * others):
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process",
                f"it ended in the middle of its work ({first_line(error)})",
                expected="enough memory for every worker",
                remedy="free some memory",
            ) from None
        finally:
            for future in running:  # what was not taken is called off
                future.cancel()


def _at_home(function: Callable[[Piece], Result], piece: Piece) -> Future[Result]:
    done: Future[Result] = Future()
    done.set_result(function(piece))
    return done


def _in_worker(function: Callable[[Piece], Result], piece: Piece) -> Result:
    if not _Output.is_apart:
        sys.stdout.flush()
        os.dup2(sys.stderr.fileno(), 1)  # what a library prints must not get into a result on standard output
        _Output.is_apart = True
        gc.freeze()  # as at home
    return function(piece)


class _Output:
    is_apart = False
