"""Generation for whoever lives on an event loop: the HTTP server, the studio's playground.

>>> service = GenerationService(models, batch_size=64, queue_size=256, request_seconds=300)
>>> await service.start()
>>> generation = service.submit(model, [model.request(prompt_ids, GenerateConfig(), with_text=True)])
>>> async for new in generation:
...     print(new.text, end="")
>>> await service.stop()

Every base model has one thread and one decoder, which all adapters on it share. The number of sequences under way is bounded:
`batch_size` of them are decoded, `queue_size` wait, and who comes on top is refused at once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal

from tunesmith.engine.generation.decoder import Decoder
from tunesmith.engine.generation.sequences import Request
from tunesmith.serve.decoding import DecoderThread
from tunesmith.serve.generations import Generation
from tunesmith.serve.problems import ApiError, failed, never_room, shutting_down, stuck, too_busy
from tunesmith.serve.recovery import Trouble
from tunesmith.together import BaseNetwork, ServedModel

UNMEASURED_SECONDS = 5
"""To come again after, where no sequence has ended yet."""
LONGEST_WAIT_SECONDS = 120
POLL_SECONDS = 0.05
WATCH_SECONDS = 1.0
"""Between two looks at whether the decoders' steps end."""
State = Literal["ok", "stuck", "failed"]


class GenerationService:
    """Decodes for all models. Everything is called on the event loop on which it was started."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        *,
        batch_size: int = 64,
        queue_size: int = 256,
        request_seconds: float = 300.0,
        step_seconds: float = 120.0,
        on_step: Callable[[int], None] = lambda size: None,
        on_trouble: Callable[[Trouble], None] = lambda trouble: None,
    ) -> None:
        """See the class.

        Args:
            models: as `open_together` gives them.
            batch_size: most sequences decoded together, on each base.
            queue_size: most sequences that wait for that, on each base.
            request_seconds: most time between a submission and its last token.
            step_seconds: longest a step of a decoder may take before it counts as stuck.
            on_step: called with the number of sequences that a step of a decoder gave a token.
            on_trouble: called for every step that failed or does not end.
        """
        self.models = {model.name: model for model in models}
        self.most_in_flight = batch_size + queue_size
        self.is_draining = False
        """Nothing new is accepted."""
        self._is_cut = False
        """Nor is anything generated anew."""
        self._num_held = 0
        self._batch_size = batch_size
        self._request_seconds = request_seconds
        self._step_seconds = step_seconds
        self._on_step, self._on_trouble = on_step, on_trouble
        self._threads: dict[int, DecoderThread] = {}
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the threads, and return when all take requests.

        Raises:
            Exception: what kept a decoder from starting.
        """
        for base in {id(model.base): model.base for model in self.models.values()}.values():
            context_length = max(model.context_length for model in self.models.values() if model.base is base)
            make = partial(_make_decoder, base, context_length=context_length, batch_size=self._batch_size)
            name = base.loaded.directory.name
            self._threads[id(base)] = thread = DecoderThread(
                make, name=name, step_seconds=self._step_seconds, on_step=self._on_step, on_trouble=self._on_trouble
            )
            thread.start()
        for thread in self._threads.values():
            await thread.ready
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(WATCH_SECONDS, self._step_seconds / 4))
            for thread in self._threads.values():
                thread.watch()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Draining waits for whoever is within: it may look at what was generated, and have it generated anew."""
        self._num_held += 1
        try:
            yield
        finally:
            self._num_held -= 1

    @contextmanager
    def entering(self, model: ServedModel, number: int) -> Iterator[None]:
        """Keep places for sequences that are submitted next, while their prompts are made: no more are made than may be submitted.

        Raises:
            ApiError: as `submit` would.
        """
        thread = self._thread(model)
        self._require_room(thread, number)
        thread.num_entering += number
        try:
            yield
        finally:
            thread.num_entering -= number

    def submit(self, model: ServedModel, requests: Sequence[Request], *, is_again: bool = False, since: float | None = None) -> Generation:
        """Queue sequences that belong together: all of them are accepted, or none.

        Args:
            model: to generate with.
            requests: the sequences.
            is_again: they were accepted before and are generated anew: neither a full queue nor draining refuses them.
            since: when their time began, by the event loop's clock; None: now.

        Raises:
            ApiError: the queue is full (with the seconds after which there should be room) or could never hold so many, the service stops,
                or the decoder has failed or is stuck.
        """
        if self._is_cut:
            raise shutting_down()
        thread = self._thread(model)
        if is_again:
            _require_alive(thread)
        else:
            self._require_room(thread, len(requests))
        generation = thread.submit(requests)
        generation.limit(self._request_seconds, since=since)
        return generation

    def _require_room(self, thread: DecoderThread, number: int) -> None:
        if self.is_draining:
            raise shutting_down()
        if number > self.most_in_flight:
            raise never_room(number, self.most_in_flight)
        _require_alive(thread)
        missing = thread.num_in_flight + thread.num_entering + number - self.most_in_flight
        if missing > 0:
            raise too_busy(_seconds_until_free(thread, missing, asyncio.get_running_loop().time()))

    @property
    def failure(self) -> BaseException | None:
        """What ended a decoder before its time."""
        return next((thread.failure for thread in self._threads.values() if thread.failure is not None), None)

    @property
    def state(self) -> State:
        """Whether every decoder runs; one that is stuck may yet go on."""
        threads = self._threads.values()
        if not threads or any(thread.failure is not None or not thread.ready.done() for thread in threads):
            return "failed"
        return "stuck" if any(thread.is_stuck for thread in threads) else "ok"

    @property
    def is_healthy(self) -> bool:
        """Every decoder runs."""
        return self.state == "ok"

    @property
    def is_ready(self) -> bool:
        """It takes requests."""
        return self.is_healthy and not self.is_draining

    @property
    def num_in_flight(self) -> int:
        """Sequences submitted and not ended."""
        return sum(thread.num_in_flight for thread in self._threads.values())

    @property
    def num_running(self) -> int:
        """Sequences in a slot of a decoder."""
        return sum(thread.num_running for thread in self._threads.values())

    @property
    def num_queued(self) -> int:
        """Sequences that wait for one."""
        return max(0, self.num_in_flight - self.num_running)

    async def drain(self, seconds: float) -> bool:
        """Accept nothing new and let what runs come to its end. False: it has not within that time."""
        self.is_draining = True
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (self.num_in_flight or self._num_held) and loop.time() < end:
            await asyncio.sleep(POLL_SECONDS)
        return not (self.num_in_flight or self._num_held)

    def cut(self) -> None:
        """Fail whatever still runs."""
        self.is_draining = self._is_cut = True
        self._fail_all(shutting_down())

    async def stop(self) -> None:
        """Cut what runs and end the threads."""
        self.cut()
        if self._watching is not None:
            self._watching.cancel()
        for thread in self._threads.values():
            await thread.stop()

    def _fail_all(self, error: ApiError) -> None:
        for thread in self._threads.values():
            thread.fail_all(error)

    def _thread(self, model: ServedModel) -> DecoderThread:
        return self._threads[id(model.base)]


def _make_decoder(base: BaseNetwork, *, context_length: int, batch_size: int) -> Decoder:
    return Decoder(base.network, context_length=context_length, batch_size=batch_size)


def _require_alive(thread: DecoderThread) -> None:
    if thread.failure is not None:
        raise failed()
    if thread.is_stuck:
        raise stuck()


def _seconds_until_free(thread: DecoderThread, places: int, now: float) -> int:
    """By how fast the latest sequences ended."""
    if len(thread.ended) < 2:
        return UNMEASURED_SECONDS
    seconds_each = (now - thread.ended[0]) / len(thread.ended)
    return max(1, min(LONGEST_WAIT_SECONDS, math.ceil(places * seconds_each)))
