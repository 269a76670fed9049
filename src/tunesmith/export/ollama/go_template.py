"""The part of Go's text/template that our Modelfiles use, evaluated: what Ollama will make of a conversation.

>>> render_go("{{ range $i, $_ := .Messages }}{{ .Role }}: {{ .Content }}{{ end }}", {"Messages": [...], "System": ""})

Text, fields of the dot and of `$`, string and whole-number constants, `range` with index, `if`/`else if`/`else`, `eq`, `and`, `or`, `not`,
trimming markers. Anything else is an error: nothing is rendered on a guess. Semantics: pkg.go.dev/text/template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class GoTemplateError(ValueError):
    """Not in the part of the language that is known here."""


@dataclass(frozen=True, slots=True)
class Text:
    """What stands outside actions."""

    text: str


@dataclass(frozen=True, slots=True)
class Output:
    """A value to be written."""

    expression: str


@dataclass(frozen=True, slots=True)
class Choice:
    """`if` with all its branches."""

    branches: tuple[tuple[str, tuple[Node, ...]], ...]
    """Condition and body; the condition of `else` is `true`."""


@dataclass(frozen=True, slots=True)
class Loop:
    """`range`."""

    index: str | None
    over: str
    body: tuple[Node, ...]


Node = Text | Output | Choice | Loop

_ACTION = re.compile(r"\{\{(- )?\s*((?:\"(?:[^\"\\]|\\.)*\"|[^\"}]|\}(?!\}))*?)\s*( -)?\}\}", re.DOTALL)


def render_go(template: str, data: Mapping[str, Any]) -> str:
    """Execute a template.

    Raises:
        GoTemplateError: it uses something that is not known here.
    """
    tokens = _tokens(template)
    nodes, end = _parse(tokens, 0)
    if end != len(tokens):
        raise GoTemplateError(f"`{tokens[end][1]}` without a beginning")
    return "".join(_run(nodes, data, {"$": data}))


def _tokens(template: str) -> list[tuple[str, str]]:
    """("text" or "action", what stands there), trimming done."""
    found: list[tuple[str, str]] = []
    place, trim = 0, False
    for match in _ACTION.finditer(template):
        text = template[place : match.start()]
        text = text.lstrip() if trim else text
        found.append(("text", text.rstrip() if match[1] else text))
        found.append(("action", match[2]))
        place, trim = match.end(), bool(match[3])
    rest = template[place:]
    found.append(("text", rest.lstrip() if trim else rest))
    if any(kind == "text" and "{{" in text for kind, text in found):
        raise GoTemplateError("an action that does not end")
    return [(kind, text) for kind, text in found if kind == "action" or text]


def _parse(tokens: Sequence[tuple[str, str]], start: int) -> tuple[tuple[Node, ...], int]:
    """Nodes up to an `end` or `else` that belongs to what is around, and where that stands."""
    nodes: list[Node] = []
    place = start
    while place < len(tokens):
        kind, text = tokens[place]
        word = text.split(" ", 1)[0]
        if kind == "text":
            nodes.append(Text(text))
        elif word in ("end", "else"):
            break
        elif word == "range":
            node, place = _parse_range(tokens, place)
            nodes.append(node)
        elif word == "if":
            node, place = _parse_if(tokens, place)
            nodes.append(node)
        else:
            nodes.append(Output(text))
        place += 1
    return tuple(nodes), place


def _parse_range(tokens: Sequence[tuple[str, str]], place: int) -> tuple[Node, int]:
    match = re.fullmatch(r"range (?:(\$\w+), \$\w+ := )?(\S+)", tokens[place][1])
    if match is None:
        raise GoTemplateError(f"`{tokens[place][1]}`")
    body, end = _parse(tokens, place + 1)
    _require(tokens, end, "end")
    return Loop(match[1], match[2], body), end


def _parse_if(tokens: Sequence[tuple[str, str]], place: int) -> tuple[Node, int]:
    branches = []
    condition: str | None = tokens[place][1].removeprefix("if ")
    while condition is not None:
        body, place = _parse(tokens, place + 1)
        branches.append((condition, body))
        text = tokens[place][1] if place < len(tokens) else ""
        condition = text.removeprefix("else if ") if text.startswith("else if ") else "true" if text == "else" else None
    _require(tokens, place, "end")
    return Choice(tuple(branches)), place


def _require(tokens: Sequence[tuple[str, str]], place: int, word: str) -> None:
    if place >= len(tokens) or tokens[place] != ("action", word):
        raise GoTemplateError(f"a block without its `{word}`")


def _run(nodes: Sequence[Node], dot: Any, variables: Mapping[str, Any]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Text):
            yield node.text
        elif isinstance(node, Output):
            yield str(_value(node.expression, dot, variables))
        elif isinstance(node, Loop):
            for number, item in enumerate(_value(node.over, dot, variables)):
                named = {node.index: number} if node.index else {}
                yield from _run(node.body, item, {**variables, **named})
        else:
            for condition, body in node.branches:
                if _value(condition, dot, variables):
                    yield from _run(body, dot, variables)
                    break


_WORD = re.compile(r"\s*(\"(?:[^\"\\]|\\.)*\"|[()]|[^\s()]+)")


def _value(expression: str, dot: Any, variables: Mapping[str, Any]) -> Any:
    words = _WORD.findall(expression)
    value, rest = _call(words, dot, variables)
    if rest:
        raise GoTemplateError(f"`{expression}`")
    return value


def _call(words: list[str], dot: Any, variables: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """A function and all arguments up to a closing bracket, or one operand."""
    if not words:
        raise GoTemplateError("an empty expression")
    if words[0] not in ("eq", "and", "or", "not"):
        return _operand(words, dot, variables)
    name, rest = words[0], words[1:]
    given: list[Any] = []
    while rest and rest[0] != ")":
        value, rest = _operand(rest, dot, variables)
        given.append(value)
    if len(given) != (1 if name == "not" else 2):
        raise GoTemplateError(f"`{name}` with {len(given)} arguments")
    results = {"eq": given[0] == given[-1], "and": given[0] and given[-1], "or": given[0] or given[-1], "not": not given[0]}
    return results[name], rest


def _operand(words: list[str], dot: Any, variables: Mapping[str, Any]) -> tuple[Any, list[str]]:
    word, rest = words[0], words[1:]
    if word == "(":
        value, rest = _call(rest, dot, variables)
        if not rest or rest[0] != ")":
            raise GoTemplateError("a bracket that is not closed")
        return value, rest[1:]
    if word.startswith('"'):
        return json.loads(word), rest
    if word.isdigit():
        return int(word), rest
    if word == "true":
        return True, rest
    name, *fields = word.split(".")
    value = dot if not name else variables.get(name, _MISSING)
    for field in fields:
        value = value.get(field, _MISSING) if isinstance(value, Mapping) else _MISSING
    if value is _MISSING or word == ".":
        raise GoTemplateError(f"`{word}`")
    return value, rest


_MISSING = object()
