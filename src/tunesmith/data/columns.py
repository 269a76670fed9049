"""Which columns hold what: recognised by their names, or named by the user.

    >>> str(recognise(rows_from_records([{"id": 7, "Question": "…", "Answer": "…"}]), PrepareConfig()))
    'Question -> prompt, Answer -> completion (question/answer)'

Names are compared without regard to case. Nothing is guessed: when two layouts fit and neither takes in the other, the
user is asked. A layout takes in another when it uses all of its columns and more, as Alpaca does with input/output.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from tunesmith.config import PrepareConfig
from tunesmith.errors import DataError
from tunesmith.types import Row

Kind = Literal["prompt-completion", "messages", "sharegpt", "text"]

KEYS_REMEDY = "name the columns with `--prompt-key COLUMN --completion-key COLUMN`"
METADATA_COLUMNS = frozenset({"column 1", "date", "id", "meta", "metadata", "source", "timestamp", "title", "url"})
"""May stand beside `text` without raising the question whether `text` is a prompt. (`column 1`: an unnamed CSV index.)"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The columns of one source and their parts. Either `prompt` and `completion` are set, or `content`."""

    kind: Kind
    name: str
    """`question/answer`, `Alpaca`, …, or `as named`."""
    prompt: str | None = None
    completion: str | None = None
    input: str | None = None
    """What follows the prompt, when there is such a column."""
    content: str | None = None
    """The column with the whole conversation or the raw text."""
    unused: tuple[str, ...] = ()
    """Columns that play no part."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are used, prompt first."""
        return tuple(column for column in (self.prompt, self.input, self.completion, self.content) if column is not None)

    def __str__(self) -> str:
        """In words, as the screen and the report say it."""
        if self.kind == "text":
            return f"{self.content} -> raw text, every token supervised"
        if self.content is not None:
            return f"{self.content} -> conversation ({self.name})"
        prompt = self.prompt if self.input is None else f"{self.prompt} + {self.input}"
        return f"{prompt} -> prompt, {self.completion} -> completion ({self.name})"


KNOWN = (
    Layout(kind="prompt-completion", name="question/answer", prompt="question", completion="answer"),
    Layout(kind="prompt-completion", name="instruction/response", prompt="instruction", completion="response"),
    Layout(kind="prompt-completion", name="Alpaca", prompt="instruction", input="input", completion="output"),
    Layout(kind="prompt-completion", name="Alpaca without input", prompt="instruction", completion="output"),
    Layout(kind="prompt-completion", name="input/output", prompt="input", completion="output"),
    Layout(kind="prompt-completion", name="prompt/completion", prompt="prompt", completion="completion"),
    Layout(kind="messages", name="OpenAI messages", content="messages"),
    Layout(kind="sharegpt", name="ShareGPT", content="conversations"),
    Layout(kind="text", name="raw text", content="text"),
)
"""What is recognised, in the order in which errors list it."""


def recognise(rows: Sequence[Row], config: PrepareConfig) -> Layout:
    """Find the layout of one source's rows; the keys of `config` win over recognition.

    Raises:
        DataError: no layout fits, several do, or a key is not a column; lists the columns and the option to use.
    """
    if not rows:
        raise DataError("rows", "there are none", expected="at least one", remedy="give some")
    columns = _Columns(names=tuple(dict.fromkeys(name for row in rows for name in row.values)), place=rows[0].source)
    if config.prompt_key or config.completion_key:
        return _named(columns, config)
    layout = _recognised(columns)
    return _with_input(layout, columns, config.input_key) if config.input_key else layout


@dataclass(frozen=True, kw_only=True, slots=True)
class _Columns:
    """The names of the columns in the order they were met."""

    names: tuple[str, ...]
    place: str

    def find(self, name: str) -> str | None:
        """The column of this name as the file spells it: exactly, else but for case."""
        if name in self.names:
            return name
        same = [column for column in self.names if column.casefold() == name.casefold()]
        if len(same) > 1:
            self.refuse(f"the columns {' and '.join(same)} differ only in case", f"one column {name}", "rename one of them")
        return same[0] if same else None

    def require(self, name: str, option: str) -> str:
        column = self.find(name)
        if column is None:
            close = difflib.get_close_matches(name.casefold(), [column.casefold() for column in self.names], n=1)
            remedy = f"pass `{option} {self.find(close[0])}`" if close else f"correct {option}"
            self.refuse(f"there is no column {name!r} ({option})", f"one of the columns {self.listed()}", remedy)
        return column

    def listed(self) -> str:
        return ", ".join(self.names)

    def refuse(self, found: str, expected: str, remedy: str) -> NoReturn:
        raise DataError(self.place, found, expected=expected, remedy=remedy)


def _recognised(columns: _Columns) -> Layout:
    fitting = [layout for known in KNOWN if (layout := _fit(known, columns)) is not None]
    widest = [one for one in fitting if not any(set(one.columns) < set(other.columns) for other in fitting)]
    if not widest:
        known = ", ".join(" + ".join(layout.columns) for layout in KNOWN)
        columns.refuse(f"the columns {columns.listed()} are no layout tunesmith knows", f"one of {known}", KEYS_REMEDY)
    if len(widest) > 1:
        found = f"the columns {columns.listed()} can be read as {' or as '.join(layout.name for layout in widest)}"
        remedy = KEYS_REMEDY if any(layout.prompt for layout in widest) else "remove the column that is not meant"
        columns.refuse(found, "one layout", remedy)
    layout = widest[0]
    if layout.kind == "text" and any(column.casefold() not in METADATA_COLUMNS for column in layout.unused):
        columns.refuse(
            f"the columns {columns.listed()} can be read as raw text, or as prompts whose completion is another column",
            "one layout",
            f"{KEYS_REMEDY}, or pass `--completion-key {layout.content}` to train on the raw text alone",
        )
    return layout


def _fit(known: Layout, columns: _Columns) -> Layout | None:
    """`known` with the file's own spelling, or None when a column of it is not there."""
    found = {part: columns.find(name) for part in ("prompt", "input", "completion", "content") if (name := getattr(known, part))}
    if None in found.values():
        return None
    return _layout(known.kind, known.name, columns, **found)


def _layout(
    kind: Kind,
    name: str,
    columns: _Columns,
    *,
    prompt: str | None = None,
    input: str | None = None,
    completion: str | None = None,
    content: str | None = None,
) -> Layout:
    used = {prompt, input, completion, content}
    unused = tuple(column for column in columns.names if column not in used)
    return Layout(kind=kind, name=name, prompt=prompt, input=input, completion=completion, content=content, unused=unused)


def _named(columns: _Columns, config: PrepareConfig) -> Layout:
    """By the user's keys; the one not given is recognised among the rest."""
    prompt = columns.require(config.prompt_key, "--prompt-key") if config.prompt_key else None
    completion = columns.require(config.completion_key, "--completion-key") if config.completion_key else None
    if prompt is None and completion is not None:
        prompt = _only_one(columns, [known.prompt for known in KNOWN], besides=completion)
        if prompt is None and completion.casefold() == "text":
            return _layout("text", "raw text", columns, content=completion)
    elif completion is None and prompt is not None:
        completion = _only_one(columns, [known.completion for known in KNOWN], besides=prompt)
    if prompt is None or completion is None:
        part, option = ("prompt", "--prompt-key") if prompt is None else ("completion", "--completion-key")
        found = f"which of the columns {columns.listed()} is the {part} cannot be told"
        columns.refuse(found, f"one known {part} column", f"name it with `{option} COLUMN`")
    if prompt == completion:
        columns.refuse(f"{prompt} is named as prompt and as completion", "two columns", "correct one of the keys")
    layout = _layout("prompt-completion", "as named", columns, prompt=prompt, completion=completion)
    if config.input_key:
        return _with_input(layout, columns, config.input_key)
    extra = columns.find("input")
    follows = prompt.casefold() == "instruction" and extra is not None and extra != completion
    return _layout(layout.kind, layout.name, columns, prompt=prompt, input=extra, completion=completion) if follows else layout


def _only_one(columns: _Columns, names: Sequence[str | None], *, besides: str) -> str | None:
    """The one column that has one of `names`; `input` beside an instruction is not a prompt of its own."""
    found = {column for name in names if name and (column := columns.find(name)) and column != besides}
    if any(column.casefold() == "instruction" for column in found):
        found = {column for column in found if column.casefold() != "input"}
    return found.pop() if len(found) == 1 else None


def _with_input(layout: Layout, columns: _Columns, key: str) -> Layout:
    column = columns.require(key, "--input-key")
    if layout.kind != "prompt-completion" or column in (layout.prompt, layout.completion):
        columns.refuse(f"{column} cannot be the input of {layout}", "a prompt, a completion and a third column", "correct --input-key")
    return _layout(layout.kind, layout.name, columns, prompt=layout.prompt, input=column, completion=layout.completion)
