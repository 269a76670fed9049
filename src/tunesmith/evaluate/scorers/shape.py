"""What kind of answers a data set has, and the scorers that suit them.

    >>> shape_of(["card_arrival", "top_up", "card_arrival", ...])
    'labels'

Looked at are references alone: those of training and held-out examples together, as a few held-out ones tell little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Literal

from tunesmith.evaluate.scorers.labels import label_key
from tunesmith.evaluate.scorers.structured import list_items, whole_json
from tunesmith.evaluate.words import num_words

Shape = Literal["json", "labels", "numbers", "lists", "short", "prose"]

SCORERS_OF: Mapping[Shape, tuple[str, ...]] = {
    "json": ("json_fields", "json_valid"),
    "labels": ("label_accuracy", "exact_match"),
    "numbers": ("number_match", "exact_match"),
    "lists": ("keyword_f1", "token_f1"),
    "short": ("exact_match", "token_f1", "chrf"),
    "prose": ("rouge_l", "token_f1", "chrf"),
}
"""The first decides, beside the loss, whether the tuned model is better."""

NEARLY_ALL = 0.9
"""Share of the references that must look alike."""
LEAST_PER_LABEL = 5
"""References for each label on average; fewer, and they are short answers."""
MOST_LABEL_WORDS = 10
"""In the longest label: `transfer not received by recipient`, not a sentence."""
MOST_RATINGS = 10
"""More different numbers than these are numbers, not labels such as one to five stars."""
MOST_KEYWORD_WORDS = 5
MOST_SHORT_WORDS = 3
"""A data set whose median reference has at most this many words has short answers, and nearly right is wrong."""

_NUMBER = re.compile(
    r"[-+\u2212]?\s?[$\u20ac\u00a3\u00a5]?\s?\d[\d.,'\u2019 \u00a0\u2009\u202f]*(?:[eE][-+]?\d+)?"
    r"\s?(?:%|[^\W\d_]{1,12})?\.?"  # a unit
)
_SENTENCE_END = re.compile(r"[.!?\u3002]\s*$")


def shape_of(references: Sequence[str]) -> Shape:
    """The kind of these references; `prose` where nothing else is clear."""
    if _most(references, lambda text: whole_json(text) is not None):
        return "json"
    distinct = len(set(map(label_key, references)))
    are_numbers = _most(references, lambda text: _NUMBER.fullmatch(text.strip()) is not None)
    few = 2 <= distinct <= len(references) / LEAST_PER_LABEL
    if few and max(map(num_words, references)) <= MOST_LABEL_WORDS and not (are_numbers and distinct > MOST_RATINGS):
        return "labels"
    if are_numbers:
        return "numbers"
    if _are_lists(references):
        return "lists"
    return "short" if references and median(map(num_words, references)) <= MOST_SHORT_WORDS else "prose"


def _most(references: Sequence[str], is_so: Callable[[str], bool]) -> bool:
    return bool(references) and sum(map(is_so, references)) >= NEARLY_ALL * len(references)


def _are_lists(references: Sequence[str]) -> bool:
    """Half of them have several short items, nearly all have short ones only, and they are no sentences."""
    items = [[] if _SENTENCE_END.search(text) else list_items(text) for text in references]
    short = [bool(found) and max(map(num_words, found)) <= MOST_KEYWORD_WORDS for found in items]
    several = sum(is_short and len(found) > 1 for is_short, found in zip(short, items, strict=True))
    return sum(short) >= NEARLY_ALL * len(references) > 0 and 2 * several >= len(references)
