"""Fixes by name: what a check detects in a text, its fix puts right; every text of an example goes through all that are wanted.

    >>> repair = Repair(("mojibake",))
    >>> repair.apply(example)
    Repaired(example=Example(...), changes=(Change(reason='mojibake', before={'messages[1]': 'caf\\u00c3\\u00a9'}, after=...),))

What detects and fixes is one function in the check's module, so the two cannot disagree. Modules are imported when wanted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tunesmith.data.converting.examples import build_example
from tunesmith.data.parsing.faults import UnusableRowError
from tunesmith.errors import ConfigError
from tunesmith.types import Example

TextFix = Callable[[str], str]

FIXES: Mapping[str, str] = {
    "control-characters": "control_characters:fix",
    "mojibake": "mojibake:fix",
    "template-residue": "residue:fix",
    "pii": "pii:mask",
    "pii-names": "names:mask",
}
"""Name to `module:function` in `checks`, in the order they are made: residue is found once its characters are right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What one fix, or a reviewer, did to an example; only the texts that changed, by part."""

    reason: str
    before: Mapping[str, str]
    after: Mapping[str, str]

    def record(self, source: str) -> dict[str, Any]:
        """For `changed.jsonl`."""
        return {"source": source, "reason": self.reason, "before": dict(self.before), "after": dict(self.after)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Repaired:
    """An example after its fixes; the very same object when there was nothing to fix."""

    example: Example
    changes: tuple[Change, ...] = ()


class Repair:
    """The fixes that are wanted. (Sent to worker processes by name.)"""

    def __init__(self, names: Sequence[str]) -> None:
        """Names as in `FIXES`.

        Raises:
            ConfigError: there is no such fix.
        """
        require_known(names, FIXES, "--fix")
        self.names = tuple(name for name in FIXES if name in names)
        self._fixes: list[tuple[str, TextFix]] | None = None

    def __reduce__(self) -> tuple[type[Repair], tuple[tuple[str, ...]]]:
        return Repair, (self.names,)

    def apply(self, example: Example) -> Repaired:
        """The example with all fixes made, and what each changed.

        Raises:
            UnusableRowError: a fix left nothing of an answer.
        """
        if self._fixes is None:
            self._fixes = [(name, _function(FIXES[name])) for name in self.names]
        changes = []
        for name, fix in self._fixes:
            before = dict(parts(example))
            after = {part: changed for part, text in before.items() if (changed := fix(text)) != text}
            if after:
                _require_answer(after, before, name)
                example = with_parts(example, after)
                changes.append(Change(reason=name, before={part: before[part] for part in after}, after=after))
        return Repaired(example=example, changes=tuple(changes))


def require_known(names: Sequence[str], known: Mapping[str, Any], option: str) -> None:
    """Refuse names that are not known.

    Raises:
        ConfigError: listing those that are.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(option, f"there is no {unknown[0]!r}", expected=f"some of {', '.join(known)}", remedy="correct the name")


def _function(place: str) -> TextFix:
    module, _, name = place.partition(":")
    function: TextFix = getattr(import_module(f"tunesmith.data.checks.{module}"), name)
    return function


def parts(example: Example) -> Iterator[tuple[str, str]]:
    """Every text of an example by the name of its part: `messages[0]`, `rejected`, `text`, `fields.input`."""
    for number, message in enumerate(example.messages):
        yield f"messages[{number}]", message.content
    if example.text is not None:
        yield "text", example.text
    if example.rejected is not None:
        yield "rejected", example.rejected
    for name, value in example.fields.items():
        yield f"fields.{name}", value


def with_parts(example: Example, texts: Mapping[str, str]) -> Example:
    """With some of its parts replaced; id and group follow from the new content."""
    messages = tuple(
        dataclasses.replace(message, content=texts.get(f"messages[{number}]", message.content))
        for number, message in enumerate(example.messages)
    )
    return build_example(
        example.source,
        messages=messages,
        text=None if example.text is None else texts.get("text", example.text),
        rejected=None if example.rejected is None else texts.get("rejected", example.rejected),
        label=example.label,
        fields={name: texts.get(f"fields.{name}", value) for name, value in example.fields.items()},
    )


def _require_answer(after: Mapping[str, str], before: Mapping[str, str], name: str) -> None:
    """A fix may empty a prompt, for users do send nothing; what is to be learnt has to say something."""
    last = f"messages[{sum(part.startswith('messages') for part in before) - 1}]"
    for part in (last, "rejected", "text"):
        if part in after and not after[part].strip():
            raise UnusableRowError(f"nothing left by {name}", f"{part} says nothing once {name} is fixed", "text")
