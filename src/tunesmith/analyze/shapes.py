"""The error group of wrong formats: the reference is JSON, a number, a label, a list, code, a table, and the completion is not.

>>> shape_of('{"queue": "billing"}')
'JSON'
>>> shape_of("- one\\n- two\\n- three")
'list'
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from tunesmith.analyze.groups import GroupContext
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers.labels import label_key
from tunesmith.types import Example

Shape = Literal["JSON", "number", "list", "code", "table", "Markdown"]

LIST_SHARE = 0.5
"""Of the lines that are items, from which a text is a list."""
FEWEST_ITEMS = 2
_NUMBER = re.compile(r"[-+−]?[$€£¥]?\s?\d[\d,.\s]*(?:\s?(?:%|€|\$|£))?")
_ITEM = re.compile(r"^[ \t]*(?:[-*•+–]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])[ \t]+\S", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)
_CODE_LINE = re.compile(
    r"^\s*(?:def \w+\(|class \w+[:(]|import \w|from [\w.]+ import |return\b|(?:if|for|while|elif|else|try|with)\b.*:$|[\w.]+ ?=[^=]"
    r"|[\w.]+\(.*\);?$"
    r"|#include|public |private |function |const |let |var |SELECT |INSERT |UPDATE |</?\w+[^>]*>$|[{}\])];?$|.*[;{]$|\$ \w|//|#!)"
)
_TABLE = re.compile(r"^[ \t]*\|?[ \t:]*-{2,}[ \t:]*\|[-| \t:]*$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} \S", re.MULTILINE)


def shape_of(text: str) -> Shape | None:
    """The format that a reader or a program would expect again; None for plain text."""
    stripped = text.strip()
    if stripped[:1] in "{[" and parse_json(stripped) is not None:
        return "JSON"
    if is_number(stripped):
        return "number"
    if is_code(stripped):
        return "code"
    if _TABLE.search(stripped):
        return "table"
    if is_list(stripped):
        return "list"
    return "Markdown" if _HEADING.search(stripped) else None


def parse_json(text: str) -> Any:
    """An object or a list, else None; a lone word, number or string is no JSON to anybody who asks for it."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


def is_number(text: str) -> bool:
    """A number alone, perhaps with its sign, currency or per cent."""
    return bool(_NUMBER.fullmatch(text.strip().rstrip(".")))


def is_list(text: str) -> bool:
    """Half of the lines, and two at least, begin as items do."""
    lines = [line for line in text.splitlines() if line.strip()]
    items = len(_ITEM.findall(text))
    return items >= FEWEST_ITEMS and items >= LIST_SHARE * len(lines)


def is_code(text: str) -> bool:
    """A fenced block, or most lines look like code and there are two at least."""
    if _FENCE.search(text):
        return True
    lines = [line for line in text.splitlines() if line.strip()]
    return len(lines) >= 2 and sum(bool(_CODE_LINE.match(line)) for line in lines) >= 0.6 * len(lines)


def wrong_format(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """The reference has a format that the completion lacks; empty answers have their own group."""
    said = answer.completion.strip()
    if not said:
        return None
    known = context.knowledge.labels
    if label_key(asked.reference) in known:
        return None if label_key(said) in known else f"none of the {len(known)} labels of the training data"
    shape = shape_of(asked.reference)
    if shape is None:
        return None
    if shape == "JSON":
        return _unlike_json(said, parse_json(asked.reference.strip()))
    return None if _HAS[shape](said) else f"the reference is {_WITH_ARTICLE[shape]}, the answer is not"


_HAS: Mapping[Shape, Callable[[str], bool]] = {
    "number": is_number,
    "code": is_code,
    "table": lambda text: bool(_TABLE.search(text)),
    "list": lambda text: len(_ITEM.findall(text)) >= FEWEST_ITEMS,
    "Markdown": lambda text: bool(_HEADING.search(text)),
}
_WITH_ARTICLE = {"number": "a number", "code": "code", "table": "a table", "list": "a list", "Markdown": "Markdown with headings"}


def _unlike_json(said: str, expected: Any) -> str | None:
    found = parse_json(said)
    if found is None:
        inside = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", said, re.DOTALL)
        if inside and parse_json(inside[1]) is not None:
            return "its JSON stands inside a code fence, the reference's does not"
        return f"it does not parse as JSON ({_why_not(said)})" if said[:1] in "{[" else "the reference is JSON, the answer is not"
    if type(found) is not type(expected):
        found_kind, expected_kind = ("an object" if isinstance(one, dict) else "a list" for one in (found, expected))
        return f"JSON, but {found_kind} where the reference is {expected_kind}"
    missing = [key for key in expected if key not in found] if isinstance(expected, dict) else []
    return f"its JSON lacks {', '.join(map(repr, missing[:3]))}" if missing else None


def _why_not(text: str) -> str:
    try:
        json.loads(text)
    except ValueError as error:
        return str(error)
    return "a lone value"


def format_in_training(example: Example, context: GroupContext) -> str | None:
    """A training answer that looks like JSON and does not parse."""
    said = example.reference.strip()
    looks = (said[:1], said[-1:]) in {("{", "}"), ("[", "]")} and '"' in said
    return f"the answer does not parse as JSON ({_why_not(said)})" if looks and parse_json(said) is None else None
