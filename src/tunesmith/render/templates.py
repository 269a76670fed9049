"""Prompt templates: a conversation as pieces of text, each supervised or not.

`chat` is the model's own chat template; `qa` and `alpaca` are plain text for base models; a path is a user's own file:

    Customer: {prompt}
    Agent:

The fields a text template may name: `prompt` (the user's message), `instruction` and `input` (the same, apart, where
the data keeps them apart), `system`, and any column the example kept.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, kw_only=True)
class TextTemplate:
    """A plain-text prompt with fields; the completion and the end-of-turn token follow it."""

    name: str
    body: str
    body_with_input: str | None = None
    """Used when the example has a non-empty `input`."""

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
                pieces.append(Piece(text=self._fill(message.content, fields if is_last else {}, system)))
        return pieces

    def identity(self) -> dict[str, str]:
        return {"name": self.name, "body": self.body, "body_with_input": self.body_with_input or ""}

    def _fill(self, prompt: str, fields: Mapping[str, str], system: str) -> str:
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
        return body.format_map(values)

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
    name: str = "chat"

    def prompt_pieces(self, messages: Sequence[Message], fields: Mapping[str, str]) -> list[Piece]:
        """Split the rendered text at the earlier assistant turns, so that their tokens are the ones the model produced."""
        del fields  # a chat template knows messages only
        pieces: list[Piece] = []
        done = ""
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            opening = self._apply(messages[:index], add_generation_prompt=True)
            pieces += self._text_pieces(self._after(done, opening), messages[:index])
            done = self._apply(messages[: index + 1], add_generation_prompt=False)
            answer = self._after(opening, done).removesuffix(self.turn_end)
            pieces += [Piece(text=answer, supervised=True), END_OF_TURN]
            rest = self.turn_end.removeprefix(self.end_of_turn)
            pieces += [Piece(text=rest, literal=False)] if rest else []
        opening = self._apply(messages, add_generation_prompt=True)
        return pieces + self._text_pieces(self._after(done, opening), messages)

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

    def _apply(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        return _apply_chat_template(self.tokenizer, messages, add_generation_prompt=add_generation_prompt)

    def _text_pieces(self, text: str, messages: Sequence[Message]) -> list[Piece]:
        """One piece, unless a user wrote the text of a special token: then their words are cut out as literal ones."""
        suspects = [m.content for m in messages if m.role != "assistant" and any(s in m.content for s in self.special_strings)]
        pieces = [Piece(text=text, literal=False)]
        for content in suspects:
            pieces = [part for piece in pieces for part in _cut_out(piece, content)]
        return pieces


def _cut_out(piece: Piece, content: str) -> list[Piece]:
    if piece.literal or content not in piece.text:
        return [piece]
    before, _, after = piece.text.partition(content)
    parts = [Piece(text=before, literal=False), Piece(text=content), *_cut_out(Piece(text=after, literal=False), content)]
    return [part for part in parts if part.text]


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
    """Read from the template itself what ends an assistant's turn.

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
    turn_end = rendered.rpartition(marker)[2]
    special = tuple(sorted(set(tokenizer.all_special_tokens) | _added_special(tokenizer), key=len, reverse=True))
    ending = next((s for s in special if turn_end.startswith(s)), tokenizer.eos_token)
    return ChatTemplate(tokenizer=tokenizer, special_strings=special, turn_end=turn_end, end_of_turn=ending)


def _added_special(tokenizer: Any) -> set[str]:
    return {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}


def text_template(name: str) -> TextTemplate:
    """`qa`, `alpaca`, or the path of a file whose text is the prompt.

    Raises:
        ConfigError: neither a known name nor a readable file with at least one field.
    """
    if name == "qa":
        return TextTemplate(name="qa", body=QA)
    if name == "alpaca":
        return TextTemplate(name="alpaca", body=ALPACA, body_with_input=ALPACA_WITH_INPUT)
    path = Path(name)
    if not path.is_file():
        raise ConfigError(
            f"template {name}", "no such template or file", expected="auto, chat, qa, alpaca or a file", remedy="correct the name"
        )
    body = path.read_text(encoding="utf-8-sig")
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
    return TextTemplate(name=path.name, body=body)


def template_from_identity(identity: Mapping[str, str], tokenizer: Any) -> Template:
    """Rebuild the template a run was trained with, without the user's template file."""
    if identity["name"] == "chat":
        return chat_template(tokenizer)
    return TextTemplate(name=identity["name"], body=identity["body"], body_with_input=identity["body_with_input"] or None)


def resolve_template(name: str, tokenizer: Any) -> Template:
    """`auto` is the model's chat template where it has one, else `qa`."""
    if name == "chat" or (name == "auto" and tokenizer.chat_template):
        return chat_template(tokenizer)
    return text_template("qa" if name == "auto" else name)


def identity_digest_input(identity: Mapping[str, str]) -> str:
    """Canonical text of a template's identity, for the fingerprint."""
    return json.dumps(dict(identity), sort_keys=True, ensure_ascii=False)
