"""Answers that are none: empty, a placeholder, the prompt once more."""

from __future__ import annotations

import re

from tunesmith.data.checks.each import EachExample, Rule, Spot
from tunesmith.data.checks.finding import CheckContext, excerpt
from tunesmith.types import Example

PLACEHOLDERS = frozenset(
    {
        *("todo", "to do", "tbd", "tba", "fixme", "n/a", "n.a", "null", "nan", "xxx", "???", "...", "…", "-", "--", "---"),
        *("placeholder", "to be done", "to be added", "to be determined", "to be announced", "coming soon"),
        *("answer here", "your answer here", "insert answer", "insert answer here", "answer goes here", "write answer here"),
        *("text here", "your text here", "insert text here", "no answer", "no answer provided", "not available"),
        *("asdf", "asdfasdf", "<answer>", "[answer]", "{answer}"),
    }
)
"""Whole answers, in lower case and without the punctuation around them. (`none` and `missing` are answers to some questions.)"""
LONGEST_PLACEHOLDER = 40
"""Characters of an answer that may be one as a whole."""
LONGEST_EMPTY = 80
"""Characters of an answer that may say nothing."""
FEWEST_WORDS_EQUAL, FEWEST_WORDS_BEGUN = 3, 4
"""A greeting may be answered by itself, and a short question may begin its answer."""

_AROUND = " \t\r\n.!:;\"'*_`()"
_NOTHING = re.compile("(?:[\\s.,;:!?…\"'*_`\\u200b-\\u200f\\u2060\\ufeff\\u00ad]|<[^<>]{0,20}>|&nbsp;)*")
_INSERT = re.compile(r"[\[<]\s*(?:please\s+)?(?:insert|fill\s+in|enter|put|write|type)\s[^\]>\n]{0,80}[\]>]", re.IGNORECASE)
_MARKED = re.compile(r"\b(?:TODO|FIXME|TBD)\b(?=\s*[:.!,)\]]|\s*$)")
_FORM = re.compile(
    r"\b(?:write|create|generate|draft|make|design|compose|provide|build)\b.{0,80}\b(?:template|form|letter|e-?mail)",
    re.IGNORECASE | re.DOTALL,
)
_LATIN = re.compile(r"\blorem\s+ipsum\b", re.IGNORECASE)


def empty(context: CheckContext) -> EachExample:
    """Answers in which there is nothing but punctuation, invisible characters or empty markup."""
    sentence = "{how_many} {has} an answer that says nothing"
    return EachExample(Rule(name="empty-answer", spot=spot_empty, sentence=sentence, severity="problem"), context)


def placeholder(context: CheckContext) -> EachExample:
    """Answers that were meant to be written later."""
    sentence = "{how_many} {has} a placeholder where the answer should be"
    return EachExample(Rule(name="placeholder-answer", spot=spot_placeholder, sentence=sentence, severity="problem"), context)


def repeated_prompt(context: CheckContext) -> EachExample:
    """Answers that are the prompt, or begin with all of it."""
    sentence = "{how_many} repeat{s} the prompt in the answer"
    return EachExample(Rule(name="repeated-prompt", spot=spot_repeated_prompt, sentence=sentence, severity="warning"), context)


def spot_empty(example: Example) -> Spot | None:
    """An answer that is not a placeholder, yet empty."""
    answer = example.reference
    if len(answer) > LONGEST_EMPTY or not _NOTHING.fullmatch(answer) or _is_placeholder(answer):
        return None
    return Spot("", _asked(example))


def spot_placeholder(example: Example) -> Spot | None:
    """An answer that is one, or holds one that somebody should have filled in."""
    if example.text is not None:
        return None
    answer = example.reference
    if len(answer) <= LONGEST_PLACEHOLDER and _is_placeholder(answer):
        return Spot("standing alone", _asked(example))
    match = _find_placeholder(answer)
    if match and not _FORM.search(example.prompt):  # who asks for a form gets blanks to fill in
        return Spot("within the answer", excerpt(answer, *match.span()))
    return None


def _is_placeholder(answer: str) -> bool:
    lowered = answer.strip().lower()
    return lowered in PLACEHOLDERS or lowered.strip(_AROUND) in PLACEHOLDERS


def _find_placeholder(answer: str) -> re.Match[str] | None:
    """The cheap conditions first: most answers hold neither a bracket nor capitals like these."""
    if ("[" in answer or "<" in answer) and (match := _INSERT.search(answer)):
        return match
    if ("TODO" in answer or "FIXME" in answer or "TBD" in answer) and "```" not in answer and (match := _MARKED.search(answer)):
        return match
    return _LATIN.search(answer) if "psum" in answer else None


def _asked(example: Example) -> str:
    """An answer this short is shown with its question."""
    return f"{excerpt(example.prompt, length=100)} -> {excerpt(example.reference) or '(nothing)'}"


def spot_repeated_prompt(example: Example) -> Spot | None:
    """Spacing and case aside."""
    prompt, answer = example.prompt, example.reference
    if len(answer) < len(prompt) / 2 or not _may_begin(prompt, answer):
        return None
    asked, said = prompt.casefold().split(), answer.casefold().split()
    if said[: len(asked)] != asked or len(asked) < FEWEST_WORDS_EQUAL:
        return None
    if len(said) == len(asked):
        return Spot("nothing else", excerpt(answer))
    return Spot("before answering", excerpt(answer)) if len(asked) >= FEWEST_WORDS_BEGUN else None


def _may_begin(prompt: str, answer: str) -> bool:
    """Whether the first letters are the same, which is quick to tell."""
    return bool(prompt) and prompt.lstrip()[:8].casefold().split() == answer.lstrip()[:8].casefold().split()
