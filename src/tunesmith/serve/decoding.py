"""A thread that owns the decoder of one network.

The thread alone touches the decoder. Commands reach it through an inbox; what comes of a step goes back to the event loop
in one call, so that a step with sixty sequences wakes the loop once.

A step that fails ends the requests that it was for. The decoder is thrown away with its cache, and a new one that has proved to work
goes on with those that waited; where none can be had, the thread ends. A step that does not end cannot be ended either: it is told.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tunesmith.engine.generation.decoder import Decoder
from tunesmith.engine.generation.sequences import NewToken, Request
from tunesmith.errors import TunesmithError
from tunesmith.serve.generations import Generation
from tunesmith.serve.problems import ApiError, failed, invalid
from tunesmith.serve.recovery import Trouble, free_memory, problem_of, prove, trouble_of

LOGGER = logging.getLogger("tunesmith.serve")
JOIN_SECONDS = 30.0
"""A step may take that long before its thread is given up."""


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

    def __init__(
        self,
        make_decoder: Callable[[], Decoder],
        *,
        name: str,
        step_seconds: float,
        on_step: Callable[[int], None],
        on_trouble: Callable[[Trouble], None],
    ) -> None:
        """See the class.

        Args:
            make_decoder: called in the thread, and again after a step that failed.
            name: of the thread.
            step_seconds: longest a step may take before the thread counts as stuck.
            on_step: called on the event loop with the number of sequences that were given a token.
            on_trouble: called on the event loop for every step that failed or does not end.
        """
        self._make_decoder = make_decoder
        self._name, self._step_seconds = name, step_seconds
        self._on_step, self._on_trouble = on_step, on_trouble
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[_Submit | _Cancel | _Stop] = queue.SimpleQueue()
        self._generations: set[Generation] = set()
        self._thread = threading.Thread(target=self._run, name=f"decoder-{name}", daemon=True)
        self.ready: asyncio.Future[None] = self._loop.create_future()
        """Done when the decoder takes requests; holds the error that kept it from that."""
        self.num_in_flight = 0
        """Sequences submitted and not ended."""
        self.num_entering = 0
        """Sequences for which places are kept, to be submitted next."""
        self.num_running, self.num_waiting = 0, 0
        """Sequences the decoder itself counts, as of its last step."""
        self.failure: BaseException | None = None
        """What ended the thread before its time."""
        self.ended: deque[float] = deque(maxlen=64)
        """When the latest sequences ended, by the loop's clock."""
        self._working_since: float | None = None
        """When the latest step ended or work came, whichever was later, by the monotonic clock; None: there is nothing to do."""
        self._is_told = False
        """That it is stuck."""

    @property
    def is_stuck(self) -> bool:
        """It works on a step that does not end."""
        since = self._working_since
        return since is not None and time.monotonic() - since > self._step_seconds

    def watch(self) -> None:
        """Tell when it gets stuck, and where; and when it goes on after all. To be called now and then."""
        if self.is_stuck == self._is_told:
            return
        self._is_told = not self._is_told
        if not self._is_told:
            LOGGER.warning("decoder goes on", extra={"fields": {"decoder": self._name}})
            return
        frame = sys._current_frames().get(self._thread.ident or 0)
        where = "".join(traceback.format_stack(frame)) if frame is not None else "nowhere"
        LOGGER.error("decoder is stuck", extra={"fields": {"decoder": self._name, "step_seconds": self._step_seconds, "where": where}})
        self._on_trouble("stuck")

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
        """End the thread after its current step; one that is stuck goes with the process."""
        self._inbox.put(_Stop())
        if self._thread.is_alive() and not self.is_stuck:
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
        LOGGER.error("decoder failed", exc_info=error, extra={"fields": {"decoder": self._name}})
        self._on_trouble("fatal")
        for generation in list(self._generations):
            self._forget(generation, failed())
        if not self.ready.done():
            self.ready.set_exception(error)

    # In the thread.

    def _run(self) -> None:
        try:
            under = _Under()
            decoder = self._make_decoder()
            self._call(self._started)
            while not self._serve(decoder, under):
                del decoder  # or its cache would lie beside the new one's
                decoder = self._renewed(under)
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self._call(self._crashed, error)
        finally:
            self._working_since = None

    def _serve(self, decoder: Decoder, under: _Under) -> bool:
        """Decode until told to stop. False: a step has failed, and the decoder is worth nothing any more."""
        while self._obey(decoder, under):
            try:
                new_tokens = decoder.step()
            except Exception as error:  # noqa: BLE001 - whatever it is, the others' requests can be answered
                self._excuse(error, decoder.numbers_in_step, under)
                return False
            self._working_since = time.monotonic()
            news: dict[Generation, list[NewToken]] = {}
            for new in new_tokens:
                generation, index = under.places[new.prompt]
                news.setdefault(generation, []).append(new._replace(prompt=index))
                if new.finish_reason is not None:
                    del under.places[new.prompt]
            self._count(decoder)
            if news:
                self._call(self._deliver, news, len(new_tokens))
        return True

    def _excuse(self, error: Exception, numbers: Sequence[int], under: _Under) -> None:
        """End the requests that a failed step was for: all there are if it is not known."""
        trouble = trouble_of(error)
        gone = {under.places[number][0] for number in numbers if number in under.places} or {one for one, _ in under.places.values()}
        under.places = {number: place for number, place in under.places.items() if place[0] not in gone}
        told = {"decoder": self._name, "trouble": trouble, "requests_failed": len(gone)}
        LOGGER.error("step failed", exc_info=error, extra={"fields": told})
        for generation in gone:
            self._call(self._refuse, generation, problem_of(trouble))
        self._call(self._on_trouble, trouble)

    def _renewed(self, under: _Under) -> Decoder:
        """A decoder that has proved to work, with what waited for the one before it.

        Raises:
            Exception: there is none to be had.
        """
        self.num_running = self.num_waiting = 0
        free_memory()
        decoder = self._make_decoder()
        prove(decoder)
        under.places = {decoder.submit(one.requests[index]): (one, index) for one, index in under.places.values()}
        self._count(decoder)
        self._working_since = time.monotonic()
        LOGGER.warning("decoder made anew", extra={"fields": {"decoder": self._name, "requests_waiting": len(under.places)}})
        return decoder

    def _obey(self, decoder: Decoder, under: _Under) -> bool:
        """Follow the commands there are, waiting for one while there is nothing to decode. False: stop."""
        while True:
            if decoder.is_idle:
                self._working_since = None
            try:
                command = self._inbox.get(block=decoder.is_idle)
            except queue.Empty:
                return True
            self._working_since = self._working_since or time.monotonic()
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
        except Exception as error:  # noqa: BLE001 - of this request alone: the others go on
            self._leave(decoder, under, generation)
            self._call(self._refuse, generation, self._refusal(error))

    def _refusal(self, error: Exception) -> ApiError:
        if isinstance(error, TunesmithError):
            return invalid(None, f"{error.place}: {error.found}; expected {error.expected}.")
        LOGGER.error("request not taken", exc_info=error, extra={"fields": {"decoder": self._name}})
        return failed()

    def _leave(self, decoder: Decoder, under: _Under, generation: Generation) -> None:
        for number in [number for number, (one, _) in under.places.items() if one is generation]:
            decoder.cancel(number)
            del under.places[number]

    def _count(self, decoder: Decoder) -> None:
        self.num_running, self.num_waiting = decoder.num_running, decoder.num_waiting

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)
