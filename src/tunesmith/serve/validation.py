"""What pydantic found wrong with a body, as one error in OpenAI's shape that names the parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from tunesmith.serve.problems import ApiError, invalid
from tunesmith.serve.schema import ChatRequest, CompletionRequest, Unsupported

UNION_WORDS = ("function-", "constrained-", "list[", "lax-or-strict")


def from_validation(errors: Sequence[Mapping[str, Any]], body: Any) -> ApiError:
    """The error about the place that was reached last: the branch of a union that went furthest is the one that was meant."""
    if any(one["type"] == "json_invalid" for one in errors):
        return invalid(None, "The body is not JSON.", code="invalid_json")
    if not isinstance(body, dict):
        return invalid(None, "The body must be a JSON object, sent with `Content-Type: application/json`.", code="invalid_json")
    error = max(errors, key=lambda one: _progress(_path(one["loc"], body)))
    path = _path(error["loc"], body)
    param = _written(path)
    top = str(path[0]) if path else ""
    if error["type"] == "missing":
        return invalid(param, f"{param} is missing.", code="missing_required_parameter")
    if error["type"] == "extra_forbidden":
        near = get_close_matches(param, [name for name in KNOWN if name != param], n=1) if len(path) == 1 else []
        meant = f" Did you mean {near[0]}?" if near else ""
        return invalid(param, f"There is no parameter {param}.{meant}", code="unknown_parameter")
    if top in UNSUPPORTED or error["type"] == "none_required":
        name = top if top in UNSUPPORTED else param
        message = f"{name} is not supported by this server, but for the value that changes nothing."
        return invalid(name, message, code="unsupported_parameter")
    return invalid(param or None, f"{param or 'The body'}: {_message(error)}.", code="invalid_value")


def _progress(path: Sequence[str | int]) -> tuple[int, tuple[int, ...]]:
    return len(path), tuple(part for part in path if isinstance(part, int))


def _path(loc: Sequence[Any], body: Any) -> list[str | int]:
    """The parts of a place that are in the body, without pydantic's names of unions' branches; and a last one that is missing there."""
    parts = list(loc[1:])  # the first is "body"
    path: list[str | int] = []
    here = body
    for place, part in enumerate(parts):
        if _has(here, part):
            here = here[part]
        elif not (isinstance(here, dict) and place == len(parts) - 1 and isinstance(part, str) and not part.startswith(UNION_WORDS)):
            continue
        path.append(part)
    return path


def _has(here: Any, part: Any) -> bool:
    if isinstance(here, dict):
        return isinstance(part, str) and part in here
    return isinstance(here, list) and isinstance(part, int) and 0 <= part < len(here)


def _written(path: Sequence[str | int]) -> str:
    """`messages[0].content`."""
    words = ""
    for part in path:
        words += f"[{part}]" if isinstance(part, int) else f".{part[:100]}" if words else part[:100]
    return words


def _message(error: Mapping[str, Any]) -> str:
    text = str(error["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:300]


FIELDS = {**ChatRequest.model_fields, **CompletionRequest.model_fields}


def _unsupported() -> frozenset[str]:
    return frozenset(name for name, field in FIELDS.items() if "Unsupported" in repr(field.annotation) or _is_marked(field.metadata))


def _is_marked(metadata: Sequence[Any]) -> bool:
    return any(isinstance(one, Unsupported) for one in metadata)


UNSUPPORTED = _unsupported()
"""Names of parameters that take one value only."""
KNOWN = sorted(FIELDS.keys() - UNSUPPORTED)
