"""Small views of a text: its content words (its subject, without the words every text has), its code, its runs of four, its beginning."""

from __future__ import annotations

import re
from functools import lru_cache

from tunesmith.evaluate.scorers import rouge_tokenizer

STOP_WORDS = frozenset(
    """a about above after again against all also am an and any are as at be because been before being below between both but by
    can cannot could did do does doing don down during each few for from further get got had has have having he her here hers him
    his how however i if in into is isn it its just let like ll make may me might more most must my need no nor not now of off ok
    on once one only or other our out over own please re s same see shall she should so some such t than thank thanks that the
    their them then there these they thing things this those through to too under until up us use used using ve very was way we
    well were what when where which while who whom why will with won would yes yet you your yours""".split()  # noqa: SIM905 (a list literal would be 150 lines)
)
"""English; of other languages every word counts, so that off-topic is found less often there, never more."""


CODE = re.compile(r"```.*?(?:```|$)|`[^`\n]*`", re.DOTALL)
"""In Markdown: fenced, or inline."""


def content_words(text: str) -> set[str]:
    """Stems of the words of `text` that are no stop words and longer than one letter (a character of Han or Thai counts)."""
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
