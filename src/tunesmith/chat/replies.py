"""Reading what a model wrote: the first JSON value of its reply, taken strictly.

>>> read_pairs('Sure!\n```json\n[{"question": "Why?", "answer": "So."}]\n```', "question", "answer")
[('Why?', 'So.')]
"""

from __future__ import annotations

import json
import re
from typing import Any

OPENING = re.compile(r"[\[{]")


class UnreadableReplyError(Exception):
    """Raised for a reply that is not what was asked for; counted, never kept."""


def first_json(reply: str) -> Any:
    """The first array or object in a reply, whatever stands around it.

    Raises:
        UnreadableReplyError: there is none.
    """
    decoder = json.JSONDecoder()
    for found in OPENING.finditer(reply):
        try:
            value, _ = decoder.raw_decode(reply, found.start())
        except (ValueError, RecursionError):
            continue
        return value
    raise UnreadableReplyError("no JSON in the reply")


def read_records(reply: str, *names: str) -> list[dict[str, str]]:
    """The objects of a reply, each with all of `names` as non-empty strings; one object alone counts as a list of one.

    Raises:
        UnreadableReplyError: something else was written; half-right lists are not trusted.
    """
    value = first_json(reply)
    if isinstance(value, dict) and not set(names) <= value.keys():
        lists = [one for one in value.values() if isinstance(one, list)]  # {"pairs": […]}, as JSON modes like it
        value = lists[0] if len(lists) == 1 else value
    records = value if isinstance(value, list) else [value]
    for record in records:
        if not isinstance(record, dict) or any(not isinstance(record.get(name), str) or not record[name].strip() for name in names):
            raise UnreadableReplyError(f"an item of the reply is no object with {', '.join(names)}")
    return [{name: record[name].strip() for name in names} | _others(record, names) for record in records]


def _others(record: dict[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    return {key: value.strip() for key, value in record.items() if key not in names and isinstance(value, str)}


def read_strings(reply: str) -> list[str]:
    """The non-empty strings of a reply's JSON list.

    Raises:
        UnreadableReplyError: something else was written.
    """
    value = first_json(reply)
    if isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UnreadableReplyError("the reply is no list of strings")
    return [one.strip() for one in value if one.strip()]


def read_verdict(reply: str) -> bool:
    """Yes or no, as the reply's first word.

    Raises:
        UnreadableReplyError: neither.
    """
    word = re.match(r"\W*([A-Za-z]+)", reply)
    verdict = {"yes": True, "no": False}.get(word.group(1).casefold()) if word else None
    if verdict is None:
        raise UnreadableReplyError("the verdict is neither yes nor no")
    return verdict
