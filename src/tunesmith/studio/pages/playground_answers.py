"""One answer in the playground: asked, streamed, held back or changed by guardrails, stopped. Knows of no page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from tunesmith.config import GenerateConfig
from tunesmith.evaluate.wording import counted
from tunesmith.studio.pages.playground_models import ModelKeeper, Pair
from tunesmith.studio.pages.playground_rules import Side
from tunesmith.types import FinishReason, Message

if TYPE_CHECKING:
    from tunesmith.serve.generations import Generation
    from tunesmith.serve.guarding import Firing, Guard

Status = Literal["waiting", "answering", "done", "stopped", "failed"]
ENDINGS: dict[FinishReason, str] = {
    "end_of_turn": "ended by itself",
    "stop_string": "ended at a stop string",
    "max_new_tokens": "cut at the most tokens allowed",
    "context_full": "cut where the context is full",
}


@dataclass(kw_only=True, eq=False)
class Answer:
    """What one model says to one prompt, while it does and after."""

    side: Side
    prompt: tuple[Message, ...]
    """The conversation that it answers."""
    text: str = ""
    status: Status = "waiting"
    finish: FinishReason | None = None
    num_prompt_tokens: int = 0
    num_cut: int = 0
    """Tokens of the prompt that the context had no room for."""
    num_new_tokens: int = 0
    fired: list[str] = field(default_factory=list)
    """What guardrails did, in words without any of the text."""
    problem: str = ""
    """Why it failed."""
    is_stopped: bool = False
    """Somebody does not want it any more."""
    generation: Generation | None = None

    def stop(self) -> None:
        """Keep what has come and ask for no more."""
        self.is_stopped = True
        if self.generation is not None:
            self.generation.cancel()

    def note(self) -> str:
        """How it came to be, in a line."""
        if self.status == "failed":
            return self.problem
        words = [f"{self.num_prompt_tokens:,} prompt tokens, {self.num_new_tokens:,} new"] if self.num_prompt_tokens else []
        words += [f"{self.num_cut:,} tokens of the prompt left out for want of room"] if self.num_cut else []
        if self.status == "stopped":
            words.append("stopped")
        elif self.finish is not None:
            words.append(ENDINGS[self.finish])
        return "; ".join([*words, *self.fired])


async def ask(
    keeper: ModelKeeper, pair: Pair, answer: Answer, config: GenerateConfig, guard: Guard | None, renew: Callable[[], None]
) -> None:
    """Fill an answer; `renew` is called whenever there is more of it.

    Raises:
        ApiError: the queue is full, or it took too long.
        DataError, ConfigError: the prompt has no place in the context or the template.
    """
    answer.status = "answering"
    messages, instead = answer.prompt, None
    if guard is not None:
        verdict = await keeper.checked(partial(guard.check_prompt, messages))
        _tell(answer, verdict.fired)
        messages, instead = verdict.messages, verdict.answer if verdict.refusal is None else f"Refused: {verdict.refusal}"
    if instead is not None:
        answer.text = instead
    elif guard is None or guard.streams_live:
        await _generate(keeper, pair, answer, messages, config, renew)
    elif not await _generate_checked(keeper, pair, answer, messages, config, guard):
        return
    answer.status = "stopped" if answer.is_stopped and answer.finish is None and instead is None else "done"
    renew()


async def _generate_checked(
    keeper: ModelKeeper, pair: Pair, answer: Answer, messages: Sequence[Message], config: GenerateConfig, guard: Guard
) -> bool:
    """As the server does: rules see the answer before stop strings cut it, and may want it made anew; False where none may be said."""
    from tunesmith.serve.guarded import without_unfinished
    from tunesmith.serve.guarding import stopped

    for attempt in range(guard.retries + 1):
        answer.text, answer.finish = "", None
        changed: dict[str, object] = {"stop": ()}
        if attempt:  # the same greedy answer would come again
            changed |= {"temperature": max(config.temperature, guard.retry_temperature), "seed": config.seed + attempt}
        await _generate(keeper, pair, answer, messages, config.model_copy(update=changed), lambda: None)
        is_cut = answer.finish != "end_of_turn" and guard.needs_whole_words
        text = without_unfinished(answer.text) if is_cut else answer.text
        check = partial(guard.check_answer, text, messages, stop=config.stop)
        judged = stopped(await keeper.checked(check), config.stop)
        _tell(answer, judged.fired)
        answer.text = "" if judged.is_retry else judged.text
        if answer.is_stopped:
            return True
        if not judged.is_retry:
            answer.finish = "stop_string" if judged.finish == "stop" else answer.finish
            return True
    answer.status = "failed"
    answer.problem = f"no answer satisfied the guardrails in {counted(guard.retries + 1, 'attempt')}: {judged.problem}"
    return False


async def _generate(
    keeper: ModelKeeper, pair: Pair, answer: Answer, messages: Sequence[Message], config: GenerateConfig, renew: Callable[[], None]
) -> None:
    if answer.is_stopped:
        return
    model = pair.model(answer.side)
    ids, answer.num_cut = await keeper.render(model, messages, config)
    answer.num_prompt_tokens = len(ids)
    if answer.is_stopped:
        return
    answer.generation = pair.service.submit(model, [model.request(ids, config, with_text=True)])
    try:
        async for new in answer.generation:
            answer.text += new.text
            answer.num_new_tokens += 1
            answer.finish = new.finish_reason or answer.finish
            renew()
    finally:
        answer.generation.cancel()
        answer.generation = None


def _tell(answer: Answer, fired: Sequence[Firing]) -> None:
    answer.fired += [str(one) for one in fired]
