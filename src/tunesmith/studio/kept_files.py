"""Files that never change while the studio runs (scripts, styles, fonts), answered from memory after the first time.

    app.add_middleware(KeptFiles)

A page that is opened with nothing cached asks for twenty of them. To look each up, read it and compress it anew took 50 ms of a
processor, in which no other page came.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_KEPT_BYTES = 32 * 1024 * 1024
"""Of all files together, as they are sent; those that our pages ask for have three."""
MOST_KEPT = 256
"""Files; one may be asked for by many names."""
PLAIN = frozenset(
    {"host", "accept", "accept-encoding", "accept-language", "connection", "cookie", "origin", "referer", "user-agent", "priority"}
)
"""Headers of a request for a whole file; others, such as `range`, ask for something else."""
OF_PARTS = frozenset((b"content-length", b"transfer-encoding", b"accept-ranges", b"etag", b"last-modified"))
"""Headers of an answer that are not kept: of its pieces, and what parts of it could be asked for by."""


class KeptFiles:
    """Keeps whole answers to GET that are marked `immutable`."""

    def __init__(self, app: ASGIApp, *, max_bytes: int = MOST_KEPT_BYTES) -> None:
        self._app, self._bytes_left = app, max_bytes
        self._kept: dict[tuple[str, bool], tuple[Message, ...]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on and keep."""
        key = _key(scope)
        if key is None:
            await self._app(scope, receive, send)
        elif key in self._kept:
            for message in self._kept[key]:
                await send(dict(message))  # others add to the head
        else:
            await self._keep(key, scope, receive, send)

    async def _keep(self, key: tuple[str, bool], scope: Scope, receive: Receive, send: Send) -> None:
        answer: list[Message] = []

        async def listen(message: Message) -> None:
            if not answer or _may_be_kept(answer[0]):
                answer.append(dict(message))
            await send(message)

        await self._app(scope, receive, listen)
        if len(answer) < 2 or answer[-1].get("more_body"):
            return
        body = b"".join(message.get("body", b"") for message in answer[1:])
        if len(body) <= self._bytes_left and len(self._kept) < MOST_KEPT and key not in self._kept:
            self._bytes_left -= len(body)
            self._kept[key] = _whole(answer[0], len(body)), {"type": "http.response.body", "body": body}


def _key(scope: Scope) -> tuple[str, bool] | None:
    """Path, and whether it may be compressed; None where something else than a whole file is asked for."""
    if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
        return None
    headers = Headers(scope=scope)
    is_plain = all(name in PLAIN or name.startswith("sec-") for name in headers)
    return (scope["path"], "gzip" in headers.get("accept-encoding", "")) if is_plain else None


def _may_be_kept(start: Message) -> bool:
    return start["status"] == 200 and "immutable" in Headers(raw=start["headers"]).get("cache-control", "")


def _whole(start: Message, num_bytes: int) -> Message:
    """The head of an answer that comes in one piece.

    It promises no parts: a browser that was interrupted would ask for the rest, and put that of the plain file behind the beginning of
    the compressed one.
    """
    others = [(name, value) for name, value in start["headers"] if name.lower() not in OF_PARTS]
    return {**start, "headers": [*others, (b"content-length", str(num_bytes).encode())]}
