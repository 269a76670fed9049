"""What a scorer is: a metric, and the function that gives it for one completion.

>>> scorer.function("Paris, France", "Paris", "What is the capital of France?")
Score(value=0.6666666666666666, explanation='1 word shared of 2 said and 1 expected')
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunesmith.errors import DataError
from tunesmith.types import Example


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A number per example: what it is called, which way is better, how it is written."""

    name: str
    """Key in records and reports."""
    title: str
    """For people."""
    higher_is_better: bool
    scale: str
    """Range or unit, in words."""
    decimals: int
    """Digits after the point where the interval asks for no more."""
    binary: bool = False
    """Only 0 and 1 occur; tested with McNemar."""
    top: float = 1.0
    """What a perfect completion gets; 0 is the least. Weighted scores are divided by it."""


@dataclass(frozen=True, slots=True)
class Score:
    """One completion's number, and why."""

    value: float
    """On the metric's scale."""
    explanation: str = ""
    """A few words for people; empty where the number says it all."""
    label: str | None = None
    """Of label accuracy: the label the completion was read as, normalised; None: none of them."""


ScoringFunction = Callable[[str, str, str], Score | None]
"""(completion, reference, prompt) -> score; None where the scorer does not apply to the example: missing, never zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scorer:
    """A metric computed from a completion, its reference and its prompt."""

    metric: Metric
    function: ScoringFunction
    """Gives a score on `metric.scale`."""
    prepare: Callable[[Sequence[str]], None] | None = None
    """Told all completions and references before the first is scored, where many at once are much faster."""

    @property
    def name(self) -> str:
        return self.metric.name

    @property
    def title(self) -> str:
        return self.metric.title

    def score(self, completion: str, example: Example) -> Score | None:
        """The score of one completion; None where the scorer does not apply.

        Raises:
            DataError: the scorer failed on it; names the example.
        """
        try:
            found = self.function(completion, example.reference, example.prompt)
        except DataError as error:
            place, found_text = example.source, f"{error.place}: {error.found}"
            raise DataError(place, found_text, expected=error.expected, remedy=error.remedy) from error
        if found is not None and not math.isfinite(found.value):
            raise DataError(example.source, f"{self.name} gave {found.value}", expected="a finite number", remedy="correct the scorer")
        return found
