"""An answer must be JSON by a schema; it is generated anew until it is, and an error if it never is.

>>> Checker({"type": "object", "required": ["city"]}, place="json_schema").problem('{"town": "Bern"}')
"the whole: 'city' is a required property"

Schemas come from clients, too (`response_format`; those are checked in another process, see `serve/forms.py`). So nothing is fetched for
a `$ref`, the steps of a check are counted, and patterns have a time limit; `patternProperties` is refused, as its patterns cannot be
given one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from tunesmith.config import Settings
from tunesmith.errors import ConfigError
from tunesmith.serve.guarding import AnswerVerdict, Firing
from tunesmith.serve.guardrails.patterns import well_formed
from tunesmith.types import Message

NAME = "json_schema"
DEEPEST_SCHEMA, MOST_VALUES, MOST_STEPS = 32, 5_000, 100_000
"""Levels of a schema, its values, and keywords that are looked at for one answer."""
MOST_WORDS = 200
"""Characters of a place, and of what is wrong there."""
PATTERN_SECONDS = 0.5
"""For all patterns on one answer."""
CHECK_SECONDS = 2.0
"""To read a schema's patterns, and for all that is checked of one answer."""


class JsonSchemaSettings(Settings):
    """What an answer must be."""

    model_config = ConfigDict(populate_by_name=True)

    definition: Mapping[str, Any] | None = Field(default=None, alias="schema")
    """The schema itself (JSON Schema 2020-12); without one and without a file any JSON will do."""
    file: Path | None = None
    """Where it lies, seen from the file of settings."""
    retries: int = Field(default=2, ge=0, le=10)
    """How often an answer that is not so is generated anew before it is an error."""
    temperature: float = Field(default=0.7, gt=0, le=2)
    """Least temperature of those further tries: at 0 the same answer would come again."""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> JsonSchemaSettings:
        if self.definition is not None and self.file is not None:
            raise ValueError("a schema or a file with one, not both")
        return self


class _TooMuch(Exception):  # noqa: N818
    """Checking would take too long."""


class Checker:
    """A schema that has been looked at."""

    def __init__(self, schema: Mapping[str, Any], *, place: str) -> None:
        """Look at it.

        Raises:
            ConfigError: no schema, too large, or with something that is not supported.
        """
        from jsonschema import Draft202012Validator, FormatChecker
        from jsonschema.exceptions import SchemaError

        _require_tame(schema, place)
        try:
            Draft202012Validator.check_schema(schema, format_checker=FormatChecker(formats=()))
        except SchemaError as error:
            found = f"no JSON Schema ({_in_words(error)})"
            raise ConfigError(place, found, expected="JSON Schema 2020-12", remedy="correct it") from None
        except Exception as error:  # the library takes more for a schema than it can read
            raise _unusable(place, f"{UNUSABLE} ({type(error).__name__})") from error
        self._schema = schema
        _require_answerable(self.problem, place)

    def problem(self, text: str) -> str | None:
        """Why `text` is not what it must be, by place and rule; None: it is."""
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            return f"not JSON ({error})"
        try:
            return self._first_error(value)
        except (_TooMuch, TimeoutError, RecursionError, OverflowError):
            return TOO_MUCH
        except Exception as error:  # noqa: BLE001 - keywords that contradict what the library expects of them, e.g. behind a `$ref`
            return f"{UNUSABLE} ({type(error).__name__})"

    def _first_error(self, value: Any) -> str | None:
        from jsonschema.exceptions import best_match
        from referencing import Registry
        from referencing.exceptions import Unresolvable

        validator = _validator_class()(self._schema, registry=Registry())
        try:
            error = best_match(validator.iter_errors(value))
        except Unresolvable as reason:
            return f"{UNRESOLVED} {str(reason.ref)[:100]!r}"
        if error is None:
            return None
        return _in_words(error)


TOO_MUCH = "the schema takes too long to check"
UNRESOLVED = "the schema refers to what is not in it:"
UNUSABLE = "the schema cannot be checked"


def _require_answerable(problem: Any, place: str) -> None:
    end = time.monotonic() + CHECK_SECONDS
    for trial in ("null", "{}", "[]", '""', "0"):
        found = problem(trial)
        if found is not None and found.startswith((TOO_MUCH, UNRESOLVED, UNUSABLE)):
            raise _unusable(place, found)
        if time.monotonic() > end:
            raise _unusable(place, TOO_MUCH)


def _unusable(place: str, found: str) -> ConfigError:
    expected = "a schema without circles and without references to other documents, whose keywords have values of their kinds"
    return ConfigError(place, found, expected=expected, remedy="correct it")


def _in_words(error: Any) -> str:
    """Of a `ValidationError`: place and rule, each cut, as both may repeat names of any length."""
    where = "/".join(map(str, error.absolute_path)) or "the whole"
    return f"{where[:MOST_WORDS]}: {error.message[:MOST_WORDS]}"


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _require_tame(schema: Any, place: str) -> None:
    """Small enough, every pattern tried, and no pattern where it could not be limited."""
    end = time.monotonic() + CHECK_SECONDS
    for number, (depth, key, value) in enumerate(_walk(schema, 0)):
        if depth > DEEPEST_SCHEMA or number > MOST_VALUES:
            expected = f"at most {DEEPEST_SCHEMA} levels and {MOST_VALUES:,} values"
            raise ConfigError(place, "a schema that is too large", expected=expected, remedy="make it smaller")
        if time.monotonic() > end:
            raise _unusable(place, TOO_MUCH)
        if key == "patternProperties":
            raise ConfigError(place, "patternProperties in the schema", expected="properties by name", remedy="use properties")
        if key == "pattern" and isinstance(value, str):
            well_formed(value, place)


def _walk(value: Any, depth: int) -> Iterator[tuple[int, str | None, Any]]:
    waiting: list[tuple[int, str | None, Any]] = [(depth, None, value)]
    while waiting:
        depth, key, value = waiting.pop()
        yield depth, key, value
        if isinstance(value, Mapping):
            waiting += [(depth + 1, str(name), one) for name, one in value.items()]
        elif isinstance(value, list):
            waiting += [(depth + 1, None, one) for one in value]


def _validator_class() -> Any:
    """A validator for one answer: it counts its steps and limits their time, and that of patterns."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    start = time.monotonic()
    steps, end = 0, start + CHECK_SECONDS

    def counting(keyword: Callable[..., Any]) -> Callable[..., Any]:
        def look(*arguments: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps > MOST_STEPS or time.monotonic() > end:
                raise _TooMuch
            return keyword(*arguments)

        return look

    keywords = dict(Draft202012Validator.VALIDATORS) | {"pattern": partial(_pattern, end=start + PATTERN_SECONDS)}
    return extend(Draft202012Validator, {name: counting(keyword) for name, keyword in keywords.items()})  # type: ignore[no-untyped-call]


def _pattern(validator: Any, expression: str, instance: Any, schema: Any, *, end: float) -> Iterator[Any]:
    """The keyword `pattern`, in what is left of the time."""
    import regex
    from jsonschema.exceptions import ValidationError

    del schema
    left = max(0.001, end - time.monotonic())
    if validator.is_type(instance, "string") and not regex.search(expression, instance, timeout=left):
        yield ValidationError("it does not match its pattern")


def read_schema(settings: JsonSchemaSettings, folder: Path) -> Mapping[str, Any]:
    """The schema, from its file where it lies in one.

    Raises:
        ConfigError: the file cannot be read, or holds no object.
    """
    if settings.file is None:
        return settings.definition or {}
    file = folder / settings.file
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(str(file), f"it cannot be read ({error})", expected="a JSON Schema", remedy="correct json_schema.file") from None
    if not isinstance(found, dict):
        raise ConfigError(str(file), f"a {type(found).__name__}", expected="a JSON Schema, an object", remedy="correct it")
    return found


class JsonSchemaRule:
    """See the module."""

    name = NAME
    checks_prompts, checks_answers = False, True

    def __init__(self, schema: Mapping[str, Any], *, place: str = NAME) -> None:
        self._checker = Checker(schema, place=place)

    def check_answer(self, text: str, messages: Sequence[Message]) -> AnswerVerdict:
        """Say what is wrong with it."""
        del messages
        return verdict_on(text, self._checker.problem(text))


def verdict_on(text: str, problem: str | None) -> AnswerVerdict:
    """Of a text and what is wrong with it; the log is told only that something is."""
    if problem is None:
        return AnswerVerdict(text=text)
    detail = "not JSON" if problem.startswith("not JSON") else "JSON, but not by the schema"
    return AnswerVerdict(text=text, problem=problem, fired=(Firing(rule=NAME, side="answer", action="retry", detail=detail),))
