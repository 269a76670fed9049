"""Whole answers as JSON, and on their way.

One with log-probabilities has megabytes. It is written beside the event loop, and piece by piece, for one call of `json.dumps` would hold
the interpreter to its end; and it is sent in pieces, for each of which the client has its time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

LEVELS = 5
"""Of a document down to its tokens: the items of `choices[].logprobs.content[]` are written one at a time."""
PIECE_BYTES = 65_536


def written(document: Any) -> bytes:
    """JSON of a document."""
    return "".join(_pieces(document, LEVELS)).encode()


def _pieces(value: Any, levels: int) -> Iterator[str]:
    if not levels or not isinstance(value, dict | list):
        yield _dumps(value)
        return
    is_object = isinstance(value, dict)
    yield "{" if is_object else "["
    for place, one in enumerate(value):
        yield ("," if place else "") + (f"{_dumps(one)}:" if is_object else "")
        yield from _pieces(value[one] if is_object else one, levels - 1)
    yield "}" if is_object else "]"


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class WholeAnswer(Response):
    """JSON, sent in pieces."""

    media_type = "application/json"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; who waits for the next piece to be taken is the protocol."""
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        view = memoryview(self.body)
        for start in range(0, len(view), PIECE_BYTES):
            await send({"type": "http.response.body", "body": bytes(view[start : start + PIECE_BYTES]), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
