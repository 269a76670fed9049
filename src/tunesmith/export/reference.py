"""What the model said before it was exported, in float32, by our own engine: the measure of every export."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.config import GenerateConfig
from tunesmith.export.prompts import ParityPrompt
from tunesmith.export.subject import Subject


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceAnswer:
    """The greedy answer to a prompt."""

    prompt: ParityPrompt
    token_ids: tuple[int, ...]
    """Includes the token it stopped at."""
    logprobs: tuple[float, ...]
    """Nats, of each of `token_ids`."""
    margins: tuple[float, ...]
    """How many nats the runner-up was behind, at each place."""


def reference_answers(subject: Subject, prompts: Sequence[ParityPrompt], max_new_tokens: int) -> tuple[ReferenceAnswer, ...]:
    """Answer greedily, with the log-probabilities of what was said and of what nearly was."""
    config = GenerateConfig(max_new_tokens=max_new_tokens, temperature=0.0, logprobs=2)
    completions = subject.opened.complete_prompts([prompt.token_ids for prompt in prompts], config)
    answers = []
    for prompt, completion in zip(prompts, completions, strict=True):
        said = completion.logprobs or ()
        margins = tuple(one.top[0][1] - one.top[1][1] if len(one.top) > 1 else math.inf for one in said)
        answers.append(
            ReferenceAnswer(prompt=prompt, token_ids=completion.token_ids, logprobs=tuple(one.logprob for one in said), margins=margins)
        )
    return tuple(answers)
