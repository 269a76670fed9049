"""Prompt templates: a conversation as pieces of text, each supervised or not.

`chat` is the model's own chat template; `qa` and `alpaca` are plain text for base models; a path is a user's own file:

    Customer: {prompt}
    Agent:

The fields a text template may name: `prompt` (the user's message), `instruction` and `input` (the same, apart, where
the data keeps them apart), `system`, and any column the example kept.
"""

from __future__ import annotations

import dataclasses
import json
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tunesmith.errors import ConfigError
from tunesmith.types import Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A stretch of rendered text."""

    text: str
    supervised: bool = False
    literal: bool = True
    """The text is a user's or an answer's: strings that look like special tokens in it are plain text."""


END_OF_TURN = Piece(text="", supervised=True, literal=False)
"""Stands for the one token that ends a completion; the renderer puts its id there."""


class Disguise:
    """Hides the special-token strings that users wrote from a template, so that it cannot mix them up with its own.

    While the template is applied each stands as one private-use character that nobody used.
    """

    def __init__(self, special_strings: Sequence[str], texts: Iterable[str]) -> None:
        """Look for `special_strings`, longest first, in all `texts` of one conversation."""
        written = "\n".join(texts)
        spare = (character for character in map(chr, range(0xF0000, 0xFFFFE)) if character not in written)
        self._characters = {special: next(spare) for special in special_strings if special in written}

    def put_on(self, text: str) -> str:
        for special, character in self._characters.items():
            text = text.replace(special, character)
        return text

    def take_off(self, text: str) -> str:
        for special, character in self._characters.items():
            text = text.replace(character, special)
        return text

    def pieces(self, text: str) -> list[Piece]:
        """A template's text, its users' special strings cut out as literal pieces."""
        if not self._characters:
            return [Piece(text=text, literal=False)] if text else []
        parts = re.split(f"([{''.join(self._characters.values())}]+)", text)  # template, user, template, …
        return [Piece(text=self.take_off(part), literal=i % 2 == 1) for i, part in enumerate(parts) if part]


class Template(Protocol):
    """Turns messages into pieces; the last piece of the prompt leaves the model about to answer."""

    @property
    def name(self) -> str: ...

    def prompt_pieces(self, messages: Sequence[Message], fields: Mapping[str, str]) -> list[Piece]:
        """Everything before the completion; earlier assistant turns are supervised pieces in it."""
        ...

    def identity(self) -> dict[str, str]:
        """What the fingerprint covers, and what rebuilds the template from a run directory."""
        ...


QA = "### Question:\n{prompt}\n\n### Answer:\n"
ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)


TEMPLATE_NAMES = ("auto", "chat", "qa", "alpaca")
"""What a template is called that is no file."""


@dataclass(frozen=True, kw_only=True)
class TextTemplate:
    """A plain-text prompt with fields; the completion and the end-of-turn token follow it."""

    name: str
    body: str
    """May hold special tokens; what fills its fields never does."""
    body_with_input: str | None = None
    """Used when the example has a non-empty `input`."""
    special_strings: tuple[str, ...] = ()
    """Texts of the tokenizer's special tokens, longest first."""

    def prompt_pieces(self, messages: Sequence[Message], fields: Mapping[str, str]) -> list[Piece]:
        """Render turn after turn; a system message leads, unless the template places it itself."""
        system = "".join(m.content for m in messages if m.role == "system")
        pieces = [Piece(text=system + "\n\n")] if system and not self._names("system") else []
        turns = [m for m in messages if m.role != "system"]
        for index, message in enumerate(turns):
            if message.role == "assistant":
                pieces += [Piece(text=message.content, supervised=True), END_OF_TURN, Piece(text="\n\n")]
            else:
                is_last = index == len(turns) - 1
                pieces += self._fill(message.content, fields if is_last else {}, system)
        return pieces

    def identity(self) -> dict[str, str]:
        return {"name": self.name, "body": self.body, "body_with_input": self.body_with_input or ""}

    def _fill(self, prompt: str, fields: Mapping[str, str], system: str) -> list[Piece]:
        values = {"prompt": prompt, "instruction": prompt, "input": "", "system": system, **fields}
        body = self.body_with_input if self.body_with_input and values["input"] else self.body
        missing = field_names(body) - values.keys()
        if missing:
            raise ConfigError(
                f"template {self.name}",
                f"the field {{{sorted(missing)[0]}}}",
                expected=f"one of {', '.join(sorted(values))}",
                remedy="correct the template, or write {{ and }} where a brace is meant",
            )
        disguise = Disguise(self.special_strings, (body, *values.values()))
        return disguise.pieces(body.format_map({name: disguise.put_on(value) for name, value in values.items()}))

    def _names(self, field: str) -> bool:
        return field in field_names(self.body)


def field_names(body: str) -> set[str]:
    """Names of the `{fields}` in a template's text."""
    return {name for _, name, _, _ in string.Formatter().parse(body) if name is not None}


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """The model's own chat template (Jinja, run in transformers' sandbox)."""

    tokenizer: Any
    special_strings: tuple[str, ...]
    """Texts of the tokenizer's special tokens."""
    turn_end: str
    """What the template puts after an assistant's content, e.g. `<|im_end|>\\n`."""
    end_of_turn: str
    """The special token that starts `turn_end`; the tokenizer's EOS when the template has none."""
    turn_start: str = ""
    """What the template puts before an assistant's content beyond its generation prompt: the header where that is missing,
    an empty thought (Qwen 3)."""
    name: str = "chat"

    def prompt_pieces(self, messages: Sequence[Message], fields: Mapping[str, str]) -> list[Piece]:
        """Split the rendered text at the earlier assistant turns, so that their tokens are the ones the model produced."""
        del fields  # a chat template knows messages only
        disguise = Disguise(self.special_strings, [m.content for m in messages])
        messages = [dataclasses.replace(m, content=disguise.put_on(m.content)) for m in messages]
        pieces: list[Piece] = []
        done = ""
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            opening = self._opening(messages[:index])
            pieces += disguise.pieces(self._after(done, opening))
            done = self._apply(messages[: index + 1], add_generation_prompt=False)
            answer = self._after(opening, done).removesuffix(self.turn_end)
            pieces += [Piece(text=disguise.take_off(answer), supervised=True), END_OF_TURN]
            rest = self.turn_end.lstrip().removeprefix(self.end_of_turn)
            pieces += [Piece(text=rest, literal=False)] if rest else []
        return pieces + disguise.pieces(self._after(done, self._opening(messages)))

    def identity(self) -> dict[str, str]:
        return {"name": self.name, "body": str(self.tokenizer.chat_template)}

    def _after(self, start: str, whole: str) -> str:
        if not whole.startswith(start):
            raise ConfigError(
                "the model's chat template",
                "it rewrites earlier turns when later ones follow",
                expected="the prompt to be a prefix of the conversation",
                remedy="use single-turn examples, or --template qa",
            )
        return whole[len(start) :]

    def _opening(self, messages: Sequence[Message]) -> str:
        return self._apply(messages, add_generation_prompt=True) + self.turn_start

    def _apply(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        return _apply_chat_template(self.tokenizer, messages, add_generation_prompt=add_generation_prompt)


def _apply_chat_template(tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
    turns = [{"role": m.role, "content": m.content} for m in messages]
    try:
        text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
    except Exception as error:  # noqa: BLE001 - jinja templates raise what they like
        raise ConfigError(
            "the model's chat template",
            f"it refuses this conversation ({error})",
            expected="roles it knows, in the order it wants",
            remedy="change the messages (some models take no system message), or use --template qa",
        ) from None
    return text


def chat_template(tokenizer: Any) -> ChatTemplate:
    """Read from the template itself what starts and ends an assistant's turn.

    Raises:
        ConfigError: the tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise ConfigError(
            "template chat", "this model has no chat template", expected="an instruct model", remedy="use --template qa or alpaca"
        )
    marker = "tunesmith-marker"
    conversation = [Message(role="user", content="question"), Message(role="assistant", content=marker)]
    rendered = _apply_chat_template(tokenizer, conversation, add_generation_prompt=False)
    before, _, turn_end = rendered.rpartition(marker)
    opening = _apply_chat_template(tokenizer, conversation[:1], add_generation_prompt=True)
    turn_start = before.removeprefix(opening) if before.startswith(opening) else ""
    special = special_strings(tokenizer)
    # Llama 2 writes " </s>": what the model learns is to stop right after its last word.
    ending = next((s for s in special if turn_end.lstrip().startswith(s)), None) or end_of_text(tokenizer)
    return ChatTemplate(tokenizer=tokenizer, special_strings=special, turn_end=turn_end, end_of_turn=ending, turn_start=turn_start)


def end_of_text(tokenizer: Any) -> str:
    """The tokenizer's EOS token.

    Raises:
        ConfigError: it has none, so nothing could teach the model to stop.
    """
    if tokenizer.eos_token is None:
        raise ConfigError(
            "the model's tokenizer",
            "it has no end-of-sequence token",
            expected="eos_token to be set",
            remedy="set it in tokenizer_config.json",
        )
    return str(tokenizer.eos_token)


def special_strings(tokenizer: Any) -> tuple[str, ...]:
    """Texts of the tokenizer's special tokens, longest first."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return tuple(sorted(added | set(tokenizer.all_special_tokens), key=lambda special: (-len(special), special)))


def text_template(name: str, tokenizer: Any) -> TextTemplate:
    """`qa`, `alpaca`, or the path of a file whose text is the prompt.

    Raises:
        ConfigError: neither a known name nor a readable file with at least one field.
    """
    special = special_strings(tokenizer)
    if name == "qa":
        return TextTemplate(name="qa", body=QA, special_strings=special)
    if name == "alpaca":
        return TextTemplate(name="alpaca", body=ALPACA, body_with_input=ALPACA_WITH_INPUT, special_strings=special)
    path = Path(name)
    if not path.is_file():
        raise ConfigError(
            f"template {name}", "no such template or file", expected="auto, chat, qa, alpaca or a file", remedy="correct the name"
        )
    try:
        body = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), f"not UTF-8 ({error})", expected="a text file in UTF-8", remedy="save it as UTF-8") from None
    body = body.removesuffix("\n") + "\n" if body.strip() else ""
    try:
        names = field_names(body)
    except ValueError as error:
        raise ConfigError(
            str(path), f"not a template ({error})", expected="text with {fields}", remedy="write {{ and }} where a brace is meant"
        ) from None
    if not names & {"prompt", "instruction"}:
        raise ConfigError(
            str(path),
            f"fields {sorted(names)}",
            expected="at least {prompt} or {instruction}",
            remedy="add the one where the user's words go",
        )
    return TextTemplate(name=path.name, body=body, special_strings=special)


def template_from_identity(identity: Mapping[str, str], tokenizer: Any) -> Template:
    """Rebuild the template a run was trained with, without the user's template file."""
    if "body_with_input" not in identity:  # a user's file may be called `chat` as well
        return chat_template(tokenizer)
    return TextTemplate(
        name=identity["name"],
        body=identity["body"],
        body_with_input=identity["body_with_input"] or None,
        special_strings=special_strings(tokenizer),
    )


def resolve_template(name: str, tokenizer: Any) -> Template:
    """`auto` is the model's chat template where it has one, else `qa`."""
    if name == "chat" or (name == "auto" and tokenizer.chat_template):
        return chat_template(tokenizer)
    return text_template("qa" if name == "auto" else name, tokenizer)


def identity_digest_input(identity: Mapping[str, str]) -> str:
    """Canonical text of a template's identity, for the fingerprint."""
    return json.dumps(dict(identity), sort_keys=True, ensure_ascii=False)
