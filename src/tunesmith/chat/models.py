"""Who answers: an OpenAI-compatible endpoint, or a model on this machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tunesmith.chat.budget import Budget, estimated_usage
from tunesmith.chat.calls import Call, Outcome, Usage
from tunesmith.chat.under_way import POLL_SECONDS, SECONDS_TO_FINISH, Answered, Interruption, NotSentError, UnderWay
from tunesmith.config import ChatConfig, GenerateConfig
from tunesmith.errors import AssetError, ConfigError
from tunesmith.types import Completion, Message

if TYPE_CHECKING:
    from tunesmith.tuned import OpenedModel

FAILURES_IN_A_ROW = 20
"""After so many an endpoint is given up; what came before is kept, and the same command goes on later."""


TEMPERATURE_OF_SAMPLES = 0.7
"""Of a repeated call where the settings say 0."""
CALLS_TOGETHER = 32
"""Decoded at the same time on this machine; what is done is on the disk before the next ones."""
EMPTY, CUT_OFF = "an empty reply", "a reply cut off at the token limit"


class ChatModel(Protocol):
    """Answers calls, in any order, as long as the budget lasts."""

    @property
    def name(self) -> str:
        """Who answers and how: part of every call's fingerprint, and of what is said of where a reply comes from."""

    def answer(self, calls: Sequence[Call], budget: Budget) -> Iterator[Answered]:
        """Every call that the budget allows, as soon as it is answered or has failed for good.

        Raises:
            AssetError: there is no sense in going on.
            KeyboardInterrupt: the user stops it. Before this and the other are raised, what was paid for is still handed out.
        """


class EndpointModel:
    """Chat completions over HTTP, several at a time, by the openai client: it repeats what failed for a while (429, 5xx, time-outs).

    Stopped (Ctrl-C, a refusal), it sends nothing more, a repetition neither, and hands out what still comes within `seconds_to_finish`.
    """

    def __init__(self, url: str, config: ChatConfig, *, say: Callable[[str], None], seconds_to_finish: float = SECONDS_TO_FINISH) -> None:
        """The key is taken from the environment and goes nowhere else."""
        import openai

        self._model = config.endpoint_model or ""
        self._config = config
        self._say = say
        self.url = url
        key = os.environ.get(config.api_key_variable)
        self._seconds_to_finish = seconds_to_finish
        self._is_stopping = threading.Event()
        # A server on this machine wants no key, the client wants some string.
        self._client = openai.OpenAI(
            base_url=url,
            api_key=key or "none",
            timeout=config.timeout_seconds,
            max_retries=config.max_attempts - 1,
            http_client=openai.DefaultHttpxClient(event_hooks={"request": [self._before_each_try]}),
        )
        self._in_a_row = 0
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"{self._model} at {self.url}, temperature {self._config.temperature:g}, up to {self._config.max_new_tokens} tokens"

    def answer(self, calls: Sequence[Call], budget: Budget) -> Iterator[Answered]:
        waiting, under_way = iter(calls), UnderWay(self._ask, budget)
        self._is_stopping.clear()
        with Interruption() as interruption:
            try:
                while True:
                    interruption.heed()
                    while len(under_way) < self._config.concurrency and (call := next(waiting, None)) is not None:
                        if not under_way.start(call):
                            waiting = iter(())
                    if not under_way:
                        return
                    yield from under_way.answered(POLL_SECONDS)
                    self._give_up_when_hopeless()
            except (KeyboardInterrupt, AssetError):
                interruption.is_asked = True  # the next Ctrl-C ends it at once
                yield from self._finish(under_way)
                raise
            finally:
                self._is_stopping.set()

    def _finish(self, under_way: UnderWay) -> Iterator[Answered]:
        """What comes in time of the requests that were sent."""
        self._is_stopping.set()
        if not under_way:
            return
        replies = f"{len(under_way):,} {'reply' if len(under_way) == 1 else 'replies'}"
        self._say(f"stopping: up to {self._seconds_to_finish:g} s for {replies} under way, which would be lost; Ctrl-C ends it at once")
        until = time.monotonic() + self._seconds_to_finish
        while under_way and (left := until - time.monotonic()) > 0:
            try:
                yield from under_way.answered(min(left, POLL_SECONDS))
            except (AssetError, NotSentError):  # it ends in any case, and these cost nothing
                continue
        if under_way:
            self._say(f"{len(under_way):,} of them did not come in time and are lost; the same command asks again for them")

    def _before_each_try(self, request: Any) -> None:
        """By the client's HTTP library, which repeats of itself."""
        del request
        if self._is_stopping.is_set():
            raise NotSentError

    def _ask(self, call: Call) -> Outcome:
        import openai

        messages: Any = [{"role": message.role, "content": message.content} for message in call.messages]
        try:
            reply = self._client.chat.completions.create(
                model=self._model,
                messages=messages,
                temperature=temperature_of(call, self._config),
                max_tokens=self._config.max_new_tokens,
                seed=self._config.seed + call.sample,
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
            remedy=f"check {self._config.option} and {self._config.model_option}, and put the key into ${self._config.api_key_variable}",
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
        return Outcome(text=None, error=EMPTY, usage=usage)
    if choice.finish_reason == "length":
        return Outcome(text=None, error=CUT_OFF, usage=usage)
    return Outcome(text=text, usage=usage)


def _in_a_line(error: Exception) -> str:
    words = " ".join(str(error).split()) or "no reason given"
    return f"{type(error).__name__}: {words[:200]}"


class LocalModel:
    """A model on this machine; calls are decoded some at a time, together."""

    def __init__(self, reference: str, config: ChatConfig, *, say: Callable[[str], None]) -> None:
        self._reference, self._config, self._say = reference, config, say
        self._opened: OpenedModel | None = None

    @property
    def name(self) -> str:
        return f"{self._reference}, temperature {self._config.temperature:g}, up to {self._config.max_new_tokens} tokens"

    def answer(self, calls: Sequence[Call], budget: Budget) -> Iterator[Answered]:
        for start in range(0, len(calls), CALLS_TOGETHER):
            together = calls[start : start + CALLS_TOGETHER]
            worst = {call: budget.worst(call.messages, self._length(call)) for call in together}
            allowed = [call for call in together if budget.reserve(worst[call])]
            # Greedy calls and other samples of earlier ones have different temperatures.
            for temperature in sorted({temperature_of(call, self._config) for call in allowed}):
                alike = [call for call in allowed if temperature_of(call, self._config) == temperature]
                for call, outcome in zip(alike, self._decode(alike, temperature), strict=True):
                    budget.settle(worst[call], outcome.usage)
                    yield Answered(call, outcome)
            if len(allowed) < len(together):
                return

    def _decode(self, calls: Sequence[Call], temperature: float) -> list[Outcome]:
        opened = self._open()
        lengths = [self._length(call) for call in calls]
        room = opened.loaded.context_length - self._config.max_new_tokens
        fitting = [call for call, length in zip(calls, lengths, strict=True) if length <= room]
        settings = GenerateConfig(
            max_new_tokens=self._config.max_new_tokens,
            temperature=temperature,
            # Other calls, other samples; the same calls, the same.
            seed=int(calls[0].fingerprint(self.name)[:7], 16) ^ self._config.seed,
        )
        completions = iter(opened.complete([call.messages for call in fitting], settings) if fitting else ())
        return [_outcome(next(completions), length) if length <= room else _too_long(length, room) for length in lengths]

    def _length(self, call: Call) -> int:
        """Tokens of the prompt."""
        return len(self._open().renderer.prompt_ids(call.messages))

    def _open(self) -> OpenedModel:
        from tunesmith.tuned import open_model

        if self._opened is None:
            self._say(f"loading {self._reference}")
            self._opened = open_model(self._reference)
        return self._opened


def _too_long(length: int, room: int) -> Outcome:
    """A prompt that was cut would ask something else."""
    return Outcome(text=None, error=f"a prompt too long for the model ({length:,} tokens, {max(0, room):,} fit)")


def _outcome(completion: Completion, prompt_tokens: int) -> Outcome:
    usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=len(completion.token_ids))
    if not completion.text.strip():
        return Outcome(text=None, error=EMPTY, usage=usage)
    if completion.finish_reason != "end_of_turn":
        return Outcome(text=None, error=CUT_OFF, usage=usage)
    return Outcome(text=completion.text, usage=usage)


def temperature_of(call: Call, config: ChatConfig) -> float:
    """Asked again, a greedy model would say the same again."""
    return config.temperature or (TEMPERATURE_OF_SAMPLES if call.sample else 0.0)


def choose_chat_model(config: ChatConfig, say: Callable[[str], None]) -> ChatModel:
    """By what the settings' `endpoint` names: an address, or a model.

    Raises:
        ConfigError: there is none, or an address without a model's name.
    """
    if config.endpoint is None:
        raise ConfigError(
            config.verb,
            f"no {config.option} is given",
            expected="the address of an OpenAI-compatible endpoint (http://localhost:11434/v1), or a model on this machine",
            remedy=f"add {config.option}",
        )
    if not config.endpoint.startswith(("http://", "https://")):
        return LocalModel(config.endpoint, config, say=say)
    if not config.endpoint_model:
        raise ConfigError(
            config.verb,
            f"{config.model_option} is not given",
            expected="the model's name at the endpoint",
            remedy=f"add {config.model_option} NAME",
        )
    return EndpointModel(config.endpoint, config, say=say)
