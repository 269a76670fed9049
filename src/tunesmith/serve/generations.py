"""Tokens on their way from a decoder's thread to whoever asked, on the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunesmith.engine.generation.sequences import NewToken, Request
from tunesmith.serve.problems import took_too_long

if TYPE_CHECKING:
    from tunesmith.serve.decoding import DecoderThread


class Generation:
    """The tokens of one or several sequences as they come: an asynchronous iterator of `NewToken`, whose `prompt` says which sequence.

    Raises, while iterated:
        ApiError: it took too long, the decoder failed, or the service was stopped.
    """

    def __init__(self, requests: Sequence[Request], thread: DecoderThread) -> None:
        self.requests = tuple(requests)
        self.num_open = len(self.requests)
        """Sequences that have not ended."""
        self.submitted = asyncio.get_running_loop().time()
        """By the event loop's clock."""
        self.first_token: float | None = None
        self.last_token: float | None = None
        self._thread = thread
        self._news: deque[NewToken] = deque()
        self._something = asyncio.Event()
        self._error: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __aiter__(self) -> Generation:
        return self

    async def __anext__(self) -> NewToken:
        while not self._news:
            if self._error is not None:
                raise self._error
            if not self.num_open:
                raise StopAsyncIteration
            self._something.clear()
            await self._something.wait()
        return self._news.popleft()

    def waiting(self) -> list[NewToken]:
        """Take whatever has come already, without waiting for more."""
        news = list(self._news)
        self._news.clear()
        return news

    def limit(self, seconds: float, *, since: float | None = None) -> None:
        """Fail when it is not done so long after `since`, by the loop's clock (None: now)."""
        loop = asyncio.get_running_loop()
        begin = loop.time() if since is None else since
        self._timer = loop.call_at(begin + seconds, lambda: self._thread.fail(self, took_too_long(seconds)))

    def cancel(self) -> None:
        """Free its places at the next step; nothing more comes. Of no effect on one that has ended."""
        self._thread.fail(self, asyncio.CancelledError("cancelled"))

    def deliver(self, news: Sequence[NewToken]) -> None:
        """Called on the event loop."""
        if self._error is not None:
            return
        now = asyncio.get_running_loop().time()
        self.first_token = self.first_token or now
        self.last_token = now
        self._news.extend(news)
        self.num_open -= sum(new.finish_reason is not None for new in news)
        self._wake()

    def end_with(self, error: BaseException) -> None:
        """Called on the event loop; what came before is still handed out."""
        self._error = error if isinstance(error, Exception) else StopAsyncIteration()
        self.num_open = 0
        self._wake()

    def _wake(self) -> None:
        if not self.num_open and self._timer is not None:
            self._timer.cancel()
        self._something.set()
