"""Saving what was said in the playground as an example: appended to a JSON Lines file of the data directory, for `tunesmith prepare`.

A line:

    {"messages": [{"role": "user", "content": "Is it free?"}, {"role": "assistant", "content": "Yes."}]}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tunesmith.errors import DataError
from tunesmith.evaluate.votes import append_lines
from tunesmith.types import Message

DEFAULT_NAME = "playground.jsonl"
SUFFIX = ".jsonl"
LONGEST_NAME = 100


def append_example(data_dir: Path, name: str, messages: Sequence[Message]) -> Path:
    """Add a conversation, which ends in the answer to learn, to `data_dir/name`; what is there stays.

    Args:
        data_dir: where prepared data sets are; made where it is missing.
        name: of a file directly in it; `.jsonl` is added where it is left out.
        messages: the conversation.

    Raises:
        DataError: the name is no file's name, the file is something else, or a message is empty.
    """
    file = data_dir / _file_name(name)
    if file.exists() and not file.is_file():
        raise DataError(str(file), "it is no file", expected="a JSON Lines file, or none", remedy="choose another name")
    if empty := next((message.role for message in messages if not message.content.strip()), None):
        raise DataError(file.name, f"the {empty} message is empty", expected="text", remedy="write what it should say")
    append_lines(file, [{"messages": [{"role": one.role, "content": _writable(one.content)} for one in messages]}])
    return file


def _file_name(name: str) -> str:
    """Without any way out of the directory."""
    given = name.strip()
    full = given if given.endswith(SUFFIX) else given + SUFFIX
    if not re.fullmatch(r"\w[\w.+-]*", full, re.ASCII) or len(full) > LONGEST_NAME:
        expected = f"letters, digits and . _ + -, at most {LONGEST_NAME} of them"
        raise DataError("the file's name", f"{given[:120]!r}", expected=expected, remedy="choose another name")
    return full


def _writable(text: str) -> str:
    """Halves of characters, which a browser may send, cannot be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()
