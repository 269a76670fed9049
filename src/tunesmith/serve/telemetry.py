"""What is known of each request afterwards: its id for the client, a line in the log, its numbers in the metrics.

{"time": "2026-01-31T14:25:01.123Z", "event": "request", "id": "req-5f…", "method": "POST", "path": "/v1/chat/completions",
 "status": 200, "model": "faq", "prompt_tokens": 31, "completion_tokens": 18, "seconds": 0.41, "first_token_seconds": 0.05}
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.serve.generations import Generation
from tunesmith.serve.ids import request_id
from tunesmith.serve.metrics import Metrics
from tunesmith.serve.problems import ApiError, failed
from tunesmith.serve.shapes import Choice

LOGGER = logging.getLogger("tunesmith.serve")
CLIENT_LEFT = 499
"""nginx's status for it."""
ROUTES = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/ready", "/metrics", "/openapi.json"})
LONGEST_PATH = 200
"""Characters of a path in the log."""


@dataclass(kw_only=True, slots=True)
class Record:
    """What the log and the metrics say of a request; whoever handles it fills it in."""

    id: str
    status: int = 0
    client_left: bool = False
    streams: bool = False
    key: str | None = None
    """The name of the key it came with."""
    model: str | None = None
    """One of ours; None where none was asked."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_seconds: float | None = None
    seconds_per_token: float | None = None
    finish: list[str | None] = field(default_factory=list)
    error: ApiError | None = None
    fired: list[str] = field(default_factory=list)
    """Guardrails that did something."""
    prompt: Any = None
    """With `--log-prompts` alone, as the following."""
    answers: list[str] | None = None
    logs_prompts: bool = False

    def count(self, generation: Generation, choices: Sequence[Choice]) -> None:
        """Add what a generation came to, in numbers alone: of its text, rules may have something to say first."""
        self.completion_tokens += sum(choice.num_tokens for choice in choices)
        if generation.first_token is None or generation.last_token is None:
            return
        self.first_token_seconds = generation.first_token - generation.submitted
        after_first = max(choice.num_tokens for choice in choices) - 1
        if after_first > 0:
            self.seconds_per_token = (generation.last_token - generation.first_token) / after_first

    def finish_with(self, choices: Sequence[Choice]) -> None:
        """Keep what was said in the end."""
        self.completion_tokens = sum(choice.num_tokens for choice in choices)
        self.finish = [choice.finish for choice in choices]
        if self.logs_prompts:
            self.answers = [choice.text for choice in choices]


def record_of(scope: Scope) -> Record:
    """Of the request under way."""
    record: Record = scope["tunesmith.record"]
    return record


async def answer_error(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer in OpenAI's shape."""
    record_of(scope).error = error
    await JSONResponse(error.document(), error.status, headers=error.headers)(scope, receive, send)


class Telemetry:
    """The outermost layer: gives every request an id, answers for what failed further in, and tells of it when it is over."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, log_prompts: bool) -> None:
        self._app, self._metrics, self._log_prompts = app, metrics, log_prompts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; of the application's own start and end nothing is told."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = scope["tunesmith.record"] = Record(
            id=request_id(Headers(scope=scope).get("x-request-id", "")), logs_prompts=self._log_prompts
        )

        async def send_noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = record.id
            await send(message)

        start = time.perf_counter()
        try:
            await self._app(scope, receive, send_noting)
        except Exception:
            LOGGER.exception("request failed", extra={"fields": {"id": record.id}})
            if record.status:  # there is no taking back what has been sent: the connection ends
                raise
            await answer_error(failed(), scope, receive, send_noting)
        finally:
            self._tell(scope, record, time.perf_counter() - start)

    def _tell(self, scope: Scope, record: Record, seconds: float) -> None:
        status = CLIENT_LEFT if record.client_left else record.status or 500
        route, model = _route(scope["path"]), record.model or ""
        self._metrics.requests.labels(route, model, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if model:
            self._metrics.prompt_tokens.labels(model).inc(record.prompt_tokens)
            self._metrics.completion_tokens.labels(model).inc(record.completion_tokens)
            if record.first_token_seconds is not None:
                self._metrics.first_token.labels(model).observe(record.first_token_seconds)
            if record.seconds_per_token is not None:
                self._metrics.per_token.labels(model).observe(record.seconds_per_token)
        LOGGER.info("request", extra={"fields": _fields(scope, record, status, seconds)})


def _route(path: str) -> str:
    if path in ROUTES:
        return path
    return "/v1/models/{model}" if path.startswith("/v1/models/") else "other"


def _fields(scope: Scope, record: Record, status: int, seconds: float) -> dict[str, Any]:
    """Of a line in the log; what is not known is left out."""
    times = {"first_token_seconds": record.first_token_seconds, "seconds_per_token": record.seconds_per_token}
    known = {
        "id": record.id,
        "client": (scope.get("client") or (None,))[0],
        "key": record.key,
        "method": scope["method"],
        "path": scope["path"][:LONGEST_PATH],
        "status": status,
        "error": record.error and record.error.code,
        "model": record.model,
        "stream": record.streams or None,
        "prompt_tokens": record.prompt_tokens if record.model else None,
        "completion_tokens": record.completion_tokens if record.model else None,
        "finish": record.finish or None,
        "guardrails": record.fired or None,
        "seconds": round(seconds, 4),
        **{name: None if value is None else round(value, 5) for name, value in times.items()},
        "prompt": record.prompt,
        "answers": record.answers,
    }
    return {name: value for name, value in known.items() if value is not None}


class JsonFormatter(logging.Formatter):
    """A line of JSON for each event; control characters and line breaks in what clients sent are escaped by it."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level and the event's own fields."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)
