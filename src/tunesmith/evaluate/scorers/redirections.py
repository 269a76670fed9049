"""Redirections: the stock sentences by which a model declines what is not its business, learnt from the training data.

    >>> learn_redirections(examples)
    (Redirection(text='Let’s keep the discussion relevant to Lamini.', num_prompts=35), …)

Nobody has to name them: an answer that stands word for word under many different prompts is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.evaluate.scorers.overlap import token_f1
from tunesmith.evaluate.scorers.scorer import Score, ScoringFunction
from tunesmith.evaluate.words import normalise, num_words
from tunesmith.types import Example

LEAST_PROMPTS = 3
"""Different prompts that must share the answer …"""
LEAST_SHARE = 0.01
"""… and their least share of all examples: 7 of 1,260 is a question asked often, not a redirection."""
LEAST_WORDS = 4
"""Shorter answers are labels or "yes" and "no"."""
MOST_TOTAL_SHARE = 0.4
"""When more of the data than this repeats its answers, they are classes ("the answer is B"), and none is a redirection."""
SIMILARITY = 0.6
"""Token F1 from which a completion counts as saying a redirection."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Redirection:
    """One stock answer."""

    text: str
    """As it stands in the data the first time."""
    num_prompts: int
    """Different prompts it answers."""


def learn_redirections(examples: Sequence[Example]) -> tuple[Redirection, ...]:
    """The redirections in training examples, most frequent first; answers and prompts are compared normalised."""
    texts: dict[str, str] = {}
    prompts: dict[str, set[str]] = {}
    for example in examples:
        if example.messages:
            key = normalise(example.reference)
            texts.setdefault(key, example.reference)
            prompts.setdefault(key, set()).add(normalise(example.prompt))
    least = max(LEAST_PROMPTS, LEAST_SHARE * len(examples))
    stock = [key for key, asked in prompts.items() if len(asked) >= least and num_words(texts[key]) >= LEAST_WORDS]
    if sum(len(prompts[key]) for key in stock) > MOST_TOTAL_SHARE * len(examples):
        return ()
    found = [Redirection(text=texts[key], num_prompts=len(prompts[key])) for key in stock]
    return tuple(sorted(found, key=lambda redirection: (-redirection.num_prompts, redirection.text)))


def nearest_redirection(text: str, redirections: Sequence[Redirection]) -> Redirection | None:
    """The redirection that `text` says, if any."""
    scored = [(token_f1(text, redirection.text), redirection) for redirection in redirections]
    best = max(scored, key=lambda pair: pair[0], default=None)
    return best[1] if best and best[0] >= SIMILARITY else None


def redirected(redirections: Sequence[Redirection]) -> ScoringFunction:
    """The scoring function of data with redirections: 1 if the completion redirects where the reference does, and only there."""

    def function(completion: str, reference: str, prompt: str) -> Score:
        found, expected = nearest_redirection(completion, redirections), nearest_redirection(reference, redirections)
        if bool(found) == bool(expected):
            return Score(1.0, "redirects, as it should" if found else "answers, as it should")
        return Score(0.0, f"redirects where it should answer: {found.text!r}" if found else "answers where it should redirect")

    return function
