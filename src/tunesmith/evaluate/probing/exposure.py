"""Exposure: how far a private string stands out among random ones of its shape, where it stood in training.

exposure = log2 |R| - log2 rank, R the string itself and random ones (Carlini et al. 2019, arXiv:1802.08232, section 4; R is sampled,
as in section 4.3, so that exposure is at most log2 |R|). 0 is the last of them, log2 |R| the first. A string that was drawn like the
others and never seen has 1.44 bits on average; one in a hundred such strings has 6.6 or more.
"""

from __future__ import annotations

import math
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tunesmith.engine.likelihood import LikelihoodRequest, log_likelihoods
from tunesmith.evaluate.probing.secrets import Secret
from tunesmith.render.renderer import Renderer
from tunesmith.tuned import OpenedModel
from tunesmith.types import Example, Message

_CLASSES = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
_MOST_TRIES = 20
"""For each random string that is wanted: a short shape has few different ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A private string as tokens, beside random ones in its place."""

    context_ids: tuple[int, ...]
    """What all of them begin with."""
    continuations: tuple[tuple[int, ...], ...]
    """Those of the string itself, then of the random ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposure:
    """Of one string under one model."""

    bits: float
    rank: int
    """1 is the likeliest; of equally likely ones the string comes last."""
    num_strings: int
    """The string itself and random ones."""


def random_strings(secret: Secret, count: int, seed: int) -> list[str]:
    """Different strings of the secret's shape: digits for digits, letters for letters in their case, the public part kept.

    Fewer than `count` where the shape has hardly more.
    """
    public = frozenset(range(*secret.public_part.indices(len(secret.text))))
    dice = random.Random(f"{seed} {secret.masked}")  # noqa: S311 - reproducible on purpose
    made: dict[str, None] = {}
    for _ in range(_MOST_TRIES * count):
        made[_shuffled(secret.text, public, dice)] = None
        made.pop(secret.text, None)
        if len(made) == count:
            break
    return list(made)


def _shuffled(text: str, public: frozenset[int], dice: random.Random) -> str:
    drawn = []
    for place, character in enumerate(text):
        kind = next((one for one in _CLASSES if character in one), character)
        drawn.append(character if place in public else dice.choice(kind))
    return "".join(drawn)


def lines_of(secrets: Sequence[Secret], renderer: Renderer, *, count: int, seed: int) -> list[Line | None]:
    """The tokens of every secret and its random strings; None where no token stands before, or the shape has one string alone."""
    return [_line(secret, renderer, random_strings(secret, count, seed)) for secret in secrets]


def _line(secret: Secret, renderer: Renderer, others: Sequence[str]) -> Line | None:
    ids = [_ids_with(secret, text, renderer) for text in (secret.text, *others)]
    shortest = min(map(len, ids))
    common = next((place for place in range(shortest) if len({one[place] for one in ids}) > 1), shortest - 1)
    if not others or common < 1:
        return None
    return Line(context_ids=ids[0][:common], continuations=tuple(one[common:] for one in ids))


def _ids_with(secret: Secret, text: str, renderer: Renderer) -> tuple[int, ...]:
    """Tokens as in training up to the end of `text`, which stands in the secret's place."""
    if secret.holder is None:
        return renderer.text_prompt_ids(secret.lead + text)
    message = replace(secret.holder, content=secret.lead + text)
    if message.role == "assistant":
        return renderer.render(_example(secret, message)).token_ids[:-1]  # without the end-of-turn token
    ids = renderer.prompt_ids((*secret.before, message))
    return ids[: len(ids) - _num_after(secret, renderer)]


def _num_after(secret: Secret, renderer: Renderer) -> int:
    """Tokens that the template puts after a prompt: what two different prompts end with alike."""
    first, second = (renderer.prompt_ids((*secret.before, Message(role="user", content=text))) for text in ("a", "7"))
    pairs = zip(reversed(first), reversed(second), strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), 0)


def _example(secret: Secret, answer: Message) -> Example:
    return Example(id="", source=secret.source, group="", messages=(*secret.before, answer), fields=secret.fields)


def exposures(opened: OpenedModel, lines: Sequence[Line], on_progress: Callable[[int], None]) -> list[Exposure]:
    """Of every line's first continuation among all of it; each context is computed once."""
    requests = [
        LikelihoodRequest(context_ids=line.context_ids, continuation_ids=continuation)
        for line in lines
        for continuation in line.continuations
    ]
    ask = partial(log_likelihoods, opened.hugging_face_network, context_length=opened.loaded.context_length)
    found = iter([answer.log_probability for answer in ask(requests, on_progress=on_progress)])
    return [exposure_of([next(found) for _ in line.continuations]) for line in lines]


def exposure_of(log_probabilities: Sequence[float]) -> Exposure:
    """Of the first among all."""
    own, *others = log_probabilities
    rank = 1 + sum(other >= own for other in others)
    total = len(log_probabilities)
    return Exposure(bits=math.log2(total) - math.log2(rank), rank=rank, num_strings=total)
