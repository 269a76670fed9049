"""The addresses: chat, completions, models, and what operators ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from tunesmith.serve.answering import EventStream, at_once, gather, stream, while_connected, within
from tunesmith.serve.answers import ChatCompletion, ErrorDocument, ModelCard, ModelList, Status, TextCompletion
from tunesmith.serve.asking import Asked, conversation, prompts_of, require_few
from tunesmith.serve.forms import form_of
from tunesmith.serve.guarded import Guarded, Rules, require_checkable
from tunesmith.serve.rendering import as_messages, rendered_chat, rendered_texts
from tunesmith.serve.schema import ChatRequest, CompletionRequest, Generating
from tunesmith.serve.shapes import ChatShape, Choice, Shape, TextShape, usage_of
from tunesmith.serve.state import ServerState, state_of
from tunesmith.serve.telemetry import Record, record_of
from tunesmith.serve.writing import WholeAnswer, written
from tunesmith.together import ServedModel
from tunesmith.types import Message

ERRORS: Mapping[str, str] = {
    "400": "A parameter is wrong, unknown or not supported; `param` names it.",
    "401": "The key is missing or wrong.",
    "403": "A name or a web page that may not call this server.",
    "404": "There is no such model or address.",
    "408": "The body came too slowly.",
    "413": "The body is too large.",
    "429": "The queue is full; `Retry-After` says when to come again.",
    "500": "The server failed.",
    "503": "The server is shutting down, has too many connections, no memory left, or a decoder that is stuck.",
    "504": "The answer took too long.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document; 4XX stands for what any address may say."""
    named: dict[int | str, dict[str, Any]] = {
        str(status): {"model": ErrorDocument, "description": ERRORS[str(status)]} for status in (401, 403, *statuses)
    }
    return {**named, "4XX": {"model": ErrorDocument, "description": "Any other mistake of the client's."}}


def streaming(document: str) -> dict[int | str, dict[str, Any]]:
    """Of an address that answers whole or as events of this kind."""
    reference = {"$ref": f"#/components/schemas/{document}"}
    described = "Whole, or with `stream` as server-sent events: `data: ` and one such document each, the last one `data: [DONE]`."
    return {200: {"description": described, "content": {"text/event-stream": {"schema": reference}}}}


T = TypeVar("T")
GENERATING = errors(400, 404, 408, 413, 429, 500, 503, 504)
router = APIRouter()


@router.post("/v1/chat/completions", response_model=ChatCompletion, responses={**streaming("ChatCompletionChunk"), **GENERATING})
async def chat_completions(body: ChatRequest, request: Request) -> Response:
    """Answer a conversation."""
    coming = _coming(request)
    state, record = coming.state, coming.record
    model = state.model(body.model)
    require_few(body, 1, state.config)
    form = await coming.bounded(form_of(body, state.schemas))
    rules = Rules(guard=state.guards.get(model.name), form=form)
    require_checkable(rules, body)
    messages = conversation(body)
    with state.service.entering(model, body.n or 1):
        messages, instead, asked = await coming.bounded(rendered_chat(state, model, rules.guard, body, messages, record))
    shape = ChatShape(
        model, state.texts_of(model), with_logprobs=bool(body.logprobs), with_usage=_wants_usage(body), streams=bool(body.stream)
    )
    count = len(asked.requests)
    return await _Answering(coming, body, asked, shape).answer(rules, [messages] * count, [instead] * count)


@router.post("/v1/completions", response_model=TextCompletion, responses={**streaming("TextCompletion"), **GENERATING})
async def completions(body: CompletionRequest, request: Request) -> Response:
    """Continue texts as they stand."""
    coming = _coming(request)
    state, record = coming.state, coming.record
    model = state.model(body.model)
    num_prompts, count = len(prompts_of(body)), body.n or 1
    require_few(body, num_prompts, state.config)
    rules = Rules(guard=state.guards.get(model.name))
    require_checkable(rules, body)
    with state.service.entering(model, num_prompts * count):
        prompts, instead, asked = await coming.bounded(rendered_texts(state, model, rules.guard, body, record))
    shape = TextShape(model, state.texts_of(model), with_logprobs=body.logprobs is not None, with_usage=_wants_usage(body))
    messages = [as_messages(prompts[place // count]) for place in range(len(asked.requests))]
    answers = [instead[place // count] for place in range(len(asked.requests))]
    return await _Answering(coming, body, asked, shape).answer(rules, messages, answers)


class _Coming(NamedTuple):
    """A request on its way to the model."""

    state: ServerState
    request: Request
    record: Record
    since: float
    """When it came, by the event loop's clock."""

    async def bounded(self, work: Coroutine[Any, Any, T]) -> T:
        """While the client waits, and in the request's time."""
        limited = within(self.state.config.request_seconds, work, since=self.since)
        return await while_connected(self.request.receive, limited)


def _coming(request: Request) -> _Coming:
    return _Coming(state_of(request), request, record_of(request.scope), asyncio.get_running_loop().time())


def _wants_usage(body: Generating) -> bool:
    return bool(body.stream_options and body.stream_options.include_usage)


class _Answering(NamedTuple):
    """A request that can be answered, and how."""

    coming: _Coming
    body: Generating
    asked: Asked
    shape: Shape

    async def answer(self, rules: Rules, prompts: Sequence[Sequence[Message]], instead: Sequence[str | None]) -> Response:
        """Under rules or not; `instead` has what is said where the model is not asked."""
        state, _, record, since = self.coming
        record.model, record.prompt_tokens = self.asked.model.name, self.asked.num_prompt_tokens
        if rules.look_at_answers or any(one is not None for one in instead):
            guarded = Guarded(state=state, rules=rules, asked=self.asked, prompts=prompts, instead=instead, record=record, since=since)
            return await self.coming.bounded(self._say(guarded.choices()))
        return await self._generate()

    async def _say(self, made: Awaitable[Sequence[Choice]]) -> Response:
        """All at once, in the shape that was asked for."""
        choices = await made
        self.coming.record.finish_with(choices)
        num_prompt_tokens = self.asked.num_prompt_tokens
        if self.body.stream:
            return self._stream(at_once(choices, num_prompt_tokens, self.shape, with_usage=_wants_usage(self.body)))
        if not self.shape.with_logprobs:
            return WholeAnswer(self._written(choices))
        return WholeAnswer(await asyncio.get_running_loop().run_in_executor(self.coming.state.writers, self._written, choices))

    def _written(self, choices: Sequence[Choice]) -> bytes:
        return written(self.shape.whole(choices, usage_of(self.asked.num_prompt_tokens, choices)))

    def _stream(self, events: AsyncGenerator[bytes]) -> EventStream:
        return EventStream(events, self.coming.record, client_seconds=self.coming.state.config.client_seconds)

    async def _generate(self) -> Response:
        """Ask the model; until the first token of a stream an error is a status, afterwards an event."""
        state, request, record, since = self.coming
        generation = state.service.submit(self.asked.model, self.asked.requests, since=since)
        is_handed_over = False
        try:
            if not self.body.stream:
                return await self.coming.bounded(self._say(gather(generation, record)))
            first = await while_connected(request.receive, anext(generation))
            is_handed_over = True
            return self._stream(stream(generation, first, self.asked, self.shape, record, with_usage=_wants_usage(self.body)))
        finally:
            if not is_handed_over:
                generation.cancel()


@router.get("/v1/models", responses=errors())
async def models(request: Request) -> ModelList:
    """All that can be asked for."""
    return ModelList(data=[_card(model) for model in state_of(request).service.models.values()])


@router.get("/v1/models/{model:path}", responses=errors(404))
async def one_model(model: str, request: Request) -> ModelCard:
    """One of them."""
    return _card(state_of(request).model(model))


def _card(model: ServedModel) -> ModelCard:
    return ModelCard(id=model.name, created=model.created, owned_by="tunesmith")


@router.get(
    "/health", response_model=Status, responses={503: {"model": Status, "description": "A decoder has failed or is stuck: start anew."}}
)
async def health(request: Request) -> Response:
    """Whether the process works; it does while it drains."""
    return _status(state_of(request).service.state)


@router.get("/ready", response_model=Status, responses={503: {"model": Status, "description": "No new requests are taken."}})
async def ready(request: Request) -> Response:
    """Whether to send requests here."""
    service = state_of(request).service
    return _status("draining" if service.is_draining else service.state)


def _status(word: str) -> Response:
    return JSONResponse({"status": word}, 200 if word == "ok" else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **errors()})
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(state_of(request).metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})
