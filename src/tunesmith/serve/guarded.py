"""Requests under guardrails: prompts checked before generation, answers after it, and made anew where a rule wants that.

Answers that a rule looks at are held until they are whole; a stream then says each in one piece. The client's own stop strings are
applied to what the model's rules left, for a text cut before them could hide from them what it is, and before its form is looked at, which
is that of what is said. The rules' own code runs beside the event loop, and what clients bring themselves in other processes.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tunesmith.engine.generation.sequences import Request
from tunesmith.serve.answering import gather, within
from tunesmith.serve.asking import Asked
from tunesmith.serve.forms import Form
from tunesmith.serve.guarding import AnswerVerdict, Firing, Guard, stopped
from tunesmith.serve.guardrails.json_schema import JsonSchemaSettings
from tunesmith.serve.problems import DO_NOT_RETRY, SERVER, ApiError, invalid
from tunesmith.serve.schema import ChatRequest, CompletionRequest
from tunesmith.serve.shapes import Choice
from tunesmith.serve.state import ServerState
from tunesmith.serve.telemetry import Record
from tunesmith.types import Message

FORM = JsonSchemaSettings()
"""How often, and how warm, answers are made anew that are not in the form a client wants."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What one request is held to: the guardrails of its model, and the form its client wants the answer in."""

    guard: Guard | None
    form: Form | None = None

    @property
    def look_at_answers(self) -> bool:
        """They are held until they are whole."""
        return bool(self.name)

    @property
    def guard_looks_at_answers(self) -> bool:
        """The model's own rules do, so the client's stop strings wait for them."""
        return self.guard is not None and not self.guard.streams_live

    @property
    def name(self) -> str:
        """Of what may refuse an answer, for the client."""
        return " and ".join(["the guardrails"] * self.guard_looks_at_answers + ["response_format"] * (self.form is not None))

    @property
    def check_prompts(self) -> bool:
        return self.guard is not None and self.guard.checks_prompts

    @property
    def retries(self) -> int:
        """How often an answer may be generated anew."""
        return max(self.guard.retries if self.guard else 0, FORM.retries if self.form else 0)

    @property
    def retry_temperature(self) -> float:
        """Least temperature of those."""
        return max(self.guard.retry_temperature if self.guard else 0.0, FORM.temperature if self.form else 0.0)


def require_checkable(rules: Rules, body: ChatRequest | CompletionRequest) -> None:
    """Refuse what would go past the rules.

    Raises:
        ApiError: token ids where prompts are checked, or log-probabilities, which tell the text, where answers are.
    """
    if rules.look_at_answers and body.logprobs is not None and body.logprobs is not False:
        raise invalid("logprobs", f"Log-probabilities are not given beside {rules.name}.", code="unsupported_parameter")
    if rules.check_prompts and isinstance(body, CompletionRequest) and not _is_text(body.prompt):
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


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A request under rules, on its way."""

    state: ServerState
    rules: Rules
    asked: Asked
    prompts: Sequence[Sequence[Message]]
    """For each of `asked.requests` what it answers."""
    instead: Sequence[str | None]
    """For each what is said without asking the model; None: ask."""
    record: Record
    since: float
    """When the request came, by the event loop's clock."""

    async def choices(self) -> list[Choice]:
        """Completions as the rules leave them.

        Raises:
            ApiError: no try gave one that may be said, or not in the time that the request has.
        """
        with self.state.service.holding():
            return await within(self.state.config.request_seconds, self._choices(), since=self.since)

    async def _choices(self) -> list[Choice]:
        choices = [Choice() if one is None else Choice(texts=[one], finish="content_filter") for one in self.instead]
        left = [index for index, one in enumerate(self.instead) if one is None]
        for attempt in range(self.rules.retries + 1):
            if not left:
                break
            made = await self._make([self._varied(self.asked.requests[index], attempt) for index in left], is_again=attempt > 0)
            judged = [await self._judge(one, index) for index, one in zip(left, made, strict=True)]
            for index, one, verdict in zip(left, made, judged, strict=True):
                _take(choices[index], one, verdict)
            left = [index for index, verdict in zip(left, judged, strict=True) if verdict.is_retry]
        if not left:
            return choices
        message = f"No answer satisfied {self.rules.name} in {self.rules.retries + 1} tries."
        raise ApiError(500, message, type=SERVER, code="guardrail_unsatisfied", headers=DO_NOT_RETRY)

    async def _judge(self, made: Choice, index: int) -> AnswerVerdict:
        """The model's rules first, for the form is that of what is said in the end; a stock answer is looked at no further."""
        verdict = AnswerVerdict(text=made.text)
        guard, form = self.rules.guard, self.rules.form
        if guard is not None and self.rules.guard_looks_at_answers:
            text = without_unfinished(made.text) if made.finish == "length" and guard.needs_whole_words else made.text
            stop = self.asked.requests[index].config.stop
            check = partial(guard.check_answer, text, self.prompts[index], stop=stop)
            verdict = stopped(await asyncio.get_running_loop().run_in_executor(self.state.renderers, check), stop)
            _tell(self.state, verdict.fired, self.record)
        if form is not None and not verdict.is_retry and verdict.finish != "content_filter":
            by_form = await form.check_answer(verdict.text)
            _tell(self.state, by_form.fired, self.record)
            verdict = dataclasses.replace(verdict, problem=by_form.problem)
        return verdict

    async def _make(self, requests: Sequence[Request], *, is_again: bool) -> list[Choice]:
        generation = self.state.service.submit(self.asked.model, requests, is_again=is_again, since=self.since)
        try:
            return await gather(generation, self.record)
        finally:
            generation.cancel()

    def _varied(self, request: Request, attempt: int) -> Request:
        """The first try is as asked, but for stop strings where rules look behind them; the same greedy answer would come again, so later
        ones are drawn.
        """
        config = request.config
        changed: dict[str, object] = {"stop": ()} if self.rules.guard_looks_at_answers else {}
        if attempt:
            changed |= {"temperature": max(config.temperature, self.rules.retry_temperature), "seed": config.seed + attempt}
        return dataclasses.replace(request, config=config.model_copy(update=changed))


def _take(choice: Choice, made: Choice, verdict: AnswerVerdict) -> None:
    """Tokens of all tries count; the text is what the rules say."""
    choice.num_tokens += made.num_tokens
    choice.logprobs = made.logprobs
    choice.texts, choice.finish = [verdict.text], verdict.finish or made.finish


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
