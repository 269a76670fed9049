"""The application: FastAPI's routes behind the layers that every request passes.

    telemetry (an id, the log, the metrics) -> gate (host, origin, key) -> bodies (size, time) -> routes

>>> app = create_app(models, ServeConfig(models=("runs/faq",)))
>>> uvicorn.run(app)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from tunesmith.config import ServeConfig
from tunesmith.serve.answering import ClientLeft
from tunesmith.serve.answers import ChatCompletionChunk
from tunesmith.serve.bodies import BodyLimit
from tunesmith.serve.gate import OPEN_PATHS, Gate, is_loopback
from tunesmith.serve.guarding import Guard
from tunesmith.serve.keys import KeyRing, default_keys_file
from tunesmith.serve.metrics import Metrics
from tunesmith.serve.problems import ApiError, invalid
from tunesmith.serve.routes import router
from tunesmith.serve.service import GenerationService
from tunesmith.serve.state import ServerState
from tunesmith.serve.telemetry import CLIENT_LEFT, Telemetry, record_of
from tunesmith.serve.validation import from_validation
from tunesmith.together import ServedModel

DESCRIPTION = "OpenAI-compatible completions of tuned models and their bases."


def create_app(models: Sequence[ServedModel], config: ServeConfig, *, guards: Mapping[str, Guard] | None = None) -> FastAPI:
    """An application whose decoders start and end with it; `app.state.server` holds its service and metrics.

    Args:
        models: as `open_together` gives them.
        config: of the server.
        guards: rules for prompts and answers, by the names of the models they stand before.

    Raises:
        ConfigError: the file of keys cannot be used.
    """
    metrics = Metrics()
    service = GenerationService(
        models,
        batch_size=config.batch_size,
        queue_size=config.queue_size,
        request_seconds=config.request_seconds,
        step_seconds=config.step_seconds,
        on_step=metrics.batch_size.observe,
        on_trouble=lambda trouble: metrics.decoder_troubles.labels(trouble).inc(),
    )
    metrics.watch(service)
    state = ServerState(config=config, service=service, metrics=metrics, guards=guards or {})
    app = FastAPI(
        title="tunesmith",
        version=version("tunesmith"),
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,  # their pages fetch scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.server = state
    app.include_router(router)
    _add_layers(app, config, metrics)
    _add_handlers(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: ServerState = app.state.server
    await state.service.start()
    try:
        yield
    finally:
        await state.service.stop()
        await state.schemas.close()
        for threads in (state.renderers, state.writers):
            threads.shutdown(wait=False, cancel_futures=True)


def keys_of(config: ServeConfig) -> KeyRing:
    """The keys the settings name."""
    return KeyRing(config.keys_file or default_keys_file())


def _add_layers(app: FastAPI, config: ServeConfig, metrics: Metrics) -> None:
    """The last one added is the outermost."""
    app.add_middleware(BodyLimit, max_bytes=config.max_body_bytes, seconds=config.client_seconds)
    app.add_middleware(
        Gate,
        keys=keys_of(config),
        is_local=is_loopback(config.host),
        allow_hosts=config.allow_hosts,
        allow_origins=config.allow_origins,
    )
    app.add_middleware(Telemetry, metrics=metrics, log_prompts=config.log_prompts)


def _add_handlers(app: FastAPI) -> None:
    """Every error in OpenAI's shape; for what is none of these `Telemetry` answers."""

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> Response:
        record_of(request.scope).error = error
        return JSONResponse(error.document(), error.status, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def wrong_body(request: Request, error: RequestValidationError) -> Response:
        return await api_error(request, from_validation(error.errors(), error.body))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        words = {404: f"There is no {request.url.path[:200]} here.", 405: f"{request.method} is not for this address."}
        codes = {404: "unknown_url", 405: "method_not_allowed"}
        message = words.get(error.status_code, str(error.detail))
        found = ApiError(error.status_code, message, code=codes.get(error.status_code), headers=error.headers)
        return await api_error(request, found if error.status_code != 400 else invalid(None, message, code="invalid_json"))

    @app.exception_handler(ClientLeft)
    async def client_left(request: Request, error: ClientLeft) -> Response:
        del error
        record_of(request.scope).client_left = True
        return Response(status_code=CLIENT_LEFT)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with the pieces of streams and with keys."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = document["components"]
        chunk = ChatCompletionChunk.model_json_schema(ref_template="#/components/schemas/{model}")
        components["schemas"] |= {**chunk.pop("$defs", {}), "ChatCompletionChunk": chunk}
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, methods in document["paths"].items():
            for operation in methods.values():
                operation["security"] = [] if path in OPEN_PATHS else [{"key": []}, {}]
        app.openapi_schema = document
    return app.openapi_schema
