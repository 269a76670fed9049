"""Connections within bounds: how many, how long their headers may take, how large they may be.

uvicorn waits for the first request of a connection as long as it takes, and for the headers of the next ones; here a
connection that owes something is closed after a while, and so is one that does not take what it asked for. h11 bounds
the size of headers, which httptools does not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tunesmith.serve.ids import request_id
from tunesmith.serve.problems import SERVER, ApiError

LOGGER = logging.getLogger("tunesmith.serve")
MAX_HEADER_BYTES = 32 * 1024
"""Of all headers of a request together."""


def limited_protocol(*, max_connections: int, seconds: float) -> type[H11Protocol]:
    """A protocol class for `uvicorn.Config(http=…)`."""

    class Limited(LimitedProtocol):
        most, patience = max_connections, seconds

    return Limited


class LimitedProtocol(H11Protocol):
    """uvicorn's own, less patient."""

    most, patience = 1024, 15.0
    _timer: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    """Runs while something waits to be taken."""
    _is_websocket = False
    """Another protocol has taken over."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # a single byte that is not taken pauses writing
        if len(self.connections) > self.most:
            self._refuse(ApiError(503, "Too many connections.", type=SERVER, code="too_many_connections", headers={"retry-after": "5"}))
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """All headers have come; from here on the websocket's own protocol watches, by pings."""
        self._is_websocket = True
        self._unwatch()
        self._unstick()
        self.transport.set_write_buffer_limits()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self._unstick()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """To close would wait until all is taken."""
        super().pause_writing()
        self._unstick()
        self._stuck = self.loop.call_later(self.patience, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unstick()

    def _unstick(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP; h11 knows when headers are too large."""
        status = getattr(sys.exception(), "error_status_hint", 400)
        text = "The request's headers are too large." if status == 431 else msg
        self._refuse(ApiError(status, text, code="headers_too_large" if status == 431 else "invalid_http"))

    def _watch(self) -> None:
        """Start or stop the clock: it runs while headers, or the rest of a body that was answered already, are due."""
        answered = self.cycle is None or self.cycle.response_complete
        owes = self.conn.their_state is h11.IDLE or (self.conn.their_state is h11.SEND_BODY and answered)
        if self._is_websocket or not owes:
            self._unwatch()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.patience, self.transport.close)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, error: ApiError) -> None:
        """Answer, if there is still a place for an answer, and hang up."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps(error.document()).encode()
            headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close", **error.headers}
            headers["x-request-id"] = number = request_id()
            LOGGER.info("refused", extra={"fields": {"id": number, "status": error.status, "error": error.code}})
            lines = [f"HTTP/1.1 {error.status} {_phrase(error.status)}", *(f"{name}: {value}" for name, value in headers.items())]
            self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.transport.close()


def _phrase(status: int) -> str:
    phrases: dict[int, Any] = {400: "Bad Request", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}
    return str(phrases.get(status, "Bad Request"))
