"""Who answers: an OpenAI-compatible endpoint, or a model on this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tunesmith.config import GenerateConfig, SynthesizeConfig
from tunesmith.errors import AssetError, ConfigError
from tunesmith.synthesize.budget import Budget, estimated_usage
from tunesmith.synthesize.calls import Call, Outcome, Usage
from tunesmith.types import Message

if TYPE_CHECKING:
    from tunesmith.tuned import OpenedModel

FAILURES_IN_A_ROW = 20
"""After so many an endpoint is given up; what came before is kept, and the same command goes on later."""


class Answered(NamedTuple):
    """A call and what became of it."""

    call: Call
    outcome: Outcome


class Teacher(Protocol):
    """Answers calls, in any order, as long as the budget lasts."""

    @property
    def name(self) -> str:
        """Who answers and how: part of every call's fingerprint, and of every example's origin."""

    def answer(self, calls: Sequence[Call], budget: Budget) -> Iterator[Answered]:
        """Every call that the budget allows, as soon as it is answered or has failed for good.

        Raises:
            AssetError: there is no sense in going on.
        """


class EndpointTeacher:
    """Chat completions over HTTP, several at a time, by the openai client: it repeats what failed for a while (429, 5xx, time-outs)."""

    def __init__(self, url: str, config: SynthesizeConfig, *, say: Callable[[str], None]) -> None:
        """The key is taken from the environment and goes nowhere else."""
        import openai

        self._model = config.teacher_model or ""
        self._config = config
        self._say = say
        self.url = url
        key = os.environ.get(config.api_key_variable)
        # A server on this machine wants no key, the client wants some string.
        self._client = openai.OpenAI(
            base_url=url, api_key=key or "none", timeout=config.timeout_seconds, max_retries=config.max_attempts - 1
        )
        self._in_a_row = 0
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"{self._model} at {self.url}, temperature {self._config.temperature:g}, up to {self._config.max_new_tokens} tokens"

    def answer(self, calls: Sequence[Call], budget: Budget) -> Iterator[Answered]:
        waiting = iter(calls)
        running: dict[Future[Outcome], Call] = {}
        with ThreadPoolExecutor(self._config.concurrency) as pool:
            try:
                while True:
                    while len(running) < self._config.concurrency and (call := next(waiting, None)) is not None:
                        if not budget.reserve(call.messages):
                            waiting = iter(())
                            break
                        running[pool.submit(self._ask, call)] = call
                    if not running:
                        return
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        call = running.pop(future)
                        outcome = future.result()
                        budget.settle(call.messages, outcome.usage)
                        yield Answered(call, outcome)
                    self._give_up_when_hopeless()
            finally:
                for future in running:
                    future.cancel()

    def _ask(self, call: Call) -> Outcome:
        import openai

        messages: Any = [{"role": message.role, "content": message.content} for message in call.messages]
        try:
            reply = self._client.chat.completions.create(
                model=self._model,
                messages=messages,
                temperature=self._config.temperature,
                max_tokens=self._config.max_new_tokens,
                seed=self._config.seed,
            )
            outcome = _read(reply, call.messages)
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise self._refused(error) from None
        except (openai.OpenAIError, ValueError, TypeError, AttributeError, LookupError) as error:
            # A server that speaks the protocol badly shows as one of Python's own errors in the client.
            outcome = Outcome(text=None, error=_in_a_line(error), usage=estimated_usage(call.messages, ""))
        with self._lock:
            self._in_a_row = 0 if outcome.text is not None else self._in_a_row + 1
            self._last_error = outcome.error
        return outcome

    def _refused(self, error: Exception) -> AssetError:
        return AssetError(
            self.url,
            f"the endpoint refuses ({_in_a_line(error)})",
            expected=f"an endpoint with the model {self._model!r} and a valid key",
            remedy=f"check --teacher and --teacher-model, and put the key into ${self._config.api_key_variable}",
        )

    def _give_up_when_hopeless(self) -> None:
        if self._in_a_row >= FAILURES_IN_A_ROW:
            raise AssetError(
                self.url,
                f"the last {self._in_a_row} calls failed ({self._last_error})",
                expected="an endpoint that answers",
                remedy="see to it, then repeat the command: what was answered is kept and not asked again",
            )


def _read(reply: Any, messages: Sequence[Message]) -> Outcome:
    """Take nothing on trust: servers leave out what they like."""
    choice = reply.choices[0]
    text = choice.message.content
    counted = getattr(reply, "usage", None)
    if counted is not None and isinstance(counted.prompt_tokens, int) and isinstance(counted.completion_tokens, int):
        usage = Usage(prompt_tokens=counted.prompt_tokens, completion_tokens=counted.completion_tokens)
    else:
        usage = estimated_usage(messages, text if isinstance(text, str) else "")
    if not isinstance(text, str) or not text.strip():
        return Outcome(text=None, error="an empty reply", usage=usage)
    if choice.finish_reason == "length":
        return Outcome(text=None, error="a reply cut off at the token limit", usage=usage)
    return Outcome(text=text, usage=usage)


def _in_a_line(error: Exception) -> str:
    words = " ".join(str(error).split()) or "no reason given"
    return f"{type(error).__name__}: {words[:200]}"


class LocalTeacher:
    """A model on this machine; all calls are decoded together."""

    def __init__(self, reference: str, config: SynthesizeConfig, *, say: Callable[[str], None]) -> None:
        self._reference, self._config, self._say = reference, config, say
        self._opened: OpenedModel | None = None

    @property
    def name(self) -> str:
        return f"{self._reference}, temperature {self._config.temperature:g}, up to {self._config.max_new_tokens} tokens"

    def answer(self, calls: Sequence[Call], budget: Budget) -> Iterator[Answered]:
        from tunesmith.tuned import open_model

        allowed = [call for call in calls if budget.reserve(call.messages)]
        if not allowed:
            return
        if self._opened is None:
            self._say(f"loading {self._reference}")
            self._opened = open_model(self._reference)
        settings = GenerateConfig(
            max_new_tokens=self._config.max_new_tokens,
            temperature=self._config.temperature,
            # Other calls, other samples; the same calls, the same.
            seed=int(allowed[0].fingerprint(self.name)[:7], 16) ^ self._config.seed,
        )
        completions = self._opened.complete([call.messages for call in allowed], settings)
        for call, completion in zip(allowed, completions, strict=True):
            prompt_tokens = len(self._opened.renderer.prompt_ids(call.messages))
            usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=len(completion.token_ids))
            budget.settle(call.messages, usage)
            if completion.finish_reason == "end_of_turn" and completion.text.strip():
                yield Answered(call, Outcome(text=completion.text, usage=usage))
            else:
                error = "an empty reply" if not completion.text.strip() else "a reply cut off at the token limit"
                yield Answered(call, Outcome(text=None, error=error, usage=usage))


def choose_teacher(config: SynthesizeConfig, say: Callable[[str], None]) -> Teacher:
    """By what `--teacher` names: an address, or a model.

    Raises:
        ConfigError: there is none, or an address without a model's name.
    """
    if config.teacher is None:
        raise ConfigError(
            "synthesize",
            "no --teacher is given",
            expected="the address of an OpenAI-compatible endpoint (http://localhost:11434/v1), or a model on this machine",
            remedy="add --teacher",
        )
    if not config.teacher.startswith(("http://", "https://")):
        return LocalTeacher(config.teacher, config, say=say)
    if not config.teacher_model:
        raise ConfigError(
            "synthesize", "--teacher-model is not given", expected="the model's name at the endpoint", remedy="add --teacher-model NAME"
        )
    return EndpointTeacher(config.teacher, config, say=say)
