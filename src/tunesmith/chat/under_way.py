"""Requests under way at the same time, and how they end when the work is stopped: what is paid for is waited for, nothing new is asked.

The first Ctrl-C is noted instead of raised, so that no reply is lost between its coming and its being written down; the second raises
KeyboardInterrupt wherever the program is.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from types import FrameType
from typing import NamedTuple, Self

from tunesmith.chat.budget import Budget
from tunesmith.chat.calls import Call, Outcome, Usage

POLL_SECONDS = 0.1
"""How long a Ctrl-C may go unnoticed; Python's waits are not ended by a signal that does not raise."""
SECONDS_TO_FINISH = 30.0
"""For the replies that are under way when the work is stopped."""


class NotSentError(BaseException):
    """Raised in a request's thread in place of another try of it, once the work is being stopped.

    No Exception, since a client repeats a request after any of those.
    """


class Answered(NamedTuple):
    """A call and what became of it."""

    call: Call
    outcome: Outcome


class Interruption:
    """While the block lasts the first Ctrl-C sets `is_asked`, and the next one raises KeyboardInterrupt.

    Outside the main thread, and where somebody else handles the signal, nothing is changed. A block that ends without an error raises the
    Ctrl-C that it was still to heed.
    """

    def __init__(self) -> None:
        self.is_asked = False

    def __enter__(self) -> Self:
        in_main = threading.current_thread() is threading.main_thread()
        self._is_ours = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_ours:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if kind is None:
            self.heed()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.heed()
        self.is_asked = True

    def heed(self) -> None:
        """Raise the Ctrl-C that was noted."""
        if self.is_asked:
            raise KeyboardInterrupt


class UnderWay:
    """Calls that were sent, within a budget, each in a thread of its own that does not keep the program from ending."""

    def __init__(self, ask: Callable[[Call], Outcome], budget: Budget) -> None:
        self._ask, self._budget = ask, budget
        self._running: dict[Future[Outcome], Call] = {}

    def __len__(self) -> int:
        return len(self._running)

    def start(self, call: Call) -> bool:
        """Send a call; False if the budget does not allow it."""
        if not self._budget.reserve(self._budget.worst(call.messages)):
            return False
        future: Future[Outcome] = Future()

        def work() -> None:
            try:
                future.set_result(self._ask(call))
            except BaseException as error:  # noqa: BLE001 - raised again by whoever takes the reply
                future.set_exception(error)

        self._running[future] = call
        threading.Thread(target=work, name=f"chat {call.key}", daemon=True).start()
        return True

    def answered(self, seconds: float) -> Iterator[Answered]:
        """Those that are answered, waiting so long for the first one; what a call raised is raised here, and the call then forgotten."""
        done, _ = wait(self._running, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in done:
            call = self._running.pop(future)
            worst = self._budget.worst(call.messages)
            try:
                outcome = future.result()
            except BaseException:
                self._budget.settle(worst, Usage())
                raise
            self._budget.settle(worst, outcome.usage)
            yield Answered(call, outcome)
