"""Files of prompts for `tunesmith generate`: one prompt a line, or rows with a prompt, question, instruction or messages.

>>> read_prompts(Path("questions.txt")).prompts
(Prompt(source='questions.txt:1', messages=(Message(role='user', content='Do you ship abroad?'),), fields={}),)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.data.converting.conversations import read_messages
from tunesmith.data.parsing.faults import UnusableRowError, require_string, require_whole
from tunesmith.data.parsing.text import decode
from tunesmith.data.reading.readers import READERS, read_rows
from tunesmith.errors import DataError
from tunesmith.types import Message, Row

PROMPT_COLUMNS = ("prompt", "question", "instruction")
CONVERSATION_COLUMNS = ("messages", "conversations")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A conversation that waits for an answer."""

    source: str
    messages: tuple[Message, ...]
    fields: Mapping[str, str] = field(default_factory=dict)
    """`instruction` and `input`, where the file keeps them apart."""

    def with_system(self, text: str | None) -> Prompt:
        """Led by this system message, which replaces one that is there."""
        if text is None:
            return self
        rest = tuple(message for message in self.messages if message.role != "system")
        return Prompt(source=self.source, messages=(Message(role="system", content=text), *rest), fields=self.fields)


def single_prompt(text: str) -> Prompt:
    """What a user typed."""
    return Prompt(source="prompt", messages=(Message(role="user", content=text),))


@dataclass(frozen=True, kw_only=True)
class PromptFile:
    """The prompts of a file, and what was left out of it."""

    prompts: Sequence[Prompt]
    notes: tuple[str, ...] = ()


def read_prompts(path: Path) -> PromptFile:
    """Read a text file, or rows in any format that `prepare` reads.

    Raises:
        DataError: missing, empty, not UTF-8, broken, or without a known column.
    """
    if not path.is_file():
        raise DataError(str(path), "there is no such file", expected="a file of prompts", remedy="correct --file")
    if path.suffix.lower() in READERS and path.suffix.lower() != ".txt":  # a text of many lines is many prompts here
        prompts = [_from_row(row) for row in read_rows(path)]
        answered = sum(1 for prompt, cut in prompts if cut)
        notes = (f"{answered} of {len(prompts)} conversations end in an answer, which is left out",) if answered else ()
        return PromptFile(prompts=[prompt for prompt, _ in prompts], notes=notes)
    lines = decode(path.read_bytes(), path.name, "utf-8").replace("\r\n", "\n").split("\n")
    filled = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not filled:
        raise DataError(path.name, "no prompts", expected="one prompt a line", remedy="check that it was saved")
    blank = len(lines) - len(filled) - (not lines[-1])
    return PromptFile(
        prompts=[Prompt(source=f"{path.name}:{number}", messages=(Message(role="user", content=line),)) for number, line in filled],
        notes=(f"{blank} blank {'line' if blank == 1 else 'lines'} of {path.name} left out",) if blank else (),
    )


def _from_row(row: Row) -> tuple[Prompt, bool]:
    """The row's prompt, and whether an answer was cut off it."""
    columns = {name.casefold(): name for name in require_whole(row).values}
    try:
        for known in CONVERSATION_COLUMNS:
            if known in columns:
                return _from_conversation(row, columns[known])
        for known in PROMPT_COLUMNS:
            if known in columns:
                return _from_columns(row, columns[known], columns.get("input")), False
    except UnusableRowError as fault:
        raise DataError(row.source, str(fault), expected=fault.expected, remedy="correct the row") from None
    raise DataError(
        row.source,
        f"the columns {', '.join(row.values)}",
        expected=f"one of {', '.join((*PROMPT_COLUMNS, *CONVERSATION_COLUMNS))}",
        remedy="rename the column that holds the prompts",
    )


def _from_conversation(row: Row, column: str) -> tuple[Prompt, bool]:
    value = row.values[column]
    is_answered = isinstance(value, list) and bool(value) and _role(value[-1]) in ("assistant", "gpt")
    # `read_messages` checks whole examples: an answer is put where one is due, and taken off again.
    complete = value if is_answered or not isinstance(value, list) else [*value, {"role": "assistant", "content": "-"}]
    return Prompt(source=row.source, messages=read_messages(complete, column)[:-1]), is_answered


def _role(message: object) -> object:
    return message.get("role", message.get("from")) if isinstance(message, Mapping) else None


def _from_columns(row: Row, prompt_column: str, input_column: str | None) -> Prompt:
    text = require_string(row.values[prompt_column], "prompt", prompt_column)
    extra = require_string(row.values[input_column] or "", "input", input_column) if input_column else ""
    if not extra.strip() or prompt_column.casefold() != "instruction":
        return Prompt(source=row.source, messages=(Message(role="user", content=text),))
    message = Message(role="user", content=f"{text}\n\n{extra}")
    return Prompt(source=row.source, messages=(message,), fields={"instruction": text, "input": extra})
