"""Requests under guardrails: prompts checked before generation, answers after it, and made anew where a rule wants that.

Answers that a rule looks at are held until they are whole; a stream then says each in one piece. The client's own stop strings are
applied to what the rules left, for a text cut before them could hide from them what it is. The rules' own code runs beside the event loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

from tunesmith.engine.generation.sequences import Request
from tunesmith.serve.answering import gather
from tunesmith.serve.asking import Asked
from tunesmith.serve.guarding import AnswerVerdict, Firing, Guard
from tunesmith.serve.problems import DO_NOT_RETRY, SERVER, ApiError, invalid, took_too_long
from tunesmith.serve.schema import ChatRequest, CompletionRequest
from tunesmith.serve.shapes import Choice
from tunesmith.serve.state import ServerState
from tunesmith.serve.telemetry import Record
from tunesmith.types import Message


def require_checkable(guard: Guard | None, body: ChatRequest | CompletionRequest) -> None:
    """Refuse what would go past the rules.

    Raises:
        ApiError: token ids where prompts are checked, or log-probabilities, which tell the text, where answers are.
    """
    if guard is None:
        return
    if not guard.streams_live and body.logprobs is not None and body.logprobs is not False:
        raise invalid("logprobs", "Log-probabilities are not given where guardrails look at answers.", code="unsupported_parameter")
    if guard.checks_prompts and isinstance(body, CompletionRequest) and not _is_text(body.prompt):
        raise invalid("prompt", "Token ids are not taken where guardrails look at prompts; send text.", code="unsupported_parameter")


def _is_text(prompt: object) -> bool:
    return isinstance(prompt, str) or (isinstance(prompt, list) and all(isinstance(one, str) for one in prompt))


async def checked_prompt(
    state: ServerState, guard: Guard, messages: Sequence[Message], record: Record, *, param: str
) -> tuple[tuple[Message, ...], str | None]:
    """What the model is to see, and what to say instead of asking it (None: ask).

    Raises:
        ApiError: a rule refuses the prompt.
    """
    verdict = await asyncio.get_running_loop().run_in_executor(state.renderers, guard.check_prompt, messages)
    _tell(state, verdict.fired, record)
    if verdict.refusal is not None:
        raise invalid(param, verdict.refusal, code="guardrail")
    return verdict.messages, verdict.answer


async def checked_choices(
    state: ServerState,
    guard: Guard,
    asked: Asked,
    prompts: Sequence[Sequence[Message]],
    instead: Sequence[str | None],
    record: Record,
) -> list[Choice]:
    """Completions as the rules leave them.

    Args:
        state: of the server.
        guard: of the model.
        asked: the request.
        prompts: for each of `asked.requests` what it answers.
        instead: for each what is said without asking the model; None: ask.
        record: of the request.

    Raises:
        ApiError: no try gave one that may be said, or not in the time that the request has.
    """
    seconds = state.config.request_seconds
    with state.service.holding():
        try:
            async with asyncio.timeout(seconds) as limit:
                return await _choices(state, guard, asked, prompts, instead, record)
        except TimeoutError:
            if not limit.expired():
                raise
            raise took_too_long(seconds) from None


async def _choices(
    state: ServerState,
    guard: Guard,
    asked: Asked,
    prompts: Sequence[Sequence[Message]],
    instead: Sequence[str | None],
    record: Record,
) -> list[Choice]:
    choices = [Choice() if one is None else Choice(texts=[one], finish="content_filter") for one in instead]
    left = [index for index, one in enumerate(instead) if one is None]
    for attempt in range(guard.retries + 1):
        if not left:
            break
        made = await _make(state, asked, [_varied(asked.requests[index], guard, attempt) for index in left], record, is_again=attempt > 0)
        judged = [await _judge(state, guard, one, prompts[index], record) for index, one in zip(left, made, strict=True)]
        for index, one, verdict in zip(left, made, judged, strict=True):
            _take(choices[index], one, verdict, () if guard.streams_live else asked.requests[index].config.stop)
        left = [index for index, verdict in zip(left, judged, strict=True) if verdict.is_retry]
    if not left:
        return choices
    message = f"No answer satisfied the guardrails in {guard.retries + 1} tries."
    raise ApiError(500, message, type=SERVER, code="guardrail_unsatisfied", headers=DO_NOT_RETRY)


async def _judge(state: ServerState, guard: Guard, made: Choice, messages: Sequence[Message], record: Record) -> AnswerVerdict:
    text = without_unfinished(made.text) if made.finish == "length" and guard.needs_whole_words else made.text
    verdict = await asyncio.get_running_loop().run_in_executor(state.renderers, guard.check_answer, text, messages)
    _tell(state, verdict.fired, record)
    return verdict


async def _make(state: ServerState, asked: Asked, requests: Sequence[Request], record: Record, *, is_again: bool) -> list[Choice]:
    generation = state.service.submit(asked.model, requests, is_again=is_again)
    try:
        return await gather(generation, record)
    finally:
        generation.cancel()


def _varied(request: Request, guard: Guard, attempt: int) -> Request:
    """The first try is as asked, but for stop strings; the same greedy answer would come again, so later ones are drawn."""
    config = request.config
    changed: dict[str, object] = {} if guard.streams_live else {"stop": ()}
    if attempt:
        changed |= {"temperature": max(config.temperature, guard.retry_temperature), "seed": config.seed + attempt}
    return dataclasses.replace(request, config=config.model_copy(update=changed))


def _take(choice: Choice, made: Choice, verdict: AnswerVerdict, stop: Sequence[str]) -> None:
    """Tokens of all tries count; the text is what the rules say, up to a stop string unless it is a stock answer."""
    choice.num_tokens += made.num_tokens
    choice.logprobs = made.logprobs
    choice.texts, choice.finish = [verdict.text], verdict.finish or made.finish
    places = [place for one in stop if (place := verdict.text.find(one)) >= 0]
    if places and verdict.finish != "content_filter":
        choice.texts, choice.finish = [verdict.text[: min(places)]], "stop"


def without_unfinished(text: str) -> str:
    """Without the last word, or the last number with all its groups of digits.

    >>> without_unfinished("Write to ann@fi"), without_unfinished("Call +41 79 123")
    ('Write to', 'Call')
    """
    kept, last = _last_word(text)
    while _has_digit(last) and _has_digit(_last_word(kept)[1]):
        kept, last = _last_word(kept)
    return kept


def _last_word(text: str) -> tuple[str, str]:
    """What is before it, and itself."""
    parts = text.rsplit(maxsplit=1)
    return (parts[0], parts[1]) if len(parts) > 1 else ("", text)


def _has_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)


def _tell(state: ServerState, fired: Sequence[Firing], record: Record) -> None:
    for firing in fired:
        record.fired.append(str(firing))
        state.metrics.firings.labels(firing.rule, f"{firing.side} {firing.action}").inc()
