"""Bodies within bounds: read whole before anything is done with them, refused when too large or too slow."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.serve.problems import ApiError, too_large, too_slow
from tunesmith.serve.telemetry import answer_error

DISCARD_SECONDS, DISCARD_FACTOR = 2.0, 16
"""Of a body that is too large so much is read and thrown away, so that the client gets to read why; then the connection ends."""


class _Left(Exception):  # noqa: N818 - not an error
    """The client did not wait."""


class BodyLimit:
    """Counts what really comes: a body in chunks tells no length beforehand."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, seconds: float) -> None:
        self._app, self._max_bytes, self._seconds = app, max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, then pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(Headers(scope=scope), receive)
        except ApiError as error:
            await answer_error(error, scope, receive, send)
        except _Left:
            return
        else:
            await self._app(scope, _replaying(body, receive), send)

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._collect(headers, receive)
        except TimeoutError:
            raise too_slow(self._seconds) from None

    async def _collect(self, headers: Headers, receive: Receive) -> bytes:
        told = headers.get("content-length", "")
        is_too_large = told.isdecimal() and int(told[:20]) > self._max_bytes
        pieces: list[bytes] = []
        num_bytes, more = 0, True
        while more and not is_too_large:
            piece, more = await _piece(receive)
            pieces.append(piece)
            num_bytes += len(piece)
            is_too_large = num_bytes > self._max_bytes
        if is_too_large:
            pieces.clear()
            if more:
                await self._discard(receive)
            raise too_large(self._max_bytes)
        return b"".join(pieces)

    async def _discard(self, receive: Receive) -> None:
        left, more = DISCARD_FACTOR * self._max_bytes, True
        try:
            async with asyncio.timeout(min(DISCARD_SECONDS, self._seconds / 2)):
                while more and left > 0:
                    piece, more = await _piece(receive)
                    left -= len(piece)
        except TimeoutError:
            return


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    """Some of the body, and whether there is more."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _Left
    return message.get("body", b""), message.get("more_body", False)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """The body once, and then whatever happens."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
