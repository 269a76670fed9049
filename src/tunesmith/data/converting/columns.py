"""Which columns hold what: recognised by their names, or named by the user.

    >>> str(recognise(rows_from_records([{"id": 7, "Question": "…", "Answer": "…"}]), PrepareConfig()))
    'Question -> prompt, Answer -> completion (question/answer)'

Names are compared without regard to case. Nothing is guessed: when two layouts fit and neither takes in the other, the
user is asked. A layout takes in another when it uses all of its columns and more, as Alpaca does with input/output.
`text` beside a column of classes (`category`, `intent`, …) is a task of classification as long as the classes have names.
`chosen` beside `rejected` makes preference pairs; a `label` beside answers makes judged answers if its values are true and
false, for a column of that name often holds classes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from tunesmith.config import PrepareConfig
from tunesmith.data.converting.labels import are_labels, unclear_words
from tunesmith.data.converting.layouts import CHOSEN, CLASSES, KNOWN, LABEL, PAIRS, REJECTED, Kind, Layout
from tunesmith.data.converting.survey import CLASS_COLUMNS, LONGEST_CLASSIFIED, Survey
from tunesmith.data.parsing.text import printable
from tunesmith.errors import ConfigError, DataError
from tunesmith.types import Row

KEYS_REMEDY = "name the columns with `--prompt-key COLUMN --completion-key COLUMN`"
PAIR_KEYS_REMEDY = "name the columns with `--prompt-key COLUMN --chosen-key COLUMN --rejected-key COLUMN`"
CHOICES = ("choices", "options", "endings")
METADATA_COLUMNS = frozenset({"column 1", "date", "document", "id", "meta", "metadata", "source", "timestamp", "title", "url"})
"""May stand beside `text` without raising the question whether `text` is a prompt. (`column 1`: an unnamed CSV index.)"""


def recognise(rows: Iterable[Row] | Survey, config: PrepareConfig) -> Layout:
    """Find the layout of one source's rows; the keys of `config` win over recognition.

    Rows are gone through once and not kept; a `Survey` made while they were read spares that.

    Raises:
        DataError: no layout fits, several do, or a key is not a column; lists the columns and the option to use.
    """
    survey = rows if isinstance(rows, Survey) else Survey.of(rows)
    if not survey.num_rows:
        raise DataError("rows", "there are none", expected="at least one", remedy="give some")
    columns = _Columns(names=survey.names, survey=survey)
    if config.chosen_key or config.rejected_key or (config.prompt_key and not config.completion_key and columns.are_pairs):
        layout = _named_pair(columns, config)
    elif config.prompt_key or config.completion_key:
        layout = _named(columns, config)
    else:
        layout = _recognised(columns)
        layout = _with_input(layout, columns, config.input_key) if config.input_key else layout
    return _with_note(_with_label(layout, columns, config.label_key), survey)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Columns:
    """The names of the columns in the order they were met."""

    names: tuple[str, ...]
    survey: Survey

    @property
    def place(self) -> str:
        return self.survey.place

    @property
    def are_pairs(self) -> bool:
        return self.find(CHOSEN) is not None and self.find(REJECTED) is not None

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
        return printable(", ".join(self.names))

    def refuse(self, found: str, expected: str, remedy: str) -> NoReturn:
        raise DataError(self.place, found, expected=expected, remedy=remedy)


def _recognised(columns: _Columns) -> Layout:
    known = PAIRS if columns.are_pairs else KNOWN
    fitting = [layout for one in known if (layout := _fit(one, columns)) is not None]
    if not columns.are_pairs and (classified := _classified(columns)) is not None:
        fitting.append(classified)
    widest = [one for one in fitting if not any(set(one.columns) < set(other.columns) for other in fitting)]
    keys_remedy = PAIR_KEYS_REMEDY if columns.are_pairs else KEYS_REMEDY
    if not widest:
        names = ", ".join(" + ".join(layout.columns) for layout in (*known, *PAIRS[:1]))
        columns.refuse(f"the columns {columns.listed()} are no layout tunesmith knows", f"one of {names}", keys_remedy)
    if len(widest) > 1:
        found = f"the columns {columns.listed()} can be read as {' or as '.join(layout.name for layout in widest)}"
        remedy = keys_remedy if any(layout.prompt for layout in widest) else "remove the column that is not meant"
        columns.refuse(found, "one layout", remedy)
    layout = widest[0]
    _require_choices(layout, columns)
    if layout.kind == "two conversations":
        _require_conversations(layout, columns)
    if layout.kind == "text" and any(column.casefold() not in METADATA_COLUMNS for column in layout.unused):
        columns.refuse(
            f"the columns {columns.listed()} can be read as raw text, or as prompts whose completion is another column",
            "one layout",
            f"{KEYS_REMEDY}, or pass `--completion-key {layout.content}` to train on the raw text alone",
        )
    return layout


def _classified(columns: _Columns) -> Layout | None:
    """`text` beside one column with names of classes: a task of naming the class. Judgements and numbers are none."""
    text = columns.find("text")
    if text is None or columns.survey.mean_length(text) > LONGEST_CLASSIFIED:
        return None
    candidates = [column for name in CLASS_COLUMNS if (column := columns.find(name)) is not None]
    named = [column for column in candidates if columns.survey.has_classes(column)]
    if len(named) == 1:
        return _layout("prompt-completion", CLASSES, columns, prompt=text, completion=named[0])
    if not named and len(candidates) == 1 and set(columns.names) <= {text, candidates[0]} and columns.survey.has_numbers(candidates[0]):
        columns.refuse(
            f"the column {candidates[0]} holds numbers of classes, which say nothing to a model",
            "the names of the classes",
            "write the names in it",
        )
    return None


def _require_choices(layout: Layout, columns: _Columns) -> None:
    """A question of several choices cannot be asked without them."""
    choices = next((column for name in CHOICES if (column := columns.find(name)) is not None and columns.survey.has_lists(column)), None)
    if choices is not None and layout.completion is not None and choices not in layout.columns:
        columns.refuse(
            f"the column {choices} holds the choices of a question, which the prompt would lack",
            "prompts that are whole",
            "write question and choices into one column, or give it to `tunesmith benchmark`; with --prompt-key it is read as it is",
        )


def _with_note(layout: Layout, survey: Survey) -> Layout:
    """With what OpenAI's fine-tuning files may say beside the messages."""
    if layout.kind != "messages" or not survey.has_weights:
        return layout
    return replace(layout, note="some messages have weight 0, which is not looked at: every answer is an answer to learn")


def _require_conversations(layout: Layout, columns: _Columns) -> None:
    """Two columns of answers without one that holds their prompt have to be whole conversations."""
    assert layout.content is not None
    if not columns.survey.has_lists(layout.content):
        columns.refuse(
            f"which of the columns {columns.listed()} is the prompt of {layout.content} and {layout.rejected} cannot be told",
            "one known prompt column, or whole conversations that share their beginning",
            "name it with `--prompt-key COLUMN`",
        )


def _fit(known: Layout, columns: _Columns) -> Layout | None:
    """`known` with the file's own spelling, or None when a column of it is not there."""
    parts = ("prompt", "input", "completion", "content", "rejected")
    found = {part: columns.find(name) for part in parts if (name := getattr(known, part))}
    if None in found.values():
        return None
    return _layout(known.kind, known.name, columns, **found)


def _layout(kind: Kind, name: str, columns: _Columns, **parts: str | None) -> Layout:
    """Of these columns, by part (`prompt`, `completion`, …), all others unused."""
    unused = tuple(printable(column) for column in columns.names if column not in parts.values())
    return Layout(kind=kind, name=name, unused=unused, **parts)  # type: ignore[arg-type]  # `note` is none of them


def _changed(layout: Layout, columns: _Columns, **parts: str | None) -> Layout:
    """With some parts replaced."""
    names = ("prompt", "input", "completion", "content", "rejected", "label")
    return _layout(layout.kind, layout.name, columns, **{**{name: getattr(layout, name) for name in names}, **parts})


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
    return _input_of_named(_layout("prompt-completion", "as named", columns, prompt=prompt, completion=completion), columns, config)


def _named_pair(columns: _Columns, config: PrepareConfig) -> Layout:
    """Preference pairs by the user's keys; `chosen`, `rejected` and a known prompt where a key is not given."""
    if config.chosen_key and config.completion_key:
        raise ConfigError("prepare", "--chosen-key and --completion-key", expected="one of them", remedy="leave --completion-key out")
    chosen_key, option = (config.completion_key, "--completion-key") if config.completion_key else (config.chosen_key, "--chosen-key")
    chosen = _required_or_known(columns, chosen_key, option, CHOSEN, "better answer")
    rejected = _required_or_known(columns, config.rejected_key, "--rejected-key", REJECTED, "worse answer")
    if config.prompt_key:
        prompt: str | None = columns.require(config.prompt_key, "--prompt-key")
    else:
        prompt = _only_one(columns, [known.prompt for known in PAIRS], besides=chosen)
    if len({prompt, chosen, rejected}) < 3:
        columns.refuse("one column is named for two parts", "a column each for prompt, chosen and rejected", "correct one of the keys")
    if prompt is None:
        layout = _layout("two conversations", "as named", columns, content=chosen, rejected=rejected)
        _require_conversations(layout, columns)
        return layout
    layout = _layout("prompt-completion", "as named", columns, prompt=prompt, completion=chosen, rejected=rejected)
    return _input_of_named(layout, columns, config)


def _required_or_known(columns: _Columns, key: str | None, option: str, known: str, part: str) -> str:
    if key:
        return columns.require(key, option)
    column = columns.find(known)
    if column is None:
        found = f"which of the columns {columns.listed()} is the {part} cannot be told"
        columns.refuse(found, f"a column {known}", f"name it with `{option} COLUMN`")
    return column


def _input_of_named(layout: Layout, columns: _Columns, config: PrepareConfig) -> Layout:
    """With the input column that the user names; else with `input`, if it stands beside an instruction."""
    if config.input_key:
        return _with_input(layout, columns, config.input_key)
    extra = columns.find("input")
    assert layout.prompt is not None
    follows = layout.prompt.casefold() == "instruction" and extra is not None and extra not in layout.columns
    return _changed(layout, columns, input=extra) if follows else layout


def _only_one(columns: _Columns, names: Sequence[str | None], *, besides: str) -> str | None:
    """The one column that has one of `names`; `input` beside an instruction is not a prompt of its own."""
    found = {column for name in names if name and (column := columns.find(name)) and column != besides}
    if any(column.casefold() == "instruction" for column in found):
        found = {column for column in found if column.casefold() != "input"}
    return found.pop() if len(found) == 1 else None


def _with_input(layout: Layout, columns: _Columns, key: str) -> Layout:
    column = columns.require(key, "--input-key")
    if layout.kind != "prompt-completion" or column in (layout.prompt, layout.completion, layout.rejected):
        columns.refuse(f"{column} cannot be the input of {layout}", "a prompt, a completion and a third column", "correct --input-key")
    return _changed(layout, columns, input=column)


def _with_label(layout: Layout, columns: _Columns, key: str | None) -> Layout:
    """With the column that the user names; else with `label`, if that is no part yet and holds judgements."""
    if key:
        column = columns.require(key, "--label-key")
        if layout.kind == "text" or layout.rejected or column in layout.columns:
            expected = "prompts, single answers and a further column"
            columns.refuse(f"{column} cannot be the label of {layout}", expected, "correct or leave out --label-key")
        return _changed(layout, columns, label=column)
    found = columns.find(LABEL)
    if found is None or found in layout.columns or layout.kind == "text" or layout.rejected:
        return layout
    values = columns.survey.distinct(found)
    if are_labels(values):
        return _changed(layout, columns, label=found)
    if unclear := unclear_words(values):
        columns.refuse(
            f"the column {found} holds {' and '.join(map(repr, unclear[:4]))}, which may be judgements of the answers",
            "true for a desirable answer and false for another, or 1 and 0",
            "write those in it, or give it another name if it judges nothing",
        )
    return layout
