"""The error group of answers that go round in circles: loops of words, repeated 4-grams, texts that zlib packs too well.

>>> find_loop("press it press it press it press it press it".split())
['press', 'it']
"""

from __future__ import annotations

import re
import zlib

from tunesmith.analyze.content import CODE, four_grams
from tunesmith.analyze.groups import GroupContext
from tunesmith.analyze.shapes import shape_of
from tunesmith.config import AnalyzeConfig
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.words import words
from tunesmith.types import Example

LEAST_BYTES = 200
"""Shorter texts pack too badly for their ratio to mean anything."""
LOOP_WORDS = 12
"""Longest block that a loop is looked for with; longer ones show in the share of repeated 4-grams."""
MANY, FEW = 5, 3
"""Times in a row that make a loop, of one or two words and of longer blocks."""
_STUTTER = re.compile(r"([^\W\d_]{1,8}?)\1{9,}")


def repetitive(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Goes round in circles, and the reference does not."""
    return circles(answer.completion, context.config, reference=asked.reference)


def repetitive_in_training(example: Example, context: GroupContext) -> str | None:
    """A training answer whose prose goes round in circles, and its prompt does not (as songs do); code and tables repeat rightly."""
    if shape_of(prose := CODE.sub(" ", example.reference)) in ("JSON", "code", "table"):
        return None
    return circles(prose, context.config, reference=example.prompt)


def circles(text: str, config: AnalyzeConfig, *, reference: str = "") -> str | None:
    """How `text` goes round in circles, if it does so more than the reference."""
    found, expected = words(text), words(reference)
    loop = find_loop(found)
    if loop and not find_loop(expected):
        return f"says {' '.join(loop)!r} again and again"
    if (stutter := _STUTTER.search(text)) and not _STUTTER.search(reference):
        return f"stutters {stutter[1]!r}"
    share = repeated_share(found)
    if share > max(config.repeated_share, repeated_share(expected)):
        return f"{share:.0%} of its 4-grams were there before (limit {config.repeated_share:.0%})"
    ratio = compression_ratio(text)
    if ratio > max(config.compression_ratio, compression_ratio(reference)):
        return f"packs to one {ratio:.1f}th of its size (limit {config.compression_ratio:g})"
    return None


def compression_ratio(text: str) -> float:
    """Bytes before zlib over bytes after; 1 for short texts (the measure of Radford et al. 2022, arXiv:2212.04356, section 4.5)."""
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw) / len(zlib.compress(raw, 9)) if len(raw) >= LEAST_BYTES else 1.0


def repeated_share(found: list[str]) -> float:
    """Share of the 4-grams that are repeats of earlier ones; 0 below two 4-grams."""
    grams = four_grams(found)
    return 1 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0


def find_loop(found: list[str]) -> list[str] | None:
    """The shortest block of up to 12 words that stands three times in a row (one or two words: five times)."""
    for size in range(1, LOOP_WORDS + 1):
        times = MANY if size < FEW else FEW
        run = 0
        for index in range(size, len(found)):
            run = run + 1 if found[index] == found[index - size] else 0
            if run >= size * (times - 1):
                return found[index + 1 - size : index + 1]
    return None
