"""Error groups about the language itself: answers in another one, and words that are spelt wrong."""

from __future__ import annotations

import unicodedata
from collections import Counter

from tunesmith.analyze.groups import GroupContext
from tunesmith.data.checks.languages import LANGUAGES, identify
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.types import Example

FEWEST_LETTERS = 6
"""Of a script, from which a short answer can be called written in it."""
MOST_OF = 0.6
"""Of the letters of an answer, in one script."""
_KINDRED = frozenset({"CJK", "HIRAGANA", "KATAKANA"})
"""Japanese is written in all three."""


def wrong_language(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """In another language than the reference, or where that cannot be told, than the training answers and the prompt."""
    expected = _expected(asked, context)
    found = identify(answer.completion)
    if found and expected:
        return (
            None
            if found in expected
            else f"{LANGUAGES[found]} where {' or '.join(LANGUAGES[code] for code in sorted(expected))} is expected"
        )
    script, known = _script(answer.completion), _scripts(asked.reference + asked.prompt)
    return f"written in {script.capitalize()} letters, the reference is not" if script and known and script not in known else None


def _expected(asked: EvaluationRecord, context: GroupContext) -> frozenset[str]:
    if code := identify(asked.reference):
        return frozenset({code})
    prompt = identify(asked.prompt)
    return context.knowledge.languages | (frozenset({prompt}) if prompt else frozenset())


def _script(text: str) -> str | None:
    """The script that most letters of a text are in."""
    counts = _counts(text)
    script, count = counts.most_common(1)[0] if counts else ("", 0)
    return script if count >= FEWEST_LETTERS and count >= MOST_OF * counts.total() else None


def _scripts(text: str) -> set[str]:
    found = set(_counts(text))
    return found | _KINDRED if found & _KINDRED else found


def _counts(text: str) -> Counter[str]:
    """Letters by script, the first word of their Unicode name."""
    return Counter(unicodedata.name(one, "?").split()[0] for one in text if one.isalpha())


def misspelt(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """English words nearly surely misspelt; prompt and reference are always right."""
    known = " ".join([asked.prompt, asked.reference, *(message.content for message in asked.messages)])
    found = context.spelling.misspelt(answer.completion, known=known)
    return ", ".join(f"{word!r} for {meant!r}" for word, meant in found) or None


def language_in_training(example: Example, context: GroupContext) -> str | None:
    """A training answer in a language that neither its prompt nor hardly any other answer is in, and that the prompt does not name."""
    found, asked = identify(example.reference), identify(example.prompt)
    if found is None or asked is None or asked == found or not context.knowledge.languages or found in context.knowledge.languages:
        return None
    if LANGUAGES[found].casefold() in example.prompt.casefold():
        return None
    return f"the answer is {LANGUAGES[found]}, its prompt {LANGUAGES[asked]}"
