"""Error groups of claims that nothing supports: addresses, numbers and names that are in no prompt, reference or training example.

What a model knows from its own training may be true all the same: these groups say "not supported by your data", and show what.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunesmith.analyze.claims import addresses_in, names_in, numbers_in, plain_words
from tunesmith.analyze.groups import GroupContext
from tunesmith.analyze.shapes import is_number
from tunesmith.analyze.spelling import is_common_word
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer

SHOWN = 5


def invented_address(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Web and mail addresses."""
    known = context.knowledge.addresses.union(*(addresses_in(text) for text in _given(asked)))
    return _listed(one for one in addresses_in(answer.completion) if one not in known and not _is_part_of(one, known))


def _is_part_of(address: str, known: Iterable[str]) -> bool:
    """The beginning of a known one, as where `acme.com/docs/start` is known and `acme.com` is said."""
    return any(one.startswith((f"{address}/", f"{address}?", f"{address}#")) or one.endswith(f"@{address}") for one in known)


def invented_number(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Numbers in figures; where the reference is a number alone, another one is simply wrong."""
    if is_number(asked.reference):
        return None
    known = context.knowledge.numbers.union(*(numbers_in(text, all_forms=True) for text in _given(asked)))
    return _listed(one for one in numbers_in(answer.completion) if one not in known)


def invented_name(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Names: capitalised words, inside a sentence or several together, that are no common English words either."""
    known = context.knowledge.words.union(*(plain_words(text) for text in _given(asked)))
    return _listed(" ".join(name) for name in names_in(answer.completion) if _is_unknown(name, known))


def _is_unknown(name: tuple[str, ...], known: frozenset[str]) -> bool:
    parts = [word for part in name for word in plain_words(part)]
    unknown = [word for word in parts if word not in known]
    if not unknown or (len(parts) == 1 and name[0].isupper() and len(name[0]) <= 5):  # an abbreviation
        return False
    return any(not is_common_word(word) for word in unknown)


def _given(asked: EvaluationRecord) -> list[str]:
    return [asked.prompt, asked.reference, *(message.content for message in asked.messages)]


def _listed(found: Iterable[str]) -> str | None:
    each = list(found)
    if not each:
        return None
    more = f" and {len(each) - SHOWN} more" if len(each) > SHOWN else ""
    return f"{', '.join(each[:SHOWN])}{more}: neither in prompt and reference nor in the training data"
