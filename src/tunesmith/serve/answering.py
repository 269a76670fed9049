"""From a generation to an answer: gathered whole, or sent as events while it is made; a client that leaves frees its places."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tunesmith.engine.generation.sequences import NewToken
from tunesmith.serve.asking import Asked
from tunesmith.serve.generations import Generation
from tunesmith.serve.problems import ApiError, failed, took_too_long
from tunesmith.serve.shapes import Choice, Shape, shown_logprobs, usage_of
from tunesmith.serve.telemetry import LOGGER, Record

DONE = b"data: [DONE]\n\n"

T = TypeVar("T")


class ClientLeft(Exception):  # noqa: N818 - not an error: they may
    """Nobody waits for the answer any more."""


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work unless the client leaves first.

    Raises:
        ClientLeft: it has.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeft
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def within(seconds: float, work: Awaitable[T], *, since: float | None = None) -> T:
    """Do the work in the time that a request has, from `since` on by the event loop's clock (None: from now).

    Raises:
        ApiError: it took longer.
    """
    try:
        async with asyncio.timeout_at((asyncio.get_running_loop().time() if since is None else since) + seconds) as limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise
        raise took_too_long(seconds) from None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def gather(generation: Generation, record: Record) -> list[Choice]:
    """Wait for all of it; what was made is counted in any case, its text is for others to note."""
    choices = [Choice() for _ in generation.requests]
    try:
        async for new in generation:
            choices[new.prompt].add(new)
    finally:
        record.count(generation, choices)
    return choices


async def stream(
    generation: Generation, first: NewToken, asked: Asked, shape: Shape, record: Record, *, with_usage: bool
) -> AsyncGenerator[bytes]:
    """The events of a stream, those that are there already in one piece; an error is the last one."""
    record.streams = True
    choices = [Choice() for _ in asked.requests]
    opened: set[int] = set()
    news = [first, *generation.waiting()]
    try:
        while news:
            yield b"".join(_event(one) for new in news for one in _pieces(new, shape, opened, choices))
            news = [new async for new in _next(generation)]
        if with_usage:
            yield _event(shape.last(usage_of(asked.num_prompt_tokens, choices)))
        yield DONE
    except Exception as error:  # noqa: BLE001 - a stream that has begun has no status left
        record.error = error if isinstance(error, ApiError) else failed()
        if record.error is not error:
            LOGGER.error("request failed", exc_info=error, extra={"fields": {"id": record.id}})
        yield _event(record.error.document())
    finally:
        generation.cancel()
        record.count(generation, choices)
        record.finish_with(choices)


async def at_once(choices: Sequence[Choice], num_prompt_tokens: int, shape: Shape, *, with_usage: bool) -> AsyncGenerator[bytes]:
    """The events of a stream whose answers are there already."""
    for index, choice in enumerate(choices):
        opening = shape.opening(index)
        said = [*([] if opening is None else [opening]), shape.piece(index, choice.text, choice.logprobs, choice.finish)]
        yield b"".join(map(_event, said))
    if with_usage:
        yield _event(shape.last(usage_of(num_prompt_tokens, choices)))
    yield DONE


async def _next(generation: Generation) -> AsyncIterator[NewToken]:
    """At least one token unless there are no more, and all that have come."""
    async for new in generation:
        yield new
        for more in generation.waiting():
            yield more
        return


def _pieces(new: NewToken, shape: Shape, opened: set[int], choices: list[Choice]) -> list[dict[str, Any]]:
    """What a token gives to say, often one document."""
    index = new.prompt
    choice = choices[index]
    choice.add(new)
    said: list[dict[str, Any]] = []
    if index not in opened:
        opened.add(index)
        if (opening := shape.opening(index)) is not None:
            said.append(opening)
    logprobs = shown_logprobs(new) if shape.with_logprobs else []
    if new.text or logprobs or choice.finish is not None:
        said.append(shape.piece(index, new.text, logprobs, choice.finish))
    return said


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


class EventStream(Response):
    """Server-sent events until they end, the client leaves, or it does not take a piece in time."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], record: Record, *, client_seconds: float) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events, self._record, self._client_seconds = events, record, client_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send, and close the events in any case."""
        del scope
        async with aclosing(self._events):
            try:
                await while_connected(receive, self._send(send))
            except ClientLeft:
                self._record.client_left = True  # to return before the last piece closes the connection

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for event in self._events:
            try:
                async with asyncio.timeout(self._client_seconds):
                    await send({"type": "http.response.body", "body": event, "more_body": True})
            except TimeoutError:
                raise ClientLeft from None
        await send({"type": "http.response.body", "body": b"", "more_body": False})
