"""A thread that owns the decoder of one network, and the streams of tokens it feeds.

The thread alone touches the decoder. Commands reach it through an inbox; what comes of a step goes back to the event loop
in one call, so that a step with sixty sequences wakes the loop once.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tunesmith.engine.generation.decoder import Decoder
from tunesmith.engine.generation.sequences import NewToken, Request
from tunesmith.errors import TunesmithError
from tunesmith.serve.problems import failed, invalid, took_too_long

LOGGER = logging.getLogger("tunesmith.serve")
JOIN_SECONDS = 30.0
"""A step may take that long before its thread is given up."""


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

    def limit(self, seconds: float) -> None:
        """Fail when it is not done by then."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, lambda: self._thread.fail(self, took_too_long(seconds)))

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


class _Submit(NamedTuple):
    generation: Generation


class _Cancel(NamedTuple):
    generation: Generation


class _Stop(NamedTuple):
    pass


@dataclass(kw_only=True, slots=True)
class _Under:
    """What the decoder works on; the thread's own."""

    places: dict[int, tuple[Generation, int]] = field(default_factory=dict)
    """The decoder's number of a sequence -> whose it is, and which of its sequences."""


class DecoderThread:
    """One network's decoder and its thread. But for the thread itself, everything is called on the event loop."""

    def __init__(self, make_decoder: Callable[[], Decoder], *, name: str, on_step: Callable[[int], None]) -> None:
        """See the class.

        Args:
            make_decoder: called in the thread.
            name: of the thread.
            on_step: called on the event loop with the number of sequences that were given a token.
        """
        self._make_decoder = make_decoder
        self._on_step = on_step
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[_Submit | _Cancel | _Stop] = queue.SimpleQueue()
        self._generations: set[Generation] = set()
        self._thread = threading.Thread(target=self._run, name=f"decoder-{name}", daemon=True)
        self.ready: asyncio.Future[None] = self._loop.create_future()
        """Done when the decoder takes requests; holds the error that kept it from that."""
        self.num_in_flight = 0
        """Sequences submitted and not ended."""
        self.num_running, self.num_waiting = 0, 0
        """Sequences the decoder itself counts, as of its last step."""
        self.failure: BaseException | None = None
        """What ended the thread before its time."""
        self.ended: deque[float] = deque(maxlen=64)
        """When the latest sequences ended, by the loop's clock."""

    def start(self) -> None:
        self._thread.start()

    def submit(self, requests: Sequence[Request]) -> Generation:
        """Queue sequences that belong together.

        Raises:
            ApiError: the thread has failed.
        """
        if self.failure is not None:
            raise failed()
        generation = Generation(requests, self)
        self._generations.add(generation)
        self.num_in_flight += len(requests)
        self._inbox.put(_Submit(generation))
        return generation

    def fail(self, generation: Generation, error: BaseException) -> None:
        """End a generation that still runs."""
        if generation in self._generations:
            self._inbox.put(_Cancel(generation))
            self._forget(generation, error)

    def fail_all(self, error: BaseException) -> None:
        for generation in list(self._generations):
            self.fail(generation, error)

    async def stop(self) -> None:
        """End the thread after its current step."""
        self._inbox.put(_Stop())
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, JOIN_SECONDS)

    def _forget(self, generation: Generation, error: BaseException | None) -> None:
        self._generations.discard(generation)
        self.num_in_flight -= generation.num_open
        if error is not None:
            generation.end_with(error)

    # On the event loop, called by the thread.

    def _deliver(self, news: dict[Generation, list[NewToken]], size: int) -> None:
        self._on_step(size)
        for generation, tokens in news.items():
            if generation not in self._generations:
                continue  # cancelled meanwhile
            before = generation.num_open
            generation.deliver(tokens)
            num_ended = before - generation.num_open
            self.num_in_flight -= num_ended
            self.ended.extend([self._loop.time()] * num_ended)
            if not generation.num_open:
                self._generations.discard(generation)

    def _refuse(self, generation: Generation, error: Exception) -> None:
        if generation in self._generations:
            self._forget(generation, error)

    def _started(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def _crashed(self, error: BaseException) -> None:
        self.failure = error
        LOGGER.error("decoder failed", exc_info=error)
        for generation in list(self._generations):
            self._forget(generation, failed())
        if not self.ready.done():
            self.ready.set_exception(error)

    # In the thread.

    def _run(self) -> None:
        try:
            decoder = self._make_decoder()
            self._call(self._started)
            self._serve(decoder, _Under())
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self._call(self._crashed, error)

    def _serve(self, decoder: Decoder, under: _Under) -> None:
        while self._obey(decoder, under):
            new_tokens = decoder.step()
            news: dict[Generation, list[NewToken]] = {}
            for new in new_tokens:
                generation, index = under.places[new.prompt]
                news.setdefault(generation, []).append(new._replace(prompt=index))
                if new.finish_reason is not None:
                    del under.places[new.prompt]
            self._count(decoder)
            if news:
                self._call(self._deliver, news, len(new_tokens))

    def _obey(self, decoder: Decoder, under: _Under) -> bool:
        """Follow the commands there are, waiting for one while there is nothing to decode. False: stop."""
        while True:
            try:
                command = self._inbox.get(block=decoder.is_idle)
            except queue.Empty:
                return True
            if isinstance(command, _Stop):
                return False
            if isinstance(command, _Submit):
                self._enter(decoder, under, command.generation)
            else:
                self._leave(decoder, under, command.generation)
            self._count(decoder)

    def _enter(self, decoder: Decoder, under: _Under, generation: Generation) -> None:
        try:
            for index, request in enumerate(generation.requests):
                under.places[decoder.submit(request)] = generation, index
        except TunesmithError as error:  # of this request alone: the others go on
            self._leave(decoder, under, generation)
            self._call(self._refuse, generation, invalid(None, f"{error.place}: {error.found}; expected {error.expected}."))

    def _leave(self, decoder: Decoder, under: _Under, generation: Generation) -> None:
        for number in [number for number, (one, _) in under.places.items() if one is generation]:
            decoder.cancel(number)
            del under.places[number]

    def _count(self, decoder: Decoder) -> None:
        self.num_running, self.num_waiting = decoder.num_running, decoder.num_waiting

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)
