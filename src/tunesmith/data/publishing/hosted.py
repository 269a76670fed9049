"""A prepared data set in the formats that hosted tuners take.

    prepared/faq  ->  faq-openai/train.jsonl        {"messages": [{"role": "user", …}, {"role": "assistant", …}]}
                      faq-openai/validation.jsonl   (their `validation_file`; the test split stays at home)

Preference pairs: {"input": {"messages": […]}, "preferred_output": […], "non_preferred_output": […]}; raw text: {"text": …}.
Sources: platform.openai.com/docs/guides/supervised-fine-tuning and …/direct-preference-optimization;
docs.together.ai/docs/fine-tuning/data-preparation. Every record is checked as it will be read before anything is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.data.storing.directory import new_directory
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.data.storing.store import to_line, write_lines
from tunesmith.errors import DataError
from tunesmith.types import Example, ExampleKind, Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuner:
    """What one tuner asks of a file."""

    name: str
    kinds: tuple[ExampleKind, ...]
    fewest_examples: int
    most_bytes: int
    """Of one file."""


TUNERS: Mapping[str, Tuner] = {
    "openai": Tuner(name="OpenAI", kinds=("conversation", "pair"), fewest_examples=10, most_bytes=512 * 1024**2),
    "together": Tuner(name="Together", kinds=("conversation", "pair", "text"), fewest_examples=1, most_bytes=5 * 10**9),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class HostedFile:
    """One file that was written."""

    path: Path
    num_examples: int
    num_bytes: int


def write_for_tuner(prepared: PreparedData, tuner_name: str, out: Path) -> list[HostedFile]:
    """Write train and validation split as `tuner_name` reads them, into a new directory, all or nothing.

    Raises:
        DataError: the tuner does not take such data, a file would be too small or too large for it, or `out` is taken or cannot be written.
    """
    tuner = TUNERS[tuner_name]
    _require_suitable(prepared, tuner)
    splits = {"train": prepared.train, "validation": prepared.validation}
    with new_directory(out) as staging:
        for name, examples in splits.items():
            if examples:
                file = staging / f"{name}.jsonl"
                write_lines(file, map(to_line, _checked(examples)))
                _require_small(file, tuner)
    written = {name: out / f"{name}.jsonl" for name, examples in splits.items() if examples}
    return [HostedFile(path=file, num_examples=len(splits[name]), num_bytes=file.stat().st_size) for name, file in written.items()]


def _require_suitable(prepared: PreparedData, tuner: Tuner) -> None:
    place = str(prepared.directory)
    if prepared.kind not in tuner.kinds:
        expected = {"conversation": "conversations", "pair": "preference pairs", "text": "raw text"}
        raise DataError(
            place,
            "it holds judged answers (KTO)" if prepared.kind == "judged" else "it holds raw text",
            expected=f"for {tuner.name} {' or '.join(expected[kind] for kind in tuner.kinds)}",
            remedy="prepare such data, or train on these here with `tunesmith train`",
        )
    other = next((one for examples in (prepared.train, prepared.validation) for one in examples if one.kind != prepared.kind), None)
    if other is not None:
        found = f"raw text stands beside conversations ({other.source})"
        raise DataError(place, found, expected="one kind of examples in a file", remedy="prepare each kind into a directory of its own")
    if len(prepared.train) < tuner.fewest_examples:
        found = f"it has {len(prepared.train)} training examples"
        raise DataError(place, found, expected=f"at least {tuner.fewest_examples} for {tuner.name}", remedy="add examples")


def _require_small(file: Path, tuner: Tuner) -> None:
    size = file.stat().st_size
    if size > tuner.most_bytes:
        found = f"{size:,} bytes"
        raise DataError(
            file.name, found, expected=f"at most {tuner.most_bytes:,} for {tuner.name}", remedy="prepare fewer rows (`--limit`)"
        )


def _checked(examples: Sequence[Example]) -> Iterator[dict[str, Any]]:
    for example in examples:
        record = hosted_record(example)
        problem = problem_of(json.loads(json.dumps(record)))
        assert problem is None, f"{example.source}: {problem}"
        yield record


def hosted_record(example: Example) -> dict[str, Any]:
    """The example as hosted tuners spell it."""
    if example.text is not None:
        return {"text": example.text}
    if example.rejected is None:
        return {"messages": [_spelt(message) for message in example.messages]}
    return {
        "input": {"messages": [_spelt(message) for message in example.prompt_messages]},
        "preferred_output": [_spelt(example.messages[-1])],
        "non_preferred_output": [{"role": "assistant", "content": example.rejected}],
    }


def _spelt(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.content}


def problem_of(record: Any) -> str | None:
    """Why hosted tuners would refuse a record read from a file; None when they would not."""
    if not isinstance(record, Mapping):
        return "not an object"
    if set(record) == {"text"}:
        return None if isinstance(record["text"], str) and record["text"] else "the text is empty"
    if set(record) == {"messages"}:
        return _problem_of_messages(record["messages"], last="assistant")
    if set(record) == {"input", "preferred_output", "non_preferred_output"}:
        return _problem_of_pair(record)
    return f"the keys {', '.join(map(str, record))} are none of the formats"


def _problem_of_pair(record: Mapping[str, Any]) -> str | None:
    if not isinstance(record["input"], Mapping) or "messages" not in record["input"]:
        return "the input has no messages"
    for side in ("preferred_output", "non_preferred_output"):
        answers = record[side]
        if not isinstance(answers, list) or len(answers) != 1 or _problem_of_message(answers[0]) or answers[0]["role"] != "assistant":
            return f"{side} is not one assistant message"
    return _problem_of_messages(record["input"]["messages"], last="user")


def _problem_of_messages(messages: Any, *, last: str) -> str | None:
    if not isinstance(messages, list) or not messages:
        return "there are no messages"
    if problem := next((found for message in messages if (found := _problem_of_message(message))), None):
        return problem
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[0] == "system" else roles
    if not turns or any(role != ("user", "assistant")[number % 2] for number, role in enumerate(turns)) or turns[-1] != last:
        return f"the roles are {', '.join(roles)}: after an optional system message user and assistant take turns, {last} last"
    return None


def _problem_of_message(message: Any) -> str | None:
    if not isinstance(message, Mapping) or message.get("role") not in ("system", "user", "assistant"):
        return "a message without a known role"
    content = message.get("content")
    if not isinstance(content, str):
        return "the content of a message is no string"
    return "an answer is empty" if message["role"] == "assistant" and not content.strip() else None
