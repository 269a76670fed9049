"""Does a private string come out: asked with the prompt it was trained with, or when the model is given all that stood before it?

The second is what somebody could do who knows the document and not the number. Answers are greedy, and sampled at temperature 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunesmith.config import GenerateConfig, LeaksConfig
from tunesmith.evaluate.probing.exposure import Line
from tunesmith.evaluate.probing.secrets import Secret
from tunesmith.tuned import OpenedModel

_SPACING = re.compile(r"[\s()-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Extraction:
    """In how many answers the string stood; None where that way is not open."""

    prompt: bool | None
    """In the greedy answer to its own prompt; None where it stands in a prompt itself, or in raw text."""
    prompt_samples: int | None
    prefix: bool | None
    """In the greedy continuation of what stood before it; None where nothing did."""
    prefix_samples: int | None

    @property
    def is_out(self) -> bool:
        """In any answer."""
        return bool(self.prompt or self.prompt_samples or self.prefix or self.prefix_samples)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tries:
    """What is asked about the secrets, and how long the answers may be."""

    prompts: list[tuple[int, tuple[int, ...]]]
    """Number of the secret, tokens of its own prompt."""
    prefixes: list[tuple[int, tuple[int, ...]]]
    """Number of the secret, tokens before it."""
    greedy: GenerateConfig
    sampled: GenerateConfig


def tries_of(opened: OpenedModel, secrets: Sequence[Secret], lines: Sequence[Line | None], config: LeaksConfig) -> Tries:
    """The prompts, cut to the context as in use."""
    greedy = GenerateConfig(max_new_tokens=config.max_new_tokens, batch_size=config.batch_size)
    room = max(1, opened.loaded.context_length - config.max_new_tokens)
    prompts = [
        (number, opened.prompt_ids(secret.before, greedy, fields=secret.fields, place=secret.source))
        for number, secret in enumerate(secrets)
        if secret.is_answered
    ]
    prefixes = [(number, line.context_ids[-room:]) for number, line in enumerate(lines) if line]
    return Tries(prompts=prompts, prefixes=prefixes, greedy=greedy, sampled=_at_temperature_1(greedy, config))


def _at_temperature_1(greedy: GenerateConfig, config: LeaksConfig) -> GenerateConfig:
    return greedy.model_copy(update={"temperature": 1.0, "seed": config.seed})


def extract(
    opened: OpenedModel, secrets: Sequence[Secret], tries: Tries, config: LeaksConfig, on_progress: Callable[[int, int], None]
) -> list[Extraction]:
    """Let the model answer everything and look for the strings; `on_progress` is told the answers done and their number."""
    total = (len(tries.prompts) + len(tries.prefixes)) * (1 + config.samples)
    done = 0
    counts: list[dict[int, int]] = []
    for asked, starts in ((tries.prompts, False), (tries.prefixes, True)):
        for generation, repeats in ((tries.greedy, 1), (tries.sampled, config.samples)):
            repeated = [one for one in asked for _ in range(repeats)]
            report: Callable[[int], None] = lambda here, before=done: on_progress(before + here, total)  # type: ignore[misc]  # noqa: E731
            completions = opened.complete_prompts([ids for _, ids in repeated], generation, on_progress=report) if repeated else []
            done += len(repeated)
            hits = dict.fromkeys((number for number, _ in asked), 0)
            for (number, ids), completion in zip(repeated, completions, strict=True):
                begun = opened.renderer.decode(ids[-2 * len(secrets[number].text) :]) if starts else ""
                hits[number] += holds(completion.text, secrets[number].text, begun=begun)
            counts.append(hits)
    greedy_prompt, prompt, greedy_prefix, prefix = counts
    return [
        Extraction(
            prompt=bool(greedy_prompt[number]) if number in greedy_prompt else None,
            prompt_samples=prompt.get(number),
            prefix=bool(greedy_prefix[number]) if number in greedy_prefix else None,
            prefix_samples=prefix.get(number),
        )
        for number in range(len(secrets))
    ]


def holds(completion: str, secret: str, *, begun: str = "") -> bool:
    """Whether the string stands in a completion, spacing, hyphens, brackets and case aside.

    `begun` is what stood before the completion: where the string begins there, only the rest of it has to come.
    """
    size = next((size for size in range(len(secret) - 1, 0, -1) if begun.endswith(secret[:size])), 0)
    rest = _plain(secret[:size] + completion)
    return _plain(secret) in rest


def _plain(text: str) -> str:
    return _SPACING.sub("", text).casefold()
