"""Running the server: an address, signals, the end.

The first SIGTERM or Ctrl-C stops taking requests (/ready says 503) and lets what runs finish within the grace time; the second
one cuts it off.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

import uvicorn

from tunesmith.config import ServeConfig
from tunesmith.errors import ConfigError
from tunesmith.serve.app import create_app, keys_of
from tunesmith.serve.connections import MAX_HEADER_BYTES, limited_protocol
from tunesmith.serve.gate import is_loopback
from tunesmith.serve.guarding import Guard
from tunesmith.serve.guards import open_guards
from tunesmith.serve.service import GenerationService
from tunesmith.serve.telemetry import JsonFormatter
from tunesmith.together import ServedModel, open_together

LAST_SECONDS = 5
"""For the last bytes of answers, once nothing is decoded any more."""
LOGGERS = {"tunesmith.serve": logging.INFO, "uvicorn.error": logging.WARNING}


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """What a server says when it takes requests."""

    address: str
    """`http://127.0.0.1:8000`"""
    models: tuple[ServedModel, ...]
    needs_key: bool
    logs_prompts: bool
    guarded: tuple[str, ...] = ()
    """Names of models with guardrails."""


def serve(config: ServeConfig, *, say: Callable[[str], None], on_ready: Callable[[Announcement], None]) -> None:
    """Open the models and serve them until a signal ends it.

    Raises:
        ConfigError: the address is taken, cannot be listened on, or is public and there is no key.
        AssetError, RunError: a model cannot be opened.
    """
    needs_key = keys_of(config).is_needed
    require_key_for_public(config.host, has_key=needs_key)
    with _listening(config.host, config.port) as listener:
        models = open_together(config.models, dtype=config.dtype, device=config.device, say=say)
        guards = open_guards(config.guardrails, models, say=say)
        announcement = Announcement(
            address=_address(listener), models=tuple(models), needs_key=needs_key, logs_prompts=config.log_prompts, guarded=tuple(guards)
        )
        _log_as_json()
        server = make_server(models, config, guards=guards, on_ready=lambda: on_ready(announcement))
        try:
            server.run(sockets=[listener])
        except SystemExit:  # uvicorn's word for an application that did not start
            raise server.service.failure or RuntimeError("the server did not start") from None


def require_key_for_public(host: str, *, has_key: bool) -> None:
    """Refuse to let everybody in.

    Raises:
        ConfigError: others can reach the address, and there is no key.
    """
    if not (is_loopback(host) or has_key):
        raise ConfigError(
            f"--host {host}",
            "other machines can reach this address, and there is no key",
            expected="a loopback address such as 127.0.0.1, or at least one key",
            remedy="make one with `tunesmith serve --make-key NAME`",
        )


def make_server(
    models: Sequence[ServedModel],
    config: ServeConfig,
    *,
    guards: Mapping[str, Guard] | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> GracefulServer:
    """A server for uvicorn's `run` or `serve`."""
    app = create_app(models, config, guards=guards)
    settings = uvicorn.Config(
        app,
        http=limited_protocol(max_connections=config.max_connections, seconds=config.client_seconds),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    return GracefulServer(settings, app.state.server.service, grace_seconds=config.grace_seconds, on_ready=on_ready)


class GracefulServer(uvicorn.Server):
    """uvicorn's, which would close its doors at the first signal; this one first lets what runs come to its end."""

    def __init__(self, config: uvicorn.Config, service: GenerationService, *, grace_seconds: float, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.service = service
        self._grace_seconds, self._on_ready = grace_seconds, on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and tell."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal; may be called from any thread."""
        del sig, frame
        if self._loop is None:
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self.end)

    def end(self) -> None:
        """The first call ends it gently, the next one at once."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())
        else:
            self.service.cut()
            self.should_exit = True

    async def _end(self) -> None:
        if not await self.service.drain(self._grace_seconds):
            self.service.cut()
        self.should_exit = True


def _listening(host: str, port: int) -> socket.socket:
    """Bound, not yet listening: who connects before the models are there is refused rather than kept waiting."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise ConfigError(
            f"{host}:{port}",
            f"it cannot be listened on ({reason})",
            expected="a free address of this machine",
            remedy="choose another --port",
        ) from None
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _log_as_json() -> None:
    """To standard error, a line an event."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for name, level in LOGGERS.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
