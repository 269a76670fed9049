"""Answers by a schema; schemas that clients send cannot fetch, hang or crash."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunesmith.errors import ConfigError
from tunesmith.serve.guardrails import json_schema
from tunesmith.serve.guardrails.json_schema import TOO_MUCH, UNUSABLE, Checker, JsonSchemaRule

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}},
    "required": ["city"],
    "additionalProperties": False,
}


def checker(schema: Any) -> Checker:
    return Checker(schema, place="response_format")


@pytest.mark.parametrize("text", ['{"city": "Bern"}', ' {"city":"Bern"}\n'])
def test_what_is_by_the_schema_passes(text: str) -> None:
    assert checker(CITY).problem(text) is None
    assert JsonSchemaRule(CITY).check_answer(text, ()).is_retry is False


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Bern", "not JSON"),
        ('{"city": "Bern"', "not JSON"),
        ('```json\n{"city": "Bern"}\n```', "not JSON"),
        ('{"city": NaN}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("1" * 10_000, "not JSON"),
        ('{"town": "Bern"}', "city"),
        ('{"city": 3}', "city: 3 is not of type"),
        ('{"city": "bern"}', "city: it does not match its pattern"),
        ('{"city": "Bern", "x": 1}', "Additional properties"),
    ],
)
def test_what_is_not_is_told_and_made_anew(text: str, problem: str) -> None:
    assert problem in (checker(CITY).problem(text) or "")
    verdict = JsonSchemaRule(CITY).check_answer(text, ())
    assert verdict.is_retry
    assert "Bern" not in str(verdict.fired[0])


def deep(levels: int) -> dict[str, Any]:
    return {"items": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"type": "nonsense"}, "no JSON Schema"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "refers to what is not in it"),
        ({"$ref": "file:///etc/passwd"}, "refers to what is not in it"),
        ({"$ref": "#/$defs/nothing"}, "refers to what is not in it"),
        ({"$ref": "#"}, "too long"),
        ({"multipleOf": float("nan")}, "cannot be checked"),
        ({"$ref": "#/foo", "foo": {"minimum": "x"}}, "cannot be checked"),
        ({"patternProperties": {"(a+)+$": {}}}, "patternProperties"),
        ({"pattern": "("}, "no regular expression"),
        (deep(40), "too large"),
        ({"enum": list(range(6000))}, "too large"),
    ],
)
def test_hostile_schemas_are_refused(schema: Any, found: str) -> None:
    with pytest.raises(ConfigError, match=found) as caught:
        checker(schema)
    assert "response_format" in str(caught.value)


def test_what_no_trial_meets_is_a_problem_of_the_answer() -> None:
    assert UNUSABLE in (checker({"properties": {"a": {"multipleOf": float("nan")}}}).problem('{"a": 1}') or "")


def test_reading_and_checking_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = checker(CITY)
    monkeypatch.setattr(json_schema, "CHECK_SECONDS", -1.0)
    assert made.problem('{"city": "Bern"}') == TOO_MUCH
    with pytest.raises(ConfigError, match="too long"):
        checker({})
    with pytest.raises(ConfigError, match="too long"):
        json_schema._require_answerable(lambda _: None, "x")


def test_schemas_that_explode_stop() -> None:
    """Each level refers twice to the next."""
    levels = {f"l{i}": {"allOf": [{"$ref": f"#/$defs/l{i + 1}"}] * 2} for i in range(25)} | {"l25": {"type": "integer"}}
    with pytest.raises(ConfigError, match="too long"):
        checker({"$defs": levels, "$ref": "#/$defs/l0"})


def test_slow_patterns_stop() -> None:
    assert checker({"pattern": "(a|a)*$"}).problem(json.dumps("a" * 5000 + "!")) == TOO_MUCH
