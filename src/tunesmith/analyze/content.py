"""Small views of a text: its content words (its subject, without the words every text has), its code, its runs of four, its beginning."""

from __future__ import annotations

import re
from functools import lru_cache

from tunesmith.data.comparing.stop_words import STOP_WORDS
from tunesmith.evaluate.scorers import rouge_tokenizer

CODE = re.compile(r"```.*?(?:```|$)|`[^`\n]*`", re.DOTALL)
"""In Markdown: fenced, or inline."""


def content_words(text: str) -> set[str]:
    """Stems of the words of `text` that are no stop words and longer than one letter (a character of Han or Thai counts).

    The stop words are English: of other languages every word counts, so that off-topic is found less often there, never more.
    """
    stop_stems = _stop_stems()
    return {stem for stem in rouge_tokenizer().tokenize(text) if stem not in stop_stems and (len(stem) > 1 or not stem.isascii())}


def four_grams(found: list[str]) -> list[tuple[str, ...]]:
    """Runs of four words, in order."""
    return [tuple(found[i : i + 4]) for i in range(len(found) - 3)]


def shortened(text: str, length: int = 80) -> str:
    """The beginning of `text` on one line."""
    even = " ".join(text.split())
    return even if len(even) <= length else f"{even[: length - 1]}…"


@lru_cache(maxsize=1)
def _stop_stems() -> frozenset[str]:
    return frozenset(rouge_tokenizer().tokenize(" ".join(STOP_WORDS)))
