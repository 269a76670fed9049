"""How long prompts and answers are: against the model's context, against each other, and as numbers for the plots.

In tokens where a tokenizer is at hand (`CheckContext.count_tokens`), else in words; the markers of a chat template are not counted.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.checks.finding import MOST_SPECIMENS, CheckContext, Finding, Specimen, Tally, counted, excerpt, percent
from tunesmith.types import Example

TOKENS_PER_WORD = 1.3
"""Of English under the vocabularies of today, about: what a limit in tokens means in words."""
NUM_BINS = 40
COVERAGES = (256, 512, 1024, 2048, 4096, 8192)
"""Lengths of which the page says how many examples they hold."""
LEAST_FOR_OUTLIERS = 50
FAR = 5.0
"""Robust standard deviations of the logarithm: of lengths that are log-normal, fewer than one in a million is so far off."""
MOST_OUTSIDE = 0.02
"""Share of the answers that may be outliers on one side."""
LEAST_FACTOR = 4.0
"""Times that an outlier is longer or shorter than the median, at least."""


def count_words(text: str) -> int:
    """Pieces between spaces."""
    return len(text.split())


class Lengths:
    """The check: one number for each prompt and each answer."""

    def __init__(self, context: CheckContext) -> None:
        self.name = "lengths"
        self.context = context
        self.count: Callable[[str], int] = context.count_tokens or count_words
        self.prompts, self.answers, self.texts = array("l"), array("l"), array("l")

    def look(self, position: int, example: Example) -> None:
        del position
        if example.text is not None:
            self.texts.append(self.count(example.text))
            return
        before = example.messages[:-1]
        self.prompts.append(self.count(before[0].content) if len(before) == 1 else sum(self.count(one.content) for one in before))
        self.answers.append(self.count(example.messages[-1].content))

    def merge(self, other: Self) -> None:
        self.prompts.extend(other.prompts)
        self.answers.extend(other.answers)
        self.texts.extend(other.texts)

    def findings(self) -> list[Finding]:
        parts = {
            name: np.array(values) for name, values in (("prompt", self.prompts), ("answer", self.answers), ("text", self.texts)) if values
        }
        if not parts:
            return []
        unit = "tokens" if self.context.count_tokens else "words"
        said = [f"{name}s {_spread(values)}" for name, values in parts.items()]
        whole = np.array(self.prompts) + np.array(self.answers) if self.prompts else np.zeros(0, np.int64)
        whole = np.concatenate([whole, np.array(self.texts, dtype=np.int64)])
        return [
            Finding(
                check=self.name,
                sentence=f"lengths in {unit}: {'; '.join(said)} (median, 95th of a hundred, longest)",
                severity="note",
                count=len(whole),
                share=1.0,
                figures={
                    "unit": unit,
                    "parts": {name: _figures(values) for name, values in parts.items()},
                    "whole": _figures(whole),
                    "coverage": {str(limit): round(float(np.mean(whole <= limit)), 6) for limit in COVERAGES},
                },
            )
        ]


def _spread(values: NDArray[np.int64]) -> str:
    return f"{np.median(values):,.0f}, {np.percentile(values, 95):,.0f}, {values.max():,}"


def _figures(values: NDArray[np.int64]) -> dict[str, Any]:
    """Numbers for people, and a histogram whose bins are even up to where nearly all are."""
    most = max(1, int(np.percentile(values, 99.5)))
    width = -(-most // NUM_BINS)
    edges = np.arange(0, most + width + 1, width)
    counts, _ = np.histogram(np.minimum(values, edges[-1]), bins=edges)
    return {
        "min": int(values.min()),
        "median": float(np.median(values)),
        "mean": round(float(values.mean()), 2),
        "p95": float(np.percentile(values, 95)),
        "p99": float(np.percentile(values, 99)),
        "max": int(values.max()),
        "sum": int(values.sum()),
        "bin_width": int(width),
        "bins": counts.tolist(),
    }


class OverLength:
    """The check against the context: what is longer would be cut, or refused, in training."""

    def __init__(self, context: CheckContext) -> None:
        self.name = "over-length"
        self.context = context
        self.tally = Tally()
        self.limit = context.max_tokens or 0
        self.longest = 0
        # Most examples are far too short, which their characters tell: no token has none.
        self.most_characters = self.limit if context.count_tokens else self.limit * 2

    def look(self, position: int, example: Example) -> None:
        self.tally.see()
        if not self.limit:
            return
        texts = [message.content for message in example.messages] if example.messages else [example.text or ""]
        if sum(map(len, texts)) <= self.most_characters:
            return
        length = self._length(texts)
        if length > self.limit:
            self.longest = max(self.longest, length)
            self.tally.flag(position, example.source, f"{length:,} tokens: {excerpt(texts[-1], length=120)}")

    def _length(self, texts: list[str]) -> int:
        if self.context.count_tokens:
            return sum(map(self.context.count_tokens, texts))
        return round(TOKENS_PER_WORD * sum(map(count_words, texts)))

    def merge(self, other: Self) -> None:
        self.tally.merge(other.tally)
        self.longest = max(self.longest, other.longest)

    def findings(self) -> list[Finding]:
        if not self.tally.count:
            return []
        about = "" if self.context.count_tokens else "about "
        longer = "is" if self.tally.count == 1 else "are"
        sentence = f"{self.tally.said('{how_many}')} {longer} longer than {self.limit:,} tokens, the longest {about}{self.longest:,}"
        figures = {"limit": self.limit, "longest": self.longest, "estimated": self.context.count_tokens is None}
        return [self.tally.finding(self.name, sentence, "warning", self.context, figures=figures)]


class LengthOutliers:
    """The check of answers whose length is far from that of the others."""

    def __init__(self, context: CheckContext) -> None:
        self.name = "length-outliers"
        self.context = context
        self.num_seen = 0
        self.lengths, self.positions = array("l"), array("q")
        self.ends: list[tuple[int, int, str, str]] = []
        """The shortest and the longest answers: length, position, source, beginning."""

    def look(self, position: int, example: Example) -> None:
        self.num_seen += 1
        if not example.messages:
            return
        answer = example.messages[-1].content
        length = len(answer)
        self.lengths.append(length)
        self.positions.append(position)
        self.ends.append((length, position, example.source, answer[:200]))
        if len(self.ends) > 200:
            self._keep_ends()

    def _keep_ends(self) -> None:
        ranked = sorted(self.ends)
        self.ends = [*ranked[:MOST_SPECIMENS], *ranked[MOST_SPECIMENS:][-MOST_SPECIMENS:]]

    def merge(self, other: Self) -> None:
        self.num_seen += other.num_seen
        self.lengths.extend(other.lengths)
        self.positions.extend(other.positions)
        self.ends += other.ends
        self._keep_ends()

    def findings(self) -> list[Finding]:
        if len(self.lengths) < LEAST_FOR_OUTLIERS:
            return []
        lengths = np.array(self.lengths)
        low, high = _bounds(lengths)
        # Where many are far off, these are two kinds of answers, and none of them an outlier.
        low = 0.0 if np.mean(lengths < low) > MOST_OUTSIDE else low
        high = np.inf if np.mean(lengths > high) > MOST_OUTSIDE else high
        outside = (lengths < low) | (lengths > high)
        flagged = np.array(self.positions)[outside]
        if not len(flagged):
            return []
        share = len(flagged) / self.num_seen
        short, long = int(np.sum(lengths < low)), int(np.sum(lengths > high))
        shown = sorted(end for end in self.ends if end[0] < low or end[0] > high)
        which = " and ".join(
            [*([f"{short:,} under {low:,.0f} characters"] if short else []), *([f"{long:,} over {high:,.0f}"] if long else [])]
        )
        return [
            Finding(
                check=self.name,
                sentence=f"{counted(len(flagged), 'answer')} ({percent(share)}) of a length far from that of the others: {which}",
                severity="note",
                count=len(flagged),
                share=share,
                specimens=tuple(
                    Specimen(source=source, excerpt=f"{counted(length, 'character')}: {excerpt(text, length=130)}")
                    for length, _, source, text in [*shown[:2], *shown[2:][-1:]]
                ),
                flagged=tuple(flagged.tolist()),
                action=self.context.action(self.name),
                option=f"--drop {self.name}",
                figures={
                    "low": round(float(low), 1) if short else None,
                    "high": round(float(high), 1) if long else None,
                    "median": float(np.median(lengths)),
                    "short": short,
                    "long": long,
                },
            )
        ]


def _bounds(lengths: NDArray[np.int64]) -> tuple[float, float]:
    """Lengths between which nothing is far off: median and median absolute deviation, of logarithms."""
    logs = np.log1p(lengths)
    centre = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - centre)))  # the standard deviation, were they normal
    reach = max(FAR * spread, float(np.log(LEAST_FACTOR)))
    return float(np.expm1(centre - reach)), float(np.expm1(centre + reach))


def lengths(context: CheckContext) -> Lengths:
    """How long prompts and answers are."""
    return Lengths(context)


def over_length(context: CheckContext) -> OverLength:
    """Examples longer than the model's context."""
    return OverLength(context)


def length_outliers(context: CheckContext) -> LengthOutliers:
    """Answers much shorter or longer than the others."""
    return LengthOutliers(context)
