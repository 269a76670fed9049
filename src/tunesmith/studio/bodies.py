"""Bodies of requests within bounds: so large at most, and so long in coming. They are read whole before anything is done with them."""

from __future__ import annotations

import asyncio

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 16 * 1024 * 1024
BODY_SECONDS = 30.0
"""For all of it to come."""


class _TooLarge(Exception):  # noqa: N818 - an answer
    """More came than may."""


class BodyLimit:
    """Counts what really comes: a body in chunks tells no length beforehand."""

    def __init__(self, app: ASGIApp, *, max_bytes: int = MOST_BODY_BYTES, seconds: float = BODY_SECONDS) -> None:
        self._app, self._max_bytes, self._seconds = app, max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, then pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(receive)
        except TimeoutError:
            await _answer(408, f"the request's body did not come within {self._seconds:g} s", scope, receive, send)
        except _TooLarge:
            await _answer(413, "the request's body is too large", scope, receive, send)
        else:
            if body is not None:
                await self._app(scope, _replaying(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """All of it; None where the client has left."""
        pieces, num_bytes = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            pieces.append(message.get("body", b""))
            num_bytes += len(pieces[-1])
            if num_bytes > self._max_bytes:
                raise _TooLarge
            if not message.get("more_body"):
                return b"".join(pieces)


async def _answer(status: int, reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(reason + "\n", status_code=status, headers={"connection": "close"})(scope, receive, send)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """The body once, and then whatever happens."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay
