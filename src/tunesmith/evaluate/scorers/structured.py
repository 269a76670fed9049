"""Answers that are data: numbers, lists of keywords, JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from tunesmith.evaluate.scorers.scorer import Score, ScoringFunction
from tunesmith.evaluate.words import normalise

DEFAULT_TOLERANCE = 1e-6
"""Of number match, relative: rounding of a printed number, no more."""

_NUMBER = re.compile(
    r"(?<![\w.,])(?P<sign>[-+\u2212]?)\s?[$\u20ac\u00a3\u00a5]?(?P<digits>\d+(?:[.,'\u2019 \u00a0\u2009\u202f]\d+)*|\.\d+)"
    r"(?P<exponent>[eE][-+]?\d{1,3})?(?P<percent>\s?%)?"
)
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:(?P<mark>[.,'\u2019 \u00a0\u2009\u202f])\d{3})(?:(?P=mark)\d{3})*")
_MARKED = re.compile(r"####|\\boxed\{")
_BULLET = re.compile(r"^\s*(?:[-*\u2022\u2013]|\d{1,3}[.)])\s+")
_HEADING = re.compile(r"^[^\n,;:]{1,40}:\s*(?=\S|\n)")
_FENCE = re.compile(r"```[A-Za-z]*\s*\n?(.*?)(?:```|$)", re.DOTALL)


def number_match(tolerance: float = DEFAULT_TOLERANCE) -> ScoringFunction:
    """The scoring function that compares the last number of both: 1 if within the relative `tolerance`, else 0.

    Last, as the answer of a calculation stands at its end (GSM8K, Cobbe et al. 2021); after `####` or within `\\boxed{}` first of
    all. A percent sign on one side alone is read both ways: 45 % is 45 and 0.45. Does not apply to references without a number.
    """

    def function(completion: str, reference: str, prompt: str) -> Score | None:
        expected = final_number(reference)
        if expected is None:
            return None
        found = final_number(completion)
        if found is None:
            return Score(0.0, f"no number where {expected[0]:.12g} is expected")
        right = any(math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-12) for a, b in _readings(found, expected))
        return Score(float(right), "" if right else f"{found[0]:.12g} where {expected[0]:.12g} is expected")

    return function


def _readings(found: tuple[float, bool], expected: tuple[float, bool]) -> Iterator[tuple[float, float]]:
    yield found[0], expected[0]
    if found[1] != expected[1]:
        yield (found[0] / 100, expected[0]) if found[1] else (found[0], expected[0] / 100)


def final_number(text: str) -> tuple[float, bool] | None:
    """The number a text comes to, and whether it is in percent; None where there is none."""
    marked = list(_MARKED.finditer(text))
    match = _NUMBER.search(text, marked[-1].end()) if marked else None
    for found in () if match else _NUMBER.finditer(text):
        match = found
    if match is None:
        return None
    sign = -1.0 if match["sign"] in ("-", "\u2212") else 1.0
    value = sign * float(plain_digits(match["digits"]) + (match["exponent"] or ""))
    return (value, bool(match["percent"])) if math.isfinite(value) else None


def plain_digits(text: str) -> str:
    """Digits with a point as Python reads them: `1,234.5`, `1.234,5`, `1 234,5` and `1'234.5` are 1234.5.

    Of one mark alone, `1,234` is a thousand and `1.234` is not, as in English.
    """
    marks = [character for character in text if not character.isdigit()]
    if marks in ([], ["."]):
        return text
    if _GROUPED.fullmatch(text):
        return re.sub(r"\D", "", text)
    if marks[-1] in ".," and marks.count(marks[-1]) == 1:  # the last mark is the decimal one
        whole, _, fraction = text.rpartition(marks[-1])
        if len(marks) == 1 or _GROUPED.fullmatch(whole):
            return re.sub(r"\D", "", whole) + "." + fraction
    return re.split(r"\D", text)[-1]  # "1, 2 3": several numbers


def keyword_f1(completion: str, reference: str, prompt: str) -> Score | None:
    """F1 over the sets of keywords, 0 to 1: lists with commas, semicolons, lines, bullets or as JSON; order and case do not count."""
    expected, found = keywords(reference), keywords(completion)
    if not expected:
        return None
    shared = expected & found
    value = 2 * len(shared) / (len(expected) + len(found)) if shared else 0.0
    missing, extra = _shown("missing", expected - found), _shown("not asked for", found - expected)
    return Score(value, "; ".join([f"{len(shared)} of {len(expected)} found", *missing, *extra]))


def _shown(what: str, names: set[str] | frozenset[str], most: int = 5) -> list[str]:
    if not names:
        return []
    return [f"{what}: {', '.join(sorted(names)[:most])}{' …' if len(names) > most else ''}"]


def keywords(text: str) -> frozenset[str]:
    """The normalised items of a list; a heading such as `Keywords:` is none."""
    return frozenset(key for item in list_items(text) if (key := normalise(item)))


def list_items(text: str) -> list[str]:
    """The items of a list as written: JSON, else lines, else semicolons, else commas; one item where there is no separator."""
    value = whole_json(text)
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return [str(item) for item in value]
    body = _HEADING.sub("", text.strip())
    lines = [line for line in body.splitlines() if line.strip()]
    bulleted = [_BULLET.sub("", line) for line in lines]
    if len(lines) > 1 and not any(_separator(line) for line in bulleted):
        return [line.strip() for line in bulleted]
    items = [item for line in bulleted for item in line.split(_separator(line) or "\n")]
    stripped = [item.strip().strip(".") for item in items if item.strip()]
    if len(stripped) > 1:  # "red, green, and blue", "red, green and blue"
        stripped[-1:] = [item for item in re.split(r"(?:^|\s)and\s", stripped[-1]) if item]
    return stripped


def _separator(line: str) -> str | None:
    return ";" if ";" in line else "," if "," in line else None


def json_valid(completion: str, reference: str, prompt: str) -> Score:
    """1 if the completion is JSON (RFC 8259) and nothing else, a code fence around it allowed, else 0."""
    try:
        parse_json(_unfenced(completion.strip()))
    except (ValueError, RecursionError) as error:
        return Score(0.0, f"no JSON: {error}")
    return Score(1.0)


def json_fields(completion: str, reference: str, prompt: str) -> Score | None:
    """F1 over the fields (paths to strings, numbers, true, false, null) with their values, 0 to 1.

    JSON within other text is found. Does not apply to references that are no JSON object or array.
    """
    expected_value = whole_json(reference)
    if expected_value is None:
        return None
    value = find_json(completion)
    expected = dict(_fields(expected_value))
    if value is None:
        return Score(0.0, "no JSON object or array in it")
    found = dict(_fields(value))
    right = {path for path, leaf in expected.items() if path in found and _same(found[path], leaf)}
    wrong = {f"{path or 'value'} ({found[path]!r} for {expected[path]!r})" for path in expected.keys() & found.keys() - right}
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    parts = [
        f"{len(right)} of {len(expected)} fields right",
        *_shown("wrong", wrong),
        *_shown("missing", missing),
        *_shown("not asked for", extra),
    ]
    return Score(2 * len(right) / (len(expected) + len(found)), "; ".join(parts))


def whole_json(text: str) -> Any | None:
    """The JSON object or array that a text is, a code fence around it allowed; None where it is none."""
    for candidate in (text.strip(), _unfenced(text)):
        try:
            value = parse_json(candidate)
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, dict | list) else None
    return None


def find_json(text: str) -> Any | None:
    """The JSON object or array that a text is, or the first within it; None where there is none."""
    if (whole := whole_json(text)) is not None:
        return whole
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    for match in re.finditer(r"[{\[]", text):
        try:
            return decoder.raw_decode(text, match.start())[0]
        except (ValueError, RecursionError):
            continue
    return None


def parse_json(text: str) -> Any:
    """As RFC 8259 says: `NaN` and `Infinity`, which Python's reader takes, are no JSON.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deep to read.
    """
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _unfenced(text: str) -> str:
    match = _FENCE.search(text)
    return match[1].strip() if match else text


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Paths to leaves; an empty object or array is one."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _fields(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _fields(inner, f"{path}[{index}]")
    else:
        yield path, value


def _same(found: Any, expected: Any) -> bool:
    """Strings but for white space around them and case; 1 is 1.0 but not true."""
    if isinstance(found, str) and isinstance(expected, str):
        return found.strip().casefold() == expected.strip().casefold()
    return isinstance(found, bool) == isinstance(expected, bool) and bool(found == expected)
